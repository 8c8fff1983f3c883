"""Order of pieces by rarity, compared with a model that sorts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine._bitset import Bitset
from dfengine.errors import BadPiece, BadValue
from dfengine.supernode.swarm._rarity import Rarity, lacking
from tests.swarm.structures import structures


def bits(size: int, pieces: object) -> Bitset:
    made = Bitset(size)
    for n in pieces:  # type: ignore[attr-defined]
        made.set(n)
    return made


def level(copies: int) -> int:
    """The level of a number of copies: exact below 16, then two levels per octave."""
    if copies < 16:
        return copies
    octave = copies.bit_length() - 1
    return 16 + 2 * (octave - 4) + (copies - (1 << octave) >= 1 << (octave - 1))


def order(copies: list[int], allowed: set[int], start: int) -> list[int]:
    size = len(copies)
    return sorted(allowed, key=lambda n: (level(copies[n]), (n - start) % size))


sizes = st.integers(1, 200)


@settings(deadline=None)
@given(st.data(), sizes)
def test_the_rarest_pieces_equal_the_models(data: st.DataObject, size: int) -> None:
    pieces = st.integers(0, size - 1)
    rarity = Rarity(size)
    copies = [0] * size
    for n, count in data.draw(st.lists(st.tuples(pieces, st.integers(-40, 60)), max_size=30)):
        for _ in range(abs(count)):
            if count > 0:
                rarity.change(n, 1)
                copies[n] += 1
            elif copies[n]:
                rarity.change(n, -1)
                copies[n] -= 1
    structures.check_rarity(rarity)
    assert [rarity.copies(n) for n in range(size)] == copies
    asked, least = data.draw(st.sets(pieces)), data.draw(st.integers(0, 70))
    assert set(rarity.at_least(bits(size, asked), least)) == {n for n in asked if level(copies[n]) >= level(least)}
    want, offered, start = data.draw(st.sets(pieces)), data.draw(st.sets(pieces)), data.draw(pieces)
    expected = order(copies, want & offered, start)
    assert structures.rarest(rarity, bits(size, want), bits(size, offered), start, 64) == expected[:64]
    assert structures.rarest(rarity, bits(size, want), bits(size, offered), start, 1) == expected[:1]
    untouched = [n for n in expected if copies[n] == 0]
    assert structures.rarest(rarity, bits(size, want), bits(size, offered), start, 1, 0) == untouched[:1]


@settings(deadline=None)
@given(st.data(), sizes, st.integers(0, 200))
def test_changing_sets_equals_changing_pieces_and_growth_keeps_counts(data: st.DataObject, size: int, more: int) -> None:
    pieces = data.draw(st.sets(st.integers(0, size - 1)))
    rarity = Rarity(size)
    rarity.change_all(bits(size, pieces), 1)
    rarity.grow(size + more)
    rarity.grow(size)
    assert rarity.size == size + more
    assert [rarity.copies(n) for n in range(size + more)] == [int(n in pieces) for n in range(size + more)]
    rarity.change_all(bits(size + more, range(size + more)), 1)
    rarity.change_all(bits(size, pieces), -1)
    structures.check_rarity(rarity)
    assert all(rarity.copies(n) == 1 for n in range(size + more))


@settings(deadline=None)
@given(st.data(), sizes, sizes, sizes)
def test_lacking_is_the_set_difference_within_bounds(data: st.DataObject, into: int, offered: int, have: int) -> None:
    some = [data.draw(st.sets(st.integers(0, size - 1))) for size in (offered, have)]
    lo, hi = data.draw(st.integers(0, 210)), data.draw(st.integers(0, 210))
    target = bits(into, range(into))
    expected = sorted(n for n in some[0] - some[1] if lo <= n < hi and n < into)
    assert lacking(target, bits(offered, some[0]), bits(have, some[1]), lo, hi) == bool(expected)
    assert list(target) == expected
    lacking(target, None, bits(have, some[1]), lo, hi)
    assert list(target) == [n for n in range(into) if lo <= n < hi and n not in some[1]]


def test_invalid_arguments_are_rejected() -> None:
    rarity = Rarity(10)
    for n in (-1, 10, 1 << 40):
        with pytest.raises(BadPiece):
            rarity.change(n, 1)
        with pytest.raises(BadPiece):
            rarity.copies(n)
    with pytest.raises(BadValue):
        rarity.change(3, -1)
    with pytest.raises(BadPiece):
        rarity.change_all(bits(11, [10]), 1)
    with pytest.raises(BadPiece):
        lacking(Bitset(1), Bitset(1), Bitset(1), -1, 1)
    with pytest.raises(BadValue):
        Rarity(-1)
    assert structures.rarest(rarity, bits(10, [1]), bits(10, [1]), 1 << 40, 1) == [1]
