"""The benchmark's recount against counting pieces individually."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.extension import compiled
from dfengine._bitset import Bitset
from dfengine.supernode.swarm._rarity import Rarity
from tests.swarm.structures import structures


@settings(deadline=None)
@given(st.data(), st.sampled_from([1, 63, 64, 65, 200, 20_000]), st.sampled_from([0, 1, 15, 16, 17, 33, 70, 260]))
def test_recount_agrees_with_incremental_counting(data: st.DataObject, size: int, number: int) -> None:
    """Some bitsets are shorter or longer than the task; many bits are set at either end so that every plane carries."""
    haves = []
    for shift in data.draw(st.lists(st.integers(0, 5), min_size=number, max_size=number)):
        have = Bitset((size, max(1, size // 2), size + 100)[shift % 3])
        have.set_range(0, min(len(have), shift * 9))
        have.set_range(max(0, min(len(have), size) - 7 * shift), min(len(have), size))
        haves.append(have)
    rarity, model = Rarity(size), Rarity(size)
    rarity.change(0, 1)
    for have in haves:
        for n in have:
            if n < size:
                model.change(n, 1)
    compiled("bench._recount").recount(rarity, haves)
    structures.check_rarity(rarity)
    looked_at = {*range(min(size, 70)), *range(max(0, size - 70), size), size // 2}
    assert [rarity.copies(n) for n in sorted(looked_at)] == [model.copies(n) for n in sorted(looked_at)]
    want = Bitset(size)
    want.set_range(0, size)
    assert structures.rarest(rarity, want, want, 0, 8) == structures.rarest(model, want, want, 0, 8)
