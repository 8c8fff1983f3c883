"""BitsetTree against a list of sets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dfengine._bitset import Bitset
from dfengine.errors import BadPiece, BadValue
from dfengine.supernode.swarm._bitset_tree import BitsetTree

PIECES = 130
some_pieces = st.sets(st.integers(0, PIECES - 1), max_size=4)
seats = st.one_of(st.integers(0, 3), st.integers(60, 68), st.integers(4090, 4100), st.integers(0, 4200))
"""On both sides of where a node, and a node of nodes, ends."""


def bits(pieces: Any, size: int = PIECES) -> Bitset:
    made = Bitset(size)
    for n in pieces:
        made.set(n)
    return made


class UnionsMachine(RuleBasedStateMachine):
    """The model: seat -> the Bitset there, None for nobody."""

    endless = False

    def __init__(self) -> None:
        super().__init__()
        self.unions: Any = BitsetTree(3, self.endless)
        self.sets: list[Bitset | None] = []
        self.unions.grow(PIECES)

    def taken(self) -> list[int]:
        return [seat for seat, there in enumerate(self.sets) if there is not None]

    @rule(seat=seats, pieces=st.none() | some_pieces)
    def sit(self, seat: int, pieces: set[int] | None) -> None:
        self.sets.extend([None] * (seat + 1 - len(self.sets)))
        self.sets[seat] = None if pieces is None else bits(pieces)
        self.unions.sit(seat, self.sets[seat])

    @precondition(lambda self: self.taken())
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        seat = data.draw(st.sampled_from(self.taken()))
        to = data.draw(st.integers(0, len(self.sets) - 1))
        self.unions.moved(seat, to)
        there, self.sets[seat] = self.sets[seat], None
        if to != seat:
            self.sets[to] = there

    @precondition(lambda self: self.taken())
    @rule(data=st.data(), n=st.integers(0, PIECES - 1))
    def gain_or_lose(self, data: st.DataObject, n: int) -> None:
        seat = data.draw(st.sampled_from(self.taken()))
        there = self.sets[seat]
        assert there is not None
        if n >= len(there):
            return
        if there.set(n):
            self.unions.gained(seat, n)
        else:
            there.clear(n)

    def pieces(self, seat: int) -> set[int]:
        there = self.sets[seat]
        return set() if there is None else {*there, *range(len(there), PIECES if self.endless else 0)}

    @rule(want=some_pieces, start=seats, past=seats)
    def search(self, want: set[int], start: int, past: int) -> None:
        def first(start: int, past: int) -> int:
            found = (seat for seat in range(start, min(past, len(self.sets))) if want & self.pieces(seat))
            return next(found, -1)

        wanted = bits(want)
        assert self.unions.search(wanted, start, past) == first(start, past)
        seat = -1
        while True:
            past = self.unions.search(wanted, seat + 1, 1 << 20)
            assert past == first(seat + 1, 1 << 20)
            if past < 0:
                break
            seat = past

    @invariant()
    def claims(self) -> None:
        self.unions.check_invariant()


class EndlessMachine(UnionsMachine):
    """All have what lies beyond their end, some have nothing besides."""

    endless = True

    @rule(seat=seats, pieces=some_pieces, size=st.sampled_from([0, 64]))
    def sit_short(self, seat: int, pieces: set[int], size: int) -> None:
        self.sets.extend([None] * (seat + 1 - len(self.sets)))
        self.sets[seat] = Bitset(size)
        for n in pieces:
            if n < size:
                self.sets[seat].set(n)  # type: ignore[union-attr]
        self.unions.sit(seat, self.sets[seat])


TestEndless = EndlessMachine.TestCase
TestEndless.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)

TestUnions = UnionsMachine.TestCase
TestUnions.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)


def test_sets_may_be_shorter_or_longer_than_what_is_wanted() -> None:
    unions = BitsetTree(200)
    unions.sit(0, bits([1], 3))
    unions.sit(1, bits([190], 200))
    assert [unions.search(bits([n], size), 0, 9) for n, size in ((1, 2), (190, 400), (191, 400), (1, 400))] == [0, 1, -1, 0]


def test_what_grew_is_found() -> None:
    unions = BitsetTree(1)
    have = bits([0], 1)
    for seat in (0, 70):
        unions.sit(seat, have)
    unions.grow(1000)
    have.grow(1000)
    have.set(999)
    unions.gained(70, 999)
    assert unions.search(bits([999], 1000), 1, 71) == 70
    assert unions.search(bits([998], 1000), 0, 71) == -1
    unions.grow(5)
    assert unions.search(bits([999], 1000), 1, 71) == 70


def test_what_cannot_be() -> None:
    with pytest.raises(BadValue):
        BitsetTree(-1)
    unions = BitsetTree(64)
    assert unions.search(bits([1]), -5, 5) == -1
    unions.sit(1, bits([1]))
    assert unions.search(bits([1]), -5, 5) == 1
    with pytest.raises(BadValue):
        unions.sit(-1, bits([1]))
    for seat in (-1, 0, 2):
        with pytest.raises(BadValue):
            unions.moved(seat, 0)
        with pytest.raises(BadValue):
            unions.gained(seat, 0)
    for to in (-1, 2):
        with pytest.raises(BadValue):
            unions.moved(1, to)
    for n in (-1, 64):
        with pytest.raises(BadPiece):
            unions.gained(1, n)
