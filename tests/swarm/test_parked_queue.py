"""The queue of parked pulls, compared with an ordered dict."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dfengine.supernode.swarm._bitset_tree import ParkedQueue
from tests.swarm.structures import structures
from tests.swarm.test_bitset_tree import bits

PIECES = 70
some_pieces = st.sets(st.integers(0, PIECES - 1), max_size=5)
names = st.integers(0, 80)
"""More downloads than a node covers."""


class QueueMachine(RuleBasedStateMachine):
    """Downloads are numbers; the model has the pieces that each lacks, in the order of parking."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: Any = ParkedQueue(1)
        self.queue.grow(PIECES)
        self.lacks: dict[int, set[int]] = {}
        self.ahead: dict[int, None] = {}
        """In the order of parking."""

    @rule(download=names, lack=some_pieces)
    def put(self, download: int, lack: set[int]) -> None:
        self.queue.put(download, bits(lack, PIECES))
        self.lacks[download] = lack

    @rule(download=names, lack=st.sets(st.integers(0, 63), max_size=5), words=st.sampled_from([0, 1]))
    def put_endless(self, download: int, lack: set[int], words: int) -> None:
        lack = lack if words else set()
        self.queue.put(download, bits(lack, 64 * words), True)
        self.lacks[download] = lack | set(range(64 * words, PIECES))

    @rule(download=names, lack=some_pieces)
    def put_ahead(self, download: int, lack: set[int]) -> None:
        self.queue.put(download, bits(lack, PIECES), ahead=True)
        self.lacks[download] = lack
        self.ahead[download] = None

    @rule(download=names)
    def drop(self, download: int) -> None:
        self.queue.drop(download)
        self.lacks.pop(download, None)
        self.ahead.pop(download, None)

    @rule(lack=some_pieces)
    def all_leave_and_others_join(self, lack: set[int]) -> None:
        for download in (*self.lacks, *range(100, 180)):
            self.drop(download)
        for download in range(100, 180):
            self.put(download, lack)

    @rule(offer=some_pieces, skip=st.sets(names))
    def first(self, offer: set[int], skip: set[int]) -> None:
        model = next((download for download, lack in self.lacks.items() if lack & offer and download not in skip), None)
        assert self.queue.first(bits(offer, PIECES), dict.fromkeys(skip)) == model

    @rule(offer=some_pieces, part=some_pieces, skip=st.sets(names), after=names)
    def first_with_downloads_ahead(self, offer: set[int], part: set[int], skip: set[int], after: int) -> None:
        """`after` is one of the skipped downloads, as in a search that continues."""
        lacking = [download for download, lack in self.lacks.items() if lack & offer and download not in skip]
        if after in self.lacks and after not in self.ahead:
            order = list(self.lacks)
            lacking = [download for download in lacking if order.index(download) > order.index(after)]
        before = [download for download in self.ahead if self.lacks[download] & part and download not in skip]
        found = self.queue.first(bits(offer, PIECES), dict.fromkeys(skip), after if after in self.lacks else None, bits(part, PIECES))
        assert found == next(iter(before + lacking), None)

    @invariant()
    def recount(self) -> None:
        structures.check_queue(self.queue)
        assert (len(self.queue), list(self.queue)) == (len(self.lacks), list(self.lacks))
        for download, lack in self.lacks.items():
            there, endless = self.queue[download]
            assert {*there, *range(len(there), PIECES if endless else 0)} == lack
        assert self.queue.any_ahead == bool(self.ahead)
        assert all((download in self.queue) == (download in self.lacks) for download in range(81))


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)


def test_growth_keeps_the_queue() -> None:
    queue: Any = ParkedQueue(3)
    queue.put("a", bits([1], 3))
    queue.grow(500)
    queue.grow(2)
    queue.put("b", bits([1, 499], 500))
    for i in range(100):
        queue.put(i, bits([2], 500))
        queue.drop(i)
    queue.put("c", bits([499], 500))
    assert [queue.first(bits([n], 500), {}) for n in (1, 2, 499)] == ["a", None, "b"]
    assert queue.first(bits([499], 500), {"b": None}) == "c"


def test_a_dropped_download_is_not_in_the_queue() -> None:
    queue: Any = ParkedQueue(3)
    queue.put("a", bits([1], 3))
    queue.drop("a")
    queue.drop("a")
    with pytest.raises(KeyError):
        queue["a"]
    assert not queue
