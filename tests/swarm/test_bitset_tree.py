"""BitsetTree, compared with a list of sets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dfengine._bitset import Bitset
from dfengine.errors import BadPiece, BadValue
from dfengine.supernode.swarm._bitset_tree import BitsetTree
from tests.swarm.structures import structures

PIECES = 130
some_pieces = st.sets(st.integers(0, PIECES - 1), max_size=4)
indexes = st.one_of(st.integers(0, 3), st.integers(60, 68), st.integers(4090, 4100), st.integers(0, 4200))
"""Indexes around the ends of nodes and of nodes of nodes."""


def bits(pieces: Any, size: int = PIECES) -> Bitset:
    made = Bitset(size)
    for n in pieces:
        made.set(n)
    return made


class TreeMachine(RuleBasedStateMachine):
    """The model is a list: index -> its Bitset or None."""

    endless = False

    def __init__(self) -> None:
        super().__init__()
        self.tree: Any = BitsetTree(3, self.endless)
        self.sets: list[Bitset | None] = []
        self.tree.grow(PIECES)

    def used(self) -> list[int]:
        return [index for index, there in enumerate(self.sets) if there is not None]

    @rule(index=indexes, pieces=st.none() | some_pieces)
    def put(self, index: int, pieces: set[int] | None) -> None:
        self.sets.extend([None] * (index + 1 - len(self.sets)))
        self.sets[index] = None if pieces is None else bits(pieces)
        self.tree.put(index, self.sets[index])

    @precondition(lambda self: self.used())
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        index = data.draw(st.sampled_from(self.used()))
        to = data.draw(st.integers(0, len(self.sets) - 1))
        self.tree.move(index, to)
        moved, self.sets[index] = self.sets[index], None
        if to != index:
            self.sets[to] = moved

    @precondition(lambda self: self.used())
    @rule(data=st.data(), n=st.integers(0, PIECES - 1))
    def gain_or_lose(self, data: st.DataObject, n: int) -> None:
        index = data.draw(st.sampled_from(self.used()))
        there = self.sets[index]
        assert there is not None
        if n >= len(there):
            return
        if there.set(n):
            self.tree.gain(index, n)
        else:
            there.clear(n)

    def pieces(self, index: int) -> set[int]:
        there = self.sets[index]
        return set() if there is None else {*there, *range(len(there), PIECES if self.endless else 0)}

    @rule(want=some_pieces, start=indexes, past=indexes)
    def search(self, want: set[int], start: int, past: int) -> None:
        def first(start: int, past: int) -> int:
            found = (index for index in range(start, min(past, len(self.sets))) if want & self.pieces(index))
            return next(found, -1)

        wanted = bits(want)
        assert self.tree.first(wanted, start, past) == first(start, past)
        index = -1
        while True:
            past = self.tree.first(wanted, index + 1, 1 << 20)
            assert past == first(index + 1, 1 << 20)
            if past < 0:
                break
            index = past

    @invariant()
    def claims(self) -> None:
        structures.check_tree(self.tree)


class EndlessMachine(TreeMachine):
    """Every set counts as full beyond its end; some are empty before it."""

    endless = True

    @rule(index=indexes, pieces=some_pieces, size=st.sampled_from([0, 64]))
    def put_short(self, index: int, pieces: set[int], size: int) -> None:
        self.sets.extend([None] * (index + 1 - len(self.sets)))
        self.sets[index] = Bitset(size)
        for n in pieces:
            if n < size:
                self.sets[index].set(n)  # type: ignore[union-attr]
        self.tree.put(index, self.sets[index])


TestEndless = EndlessMachine.TestCase
TestEndless.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)

TestTree = TreeMachine.TestCase
TestTree.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)


def test_sets_may_be_shorter_or_longer_than_the_wanted_set() -> None:
    tree = BitsetTree(200)
    tree.put(0, bits([1], 3))
    tree.put(1, bits([190], 200))
    assert [tree.first(bits([n], size), 0, 9) for n, size in ((1, 2), (190, 400), (191, 400), (1, 400))] == [0, 1, -1, 0]


def test_pieces_are_found_after_growth() -> None:
    tree = BitsetTree(1)
    have = bits([0], 1)
    for index in (0, 70):
        tree.put(index, have)
    tree.grow(1000)
    have.grow(1000)
    have.set(999)
    tree.gain(70, 999)
    assert tree.first(bits([999], 1000), 1, 71) == 70
    assert tree.first(bits([998], 1000), 0, 71) == -1
    tree.grow(5)
    assert tree.first(bits([999], 1000), 1, 71) == 70


def test_invalid_arguments_are_rejected() -> None:
    with pytest.raises(BadValue):
        BitsetTree(-1)
    tree = BitsetTree(64)
    assert tree.first(bits([1]), -5, 5) == -1
    tree.put(1, bits([1]))
    assert tree.first(bits([1]), -5, 5) == 1
    with pytest.raises(BadValue):
        tree.put(-1, bits([1]))
    for index in (-1, 0, 2):
        with pytest.raises(BadValue):
            tree.move(index, 0)
        with pytest.raises(BadValue):
            tree.gain(index, 0)
    for to in (-1, 2):
        with pytest.raises(BadValue):
            tree.move(1, to)
    for n in (-1, 64):
        with pytest.raises(BadPiece):
            tree.gain(1, n)
