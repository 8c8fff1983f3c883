"""The window against a list: the delivered prefix is right, everything is asked for eventually, memory is bounded."""

from __future__ import annotations

import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dfengine._window import Window
from dfengine.errors import BadPiece, BadValue, IllegalEvent

EVENTS = ("ask", "fail", "arrive", "ack")
TABLE = {
    ("wanted", "ask"): "asked", ("wanted", "arrive"): "here", ("wanted", "ack"): "acknowledged",
    ("asked", "ask"): "asked", ("asked", "fail"): "wanted", ("asked", "arrive"): "here", ("asked", "ack"): "acknowledged",
    ("here", "fail"): "here", ("here", "arrive"): "here", ("here", "ack"): "acknowledged",
    ("acknowledged", "fail"): "acknowledged", ("acknowledged", "arrive"): "acknowledged", ("acknowledged", "ack"): "acknowledged",
}


class WindowAgainstAList(RuleBasedStateMachine):
    """Every event on any piece, legal or not, on a window and on a list of states."""

    @initialize(wnd=st.sampled_from([-1, 1, 2, 5, 64]), count=st.integers(0, 150), known=st.booleans())
    def start(self, wnd: int, count: int, known: bool) -> None:
        self.window = Window(wnd, count if known else -1)
        self.total, self.known, self.wnd = count, known, wnd
        self.states = ["wanted"] * count
        self.una = 0
        self.promised = 0

    def end(self) -> int:
        reach = self.total if self.wnd < 0 else self.una + self.wnd
        return min(max(reach, self.promised), self.total)

    @rule(event=st.sampled_from(EVENTS), ahead=st.integers(-3, 70))
    def step(self, event: str, ahead: int) -> None:
        n = self.una + ahead
        if n >= self.total:
            return
        if n < 0 or n >= self.end():
            with pytest.raises(BadPiece):
                getattr(self.window, event)(n)
            return
        after = TABLE.get((self.states[n], event))
        if after is None:
            with pytest.raises(IllegalEvent):
                getattr(self.window, event)(n)
            return
        moved = 0
        fresh = event == "arrive" and self.states[n] in ("wanted", "asked")
        self.states[n] = after
        if event == "ack":
            before = self.una
            end = self.end()
            while self.una < self.total and self.states[self.una] == "acknowledged":
                self.una += 1
            moved = self.una - before
            if self.wnd >= 0 and moved:
                self.promised = max(self.promised, end)
        result = getattr(self.window, event)(n)
        if event == "ack":
            assert result == moved
        if event == "arrive":
            assert result is fresh

    @precondition(lambda self: not self.known)
    @rule()
    def the_origin_ends(self) -> None:
        self.window.set_count(self.total)
        self.known = True

    @rule(wnd=st.integers(1, 40))
    def resize(self, wnd: int) -> None:
        if self.wnd < 0:
            with pytest.raises(BadValue):
                self.window.resize(wnd)
            return
        self.promised = self.end() if self.known else max(self.promised, self.una + self.wnd)
        self.window.resize(wnd)
        self.wnd = wnd

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "window"):
            return
        assert self.window.una == self.una
        assert all(state == "acknowledged" for state in self.states[: self.una])
        if self.known:
            assert self.window.end == self.end()
            assert self.window.done == (self.una == self.total)
            assert self.window.pending() == [n for n in range(self.una, self.end()) if self.states[n] != "acknowledged"]
        for n in range(self.end()):
            assert self.window.state(n) == self.states[n]
            assert self.window.wanted(n) == (n >= self.una and self.states[n] == "wanted")
            assert self.window.acked(n) == (self.states[n] == "acknowledged")
            assert self.window.here(n) == (self.states[n] == "here")
        first = next((n for n in range(self.una, self.end()) if self.states[n] == "wanted"), -1)
        if self.known or first >= 0:
            assert self.window.first_wanted() == first


TestWindowAgainstAList = WindowAgainstAList.TestCase
TestWindowAgainstAList.settings = settings(max_examples=500, stateful_step_count=200, deadline=None)
"""100,000 steps."""


@pytest.mark.parametrize("wnd", [1, 2, 5, 64, -1])
def test_a_file_far_longer_than_its_window_goes_through(wnd: int) -> None:
    """Pieces arrive in the worst order that the window allows, and leave in order."""
    window, delivered, out = Window(wnd, 500), [], []
    while not window.done:
        while (n := window.first_wanted()) >= 0:
            window.ask(n)
            out.append(n)
        window.arrive(out.pop())
        while window.here(window.una):
            delivered.append(window.una)
            window.ack(window.una)
    assert delivered == list(range(500))


def test_memory_is_the_windows_and_not_the_files() -> None:
    window = Window(64)
    for n in range(1_000_000):
        window.ack(n)
    assert window.una == 1_000_000
    assert sys.getsizeof(window) < 512


def test_a_hole_holds_una() -> None:
    window = Window(5, 10)
    assert [window.ack(n) for n in (1, 2, 4, 2)] == [0, 0, 0, 0]
    assert window.ack(0) == 3
    assert (window.una, window.end) == (3, 8)
    assert window.ack(0) == 0
    with pytest.raises(BadPiece):
        window.ack(8)


def test_counts_that_contradict() -> None:
    window = Window(5)
    window.arrive(3)
    for count in (-1, 3, 1 << 40):
        with pytest.raises(BadValue):
            window.set_count(count)
    window.set_count(4)
    window.set_count(4)
    with pytest.raises(BadValue):
        window.set_count(5)


@pytest.mark.parametrize(("wnd", "count"), [(0, 1), (-2, 1), (1 << 31, 1), (1 << 70, 1), (1, -2), (1, 1 << 40), (-(1 << 70), 5)])
def test_windows_that_cannot_be(wnd: int, count: int) -> None:
    with pytest.raises(BadValue):
        Window(wnd, count)


@pytest.mark.parametrize("n", [-1, 5, 1 << 31, 1 << 64, -(1 << 64)])
def test_pieces_outside_are_refused_whatever_their_size(n: int) -> None:
    window = Window(5, 100)
    for event in (window.ask, window.fail, window.arrive, window.ack, window.state):
        with pytest.raises(BadPiece):
            event(n)
    assert not window.wanted(n)
    assert not window.acked(n)
    assert not window.here(n)
