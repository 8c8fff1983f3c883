"""Holders and open sources, compared with sets."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dfengine._bitset import Bitset
from dfengine.errors import BadPiece, BadValue
from dfengine.supernode.swarm._holders import Holders
from tests.swarm.structures import structures

PIECES = 70
some_pieces = st.sets(st.integers(0, PIECES - 1), max_size=6)


def bits(pieces: Any, size: int = PIECES) -> Bitset:
    made = Bitset(size)
    for n in pieces:
        made.set(n)
    return made


class HoldersMachine(RuleBasedStateMachine):
    """Members are numbers; the model is a dict of sets."""

    def __init__(self) -> None:
        super().__init__()
        self.holders: Any = Holders(PIECES, 7)
        self.has: dict[int, Bitset] = {}
        self.index: dict[int, int] = {}
        self.open: set[int] = set()
        self.joined = 0

    @rule(pieces=some_pieces)
    def join(self, pieces: set[int]) -> None:
        self.joined += 1
        self.has[self.joined] = bits(pieces)
        self.index[self.joined] = self.holders.join(self.joined, self.has[self.joined])

    @precondition(lambda self: self.has)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        member = data.draw(st.sampled_from(sorted(self.has)))
        self.holders.leave(self.index.pop(member))
        del self.has[member]
        self.open.discard(member)

    @precondition(lambda self: self.has)
    @rule(data=st.data(), n=st.integers(0, PIECES - 1))
    def gain_or_lose(self, data: st.DataObject, n: int) -> None:
        member = data.draw(st.sampled_from(sorted(self.has)))
        if self.has[member].set(n):
            self.holders.gain(self.index[member], n)
        else:
            self.has[member].clear(n)
            self.holders.lose(self.index[member], n)

    @rule(n=st.integers(0, PIECES - 1))
    def all_members_gain(self, n: int) -> None:
        for member, have in self.has.items():
            if have.set(n):
                self.holders.gain_all(self.index[member], bits([n]))

    @precondition(lambda self: self.has)
    @rule(data=st.data(), opened=st.booleans())
    def open_or_close(self, data: st.DataObject, opened: bool) -> None:
        member = data.draw(st.sampled_from(sorted(self.has)))
        (self.holders.open if opened else self.holders.close)(self.index[member])
        (self.open.add if opened else self.open.discard)(member)

    @rule(n=st.integers(0, PIECES - 1), want=some_pieces, first=st.integers(0, 1 << 62))
    def ask(self, n: int, want: set[int], first: int) -> None:
        having = {member for member, have in self.has.items() if n in have}
        sample = structures.sample(self.holders, n)
        assert len(sample) == len(set(sample))
        assert set(sample) <= having
        assert len(sample) >= min(len(having), 8)
        assert set(self.holders.open_holders(n)) == having & self.open
        assert self.holders.copies(n) == len(having)
        around = self.visit(set(range(PIECES)), first)
        assert {member for member, _ in around} == {member for member in self.open if set(self.has[member])}
        assert len({member for member, _ in around}) == len(around)
        assert all(before < after < len(self.open) for (_, before), (_, after) in pairwise([(None, -1), *around]))
        assert self.visit(want, first) == [(member, step) for member, step in around if want & set(self.has[member])]

    def visit(self, want: set[int], first: int) -> list[tuple[int, int]]:
        """All useful members, in the order of their steps."""
        useful, step = [], 0
        while (found := self.holders.useful(bits(want), first, step)) is not None:
            useful.append(found)
            step = found[1] + 1
        return useful

    @invariant()
    def recount(self) -> None:
        structures.check_holders(self.holders)
        assert structures.open_count(self.holders) == len(self.open)
        assert all(self.holders.is_open(self.index[member]) == (member in self.open) for member in self.has)


TestHolders = HoldersMachine.TestCase
TestHolders.settings = settings(deadline=None, max_examples=40, stateful_step_count=40)


def test_growth_keeps_holders() -> None:
    holders: Any = Holders(0)
    have = bits([1, 2], 3)
    holders.grow(3)
    index = holders.join("a", have)
    holders.grow(500)
    have.grow(500)
    have.set(499)
    holders.gain(index, 499)
    assert [structures.sample(holders, n) for n in (0, 1, 2, 499)] == [[], ["a"], ["a"], ["a"]]
    assert list(holders.held) == [1, 2, 499]
    structures.check_holders(holders)


def test_invalid_arguments_are_rejected() -> None:
    holders: Any = Holders(5)
    for call in (holders.leave, holders.open, holders.close, holders.is_open):
        for index in (-1, 0, 9):
            with pytest.raises(BadValue):
                call(index)
    index = holders.join("a", Bitset(5))
    for n in (-1, 5):
        with pytest.raises(BadPiece):
            holders.gain(index, n)
    with pytest.raises(BadValue):
        holders.lose(index, 2)


@pytest.mark.parametrize("seed", range(3))
def test_useful_members_among_many_open_ones(seed: int) -> None:
    """More open members than a node of `offers` covers, compared with a list."""
    random = Random(seed)
    holders: Any = Holders(PIECES, seed)
    haves = [bits(random.sample(range(PIECES), 2)) for _ in range(200)]
    for member, have in enumerate(haves):
        assert holders.join(member, have) == member
    open_ones: list[int] = []
    for _ in range(3000):
        member, n = random.randrange(200), random.randrange(PIECES)
        if random.random() < 0.3:
            if haves[member].set(n):
                holders.gain(member, n)
            else:
                haves[member].clear(n)
                holders.lose(member, n)
        elif member in open_ones:  # the last one takes its index
            holders.close(member)
            index, last = open_ones.index(member), open_ones.pop()
            if last != member:
                open_ones[index] = last
        else:
            holders.open(member)
            open_ones.append(member)
        first, step = random.randrange(1 << 40), random.randrange(9)
        around = [(open_ones[(first + i) % len(open_ones)], i) for i in range(step, len(open_ones))]
        assert holders.useful(bits([n]), first, step) == next((found for found in around if n in haves[found[0]]), None)
    structures.check_holders(holders)
