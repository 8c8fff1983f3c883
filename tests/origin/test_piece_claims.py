"""Claims of connections on pieces: each piece is fetched once, also when claims are released."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dfengine._bitset import Bitset
from dfengine.origin.piece_claims import ENDLESS, PieceClaims, missing

COUNT = 60


def pieces(runs: list[tuple[int, int]]) -> list[int]:
    return [n for first, past in runs for n in range(first, past)]


@given(st.sets(st.integers(0, 99)), st.integers(1, 100))
def test_pieces_that_are_not_stored_are_missing(here: set[int], count: int) -> None:
    bits = Bitset(100)
    for n in here:
        bits.set(n)
    runs = missing(bits, count)
    assert pieces(runs) == [n for n in range(count) if n not in here]
    assert all(first < past for first, past in runs)


def test_stored_pieces_beyond_the_end_leave_nothing_missing() -> None:
    bits = Bitset(10)
    bits.set_range(0, 8)
    assert missing(bits, 5) == missing(bits, 8) == []
    assert missing(bits, 10) == [(8, 10)]


@given(st.sets(st.integers(0, 99)), st.integers(1, 40), st.integers(0, 1000))
def test_every_missing_piece_is_claimed_once(here: set[int], longest: int, seed: int) -> None:
    chance = random.Random(seed)
    bits = Bitset(100)
    for n in here:
        bits.set(n)
    work, fetched = PieceClaims(missing(bits, 100), longest), list[int]()
    while (run := work.claim()) is not None:
        first, past = run
        assert 0 < past - first <= longest
        broken_off = chance.randint(first, past) if chance.random() < 0.5 else past
        fetched += range(first, broken_off)
        work.release(broken_off, past)
    assert sorted(fetched) == [n for n in range(100) if n not in here]
    assert (work.first, work.pieces) == (None, 0)


def test_the_lowest_piece_is_claimed_first() -> None:
    work = PieceClaims([(0, 3), (10, 12)], 2)
    assert work.claim() == (0, 2)
    work.release(1, 2)
    assert [work.claim() for _ in range(4)] == [(1, 3), (10, 12), None, None]


@pytest.mark.parametrize(
    ("back", "then"),
    [
        ([(0, 4)], [(0, 4), (6, 8)]),
        ([(2, 4), (4, 6)], [(2, 8)]),
        ([(4, 6), (0, 4)], [(0, 8)]),
        ([(4, 6), (0, 3)], [(0, 3), (4, 8)]),
        ([(3, 3)], [(6, 8)]),
        ([(5, 4)], [(6, 8)]),
    ],
)
def test_released_pieces_join_their_neighbours(back: list[tuple[int, int]], then: list[tuple[int, int]]) -> None:
    work = PieceClaims([(0, 8)], 6)
    assert work.claim() == (0, 6)
    for run in back:
        work.release(*run)
    work.longest = 100
    assert [work.claim() for _ in range(len(then) + 1)] == [*then, None]


def test_a_wanted_piece_is_claimed_first() -> None:
    work = PieceClaims([(0, 20)], 3)
    assert work.claim(want=7) == (7, 10)
    assert work.claim(want=8) == (0, 3), "piece 8 is claimed already: the lowest follows"
    assert work.claim(want=5) == (5, 7), "the claim ends at the next claimed piece"
    assert work.claim(want=99) == (3, 5)
    assert work.claim() == (10, 13)


def test_pieces_beyond_the_limit_are_not_claimed() -> None:
    work = PieceClaims([(2, 20)], 6)
    assert work.claim(before=2) is None
    assert work.claim(before=5) == (2, 5)
    assert work.claim(before=5) is None
    assert work.claim(before=9, want=7) == (7, 9)
    assert work.claim(before=8, want=12) is None
    assert work.claim() == (5, 7)
    assert work.claim() == (9, 15)


def test_claim_at_begins_at_the_piece_or_fails() -> None:
    work = PieceClaims([(0, 4), (8, 20)], 5)
    assert work.claim_at(4) is None
    assert work.claim_at(10) == (10, 15)
    assert work.claim_at(12) is None
    assert work.claim_at(9) == (9, 10)
    assert work.first == 0
    assert work.pieces == 4 + 1 + 5


def test_a_file_of_unknown_length_has_no_claims_beyond_its_learnt_end() -> None:
    work = PieceClaims([(0, ENDLESS)], 4)
    assert work.claim() == (0, 4)
    work.release(3, 4)
    assert work.claim_at(1 << 40) == (1 << 40, (1 << 40) + 4)
    work.end_at(6)
    assert work.pieces == 3
    assert [work.claim() for _ in range(2)] == [(3, 6), None]
    work = PieceClaims([(0, ENDLESS)], 4)
    work.end_at(0)
    assert work.first is None


@pytest.mark.parametrize("longest", [0, -3])
def test_a_claim_has_at_least_one_piece(longest: int) -> None:
    assert PieceClaims([(0, 2)], longest).claim() == (0, 1)


class Model(RuleBasedStateMachine):
    """PieceClaims against a set: free, claimed and done pieces."""

    @initialize(free=st.sets(st.integers(0, COUNT - 1)), longest=st.integers(1, COUNT))
    def begin(self, free: set[int], longest: int) -> None:
        bits = Bitset(COUNT)
        for n in set(range(COUNT)) - free:
            bits.set(n)
        self.work = PieceClaims(missing(bits, COUNT), longest)
        self.free = set(free)
        self.claims: list[tuple[int, int]] = []
        self.past = COUNT

    def taken(self, run: tuple[int, int] | None, expected: int | None, before: int = ENDLESS) -> None:
        """The run is the longest that begins with `expected`."""
        if expected is None or expected >= before:
            assert run is None
            return
        assert run is not None
        first, past = run
        assert first == expected
        assert set(range(first, past)) <= self.free
        assert past <= before
        assert past - first <= self.work.longest
        assert past == before or past - first == self.work.longest or past not in self.free
        self.free -= set(range(first, past))
        self.claims.append(run)

    @rule(before=st.integers(0, COUNT) | st.just(ENDLESS), want=st.integers(-1, COUNT + 5))
    def take(self, before: int, want: int) -> None:
        expected = want if want in self.free else min(self.free, default=None)
        self.taken(self.work.claim(before, want), expected, before)

    @rule(n=st.integers(0, COUNT + 5))
    def take_at(self, n: int) -> None:
        self.taken(self.work.claim_at(n), n if n in self.free else None)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        first, past = self.claims.pop(data.draw(st.integers(0, len(self.claims) - 1)))
        at = data.draw(st.integers(first, past))
        # Beyond the end of a file that proved shorter, no piece is released.
        past = max(at, min(past, self.past))
        self.work.release(at, past)
        self.free |= set(range(at, past))

    @rule(count=st.integers(1, COUNT))
    def end_at(self, count: int) -> None:
        self.work.end_at(count)
        self.past = min(self.past, count)
        self.free = {n for n in self.free if n < count}

    @invariant()
    def free_pieces_are_these(self) -> None:
        if not hasattr(self, "work"):
            return
        assert self.work.first == min(self.free, default=None)
        assert self.work.pieces == len(self.free)
        runs = self.work._free
        assert set(pieces(runs)) == self.free
        assert all(first < past for first, past in runs)


TestModel = Model.TestCase
