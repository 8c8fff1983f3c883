"""The line of parked pulls against a dict that is looked through in its order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dfengine.supernode.swarm._line import Line
from tests.swarm.test_bitset_tree import bits

PIECES = 70
some_pieces = st.sets(st.integers(0, PIECES - 1), max_size=5)
names = st.integers(0, 80)
"""More than a node has below it."""


class LineMachine(RuleBasedStateMachine):
    """Downloads are numbers; the model is what each lacks, in the order of parking."""

    def __init__(self) -> None:
        super().__init__()
        self.line: Any = Line(1)
        self.line.grow(PIECES)
        self.lacks: dict[int, set[int]] = {}

    @rule(download=names, lack=some_pieces)
    def put(self, download: int, lack: set[int]) -> None:
        self.line.put(download, bits(lack, PIECES))
        self.lacks[download] = lack

    @rule(download=names, lack=st.sets(st.integers(0, 63), max_size=5), words=st.sampled_from([0, 1]))
    def put_endless(self, download: int, lack: set[int], words: int) -> None:
        lack = lack if words else set()
        self.line.put(download, bits(lack, 64 * words), True)
        self.lacks[download] = lack | set(range(64 * words, PIECES))

    @rule(download=names)
    def drop(self, download: int) -> None:
        self.line.drop(download)
        self.lacks.pop(download, None)

    @rule(lack=some_pieces)
    def all_go_and_others_come(self, lack: set[int]) -> None:
        for download in (*self.lacks, *range(100, 180)):
            self.drop(download)
        for download in range(100, 180):
            self.put(download, lack)

    @rule(offer=some_pieces, passed=st.sets(names))
    def first(self, offer: set[int], passed: set[int]) -> None:
        model = next((download for download, lack in self.lacks.items() if lack & offer and download not in passed), None)
        assert self.line.first(bits(offer, PIECES), dict.fromkeys(passed)) == model

    @invariant()
    def recount(self) -> None:
        self.line.check_invariant()
        assert (len(self.line), list(self.line)) == (len(self.lacks), list(self.lacks))
        for download, lack in self.lacks.items():
            there, endless = self.line[download]
            assert {*there, *range(len(there), PIECES if endless else 0)} == lack
        assert all((download in self.line) == (download in self.lacks) for download in range(81))


TestLine = LineMachine.TestCase
TestLine.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)


def test_growth_keeps_who_waits() -> None:
    line: Any = Line(3)
    line.put("a", bits([1], 3))
    line.grow(500)
    line.grow(2)
    line.put("b", bits([1, 499], 500))
    for i in range(100):
        line.put(i, bits([2], 500))
        line.drop(i)
    line.put("c", bits([499], 500))
    assert [line.first(bits([n], 500), {}) for n in (1, 2, 499)] == ["a", None, "b"]
    assert line.first(bits([499], 500), {"b": None}) == "c"


def test_one_that_does_not_wait_lacks_nothing() -> None:
    line: Any = Line(3)
    line.put("a", bits([1], 3))
    line.drop("a")
    line.drop("a")
    with pytest.raises(KeyError):
        line["a"]
    assert not line
