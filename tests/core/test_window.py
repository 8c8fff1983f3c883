"""Window against a list of states: states and una agree, and memory is bounded."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dfengine._window import Window
from dfengine.errors import BadPiece, BadValue


class WindowAgainstAList(RuleBasedStateMachine):
    """Every event on any piece, inside or outside of the window, on a window and on a list of states."""

    @initialize(wnd=st.sampled_from([-1, 1, 2, 5, 64]), count=st.integers(0, 150), known=st.booleans())
    def start(self, wnd: int, count: int, known: bool) -> None:
        self.window = Window(wnd, count if known else -1)
        self.total, self.known, self.wnd = count, known, wnd
        self.states = ["wanted"] * count
        self.una = 0

    def end(self) -> int:
        return self.total if self.wnd < 0 else min(self.una + self.wnd, self.total)

    @rule(events=st.lists(st.tuples(st.booleans(), st.integers(-3, 70)), min_size=1, max_size=8))
    def steps(self, events: list[tuple[bool, int]]) -> None:
        """Arrivals and acknowledgements of pieces counted from una."""
        for acked, ahead in events:
            self.step(self.window.ack if acked else self.window.arrive, acked, self.una + ahead)

    def step(self, event: Callable[[int], int], acked: bool, n: int) -> None:
        if n >= self.total and not self.known:
            return
        if n < 0 or n >= self.end():
            with pytest.raises(BadPiece):
                event(n)
            return
        before, una = self.states[n], self.una
        if acked or before == "wanted":
            self.states[n] = "acked" if acked else "here"
        while self.una < self.total and self.states[self.una] == "acked":
            self.una += 1
        assert event(n) == (self.una - una if acked else before == "wanted")

    @rule(ahead=st.integers(-3, 140))
    def slides(self, ahead: int) -> None:
        """The effect of `ack` on all these pieces, also on those beyond the window's end."""
        past = self.una + ahead
        if past > self.total and not self.known:
            return
        if past < 0 or past > self.total:
            with pytest.raises(BadPiece):
                self.window.slide(past)
            return
        fresh = sum(state != "acked" for state in self.states[:past])
        self.states[:past] = ["acked"] * past
        while self.una < self.total and self.states[self.una] == "acked":
            self.una += 1
        assert self.window.slide(past) == fresh

    @precondition(lambda self: not self.known)
    @rule()
    def the_origin_ends(self) -> None:
        self.window.set_count(self.total)
        self.known = True

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "window"):
            return
        assert self.window.una == self.una
        if self.known:
            assert self.window.end == self.end()
        elif self.wnd > 0:
            assert self.window.end == self.una + self.wnd
        for n in range(self.end()):
            assert [self.window.wanted(n), self.window.here(n), self.window.acked(n)] == [
                self.states[n] == state for state in ("wanted", "here", "acked")
            ]


TestWindowAgainstAList = WindowAgainstAList.TestCase
TestWindowAgainstAList.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("wnd", [1, 2, 5, 64, -1])
def test_a_file_much_longer_than_its_window_passes_through(wnd: int) -> None:
    """Pieces arrive in the worst order that the window allows, and leave in order."""
    window, delivered = Window(wnd, 500), []
    while window.una < 500:
        for n in reversed(range(window.una, window.end)):
            assert window.arrive(n) is (n not in delivered)
        while window.here(window.una):
            delivered.append(window.una)
            window.ack(window.una)
    assert delivered == list(range(500))


def test_memory_depends_on_the_window_not_on_the_file() -> None:
    tracemalloc.start()
    try:
        window = Window(64)
        for n in range(0, 100_000, 2):
            window.ack(n + 1)
            window.ack(n)
        assert window.una == 100_000
        assert tracemalloc.get_traced_memory()[1] < 4096
    finally:
        tracemalloc.stop()


def test_the_ring_grows_with_the_pieces_in_an_unbounded_window() -> None:
    window = Window(-1)
    for n in (3, 63, 64, 1000):
        assert window.arrive(n)
    assert [n for n in range(1100) if window.here(n)] == [3, 63, 64, 1000]


def test_una_stops_at_a_hole() -> None:
    window = Window(5, 10)
    assert [window.ack(n) for n in (1, 2, 4, 2)] == [0, 0, 0, 0]
    assert window.ack(0) == 3
    assert (window.una, window.end) == (3, 8)
    assert window.ack(0) == 0
    with pytest.raises(BadPiece):
        window.ack(8)


def test_contradictory_counts_are_rejected() -> None:
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
def test_invalid_windows_are_rejected(wnd: int, count: int) -> None:
    with pytest.raises(BadValue):
        Window(wnd, count)


@pytest.mark.parametrize("n", [-1, 5, 1 << 31, 1 << 64, -(1 << 64)])
def test_pieces_out_of_range_are_refused(n: int) -> None:
    window = Window(5, 100)
    for event in (window.arrive, window.ack):
        with pytest.raises(BadPiece):
            event(n)
    assert not window.wanted(n)
    assert not window.acked(n)
    assert not window.here(n)
