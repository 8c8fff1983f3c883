"""Which runs of pieces are asked of the origin, and how a version of its file is named."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from dfengine._bitset import Bitset
from dfengine.client.from_origin import Runs, missing
from dfengine.task import generation


@given(st.sets(st.integers(0, 99)), st.integers(1, 100))
def test_missing_is_what_is_not_here(here: set[int], count: int) -> None:
    bits = Bitset(100)
    for n in here:
        bits.set(n)
    runs = missing(bits, count)
    assert [n for first, past in runs for n in range(first, past)] == [n for n in range(count) if n not in here]
    assert all(first < past for first, past in runs)


@given(st.sets(st.integers(0, 99)), st.integers(1, 40), st.integers(0, 1000))
def test_every_missing_piece_is_handed_out_once(here: set[int], longest: int, seed: int) -> None:
    chance = random.Random(seed)
    bits = Bitset(100)
    for n in here:
        bits.set(n)
    runs, fetched = Runs(missing(bits, 100), longest), []
    while (run := runs.take()) is not None:
        first, past = run
        assert 0 < past - first <= longest
        broken_off = chance.randint(first, past) if chance.random() < 0.5 else past
        fetched += range(first, broken_off)
        runs.give_back(broken_off, past)
    assert sorted(fetched) == [n for n in range(100) if n not in here]


def test_lowest_first() -> None:
    runs = Runs([(0, 3), (10, 12)], 2)
    assert runs.take() == (0, 2)
    runs.give_back(1, 2)
    assert [runs.take() for _ in range(4)] == [(1, 2), (2, 3), (10, 12), None]


def test_a_version_is_named_by_its_validators() -> None:
    names = [
        generation('"a"', "", 5),
        generation('"b"', "", 5),
        generation('"a"', "", 6),
        generation("", '"a"', 5),
        generation('"a"', "Tue, 01 Jan 2026 00:00:00 GMT", 5),
    ]
    assert len(set(names)) == len(names)
    assert all(len(name) == 16 for name in names)
    assert generation('"a"', "", 5) == names[0]
    assert generation("", "", 5) == "", "without a validator nothing can be gone on from"
