"""Which connection is preempted, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine.origin.claim import WINDOW, Claim
from dfengine.origin.slow_connections import ENOUGH, MEMORY, PATIENCE, QUIET, SLOW, SlowConnections

STEP = 0.05
"""Seconds between two looks."""

MIB = 1 << 20
SIZE = 64 * MIB
"""Bytes of a claim."""

Rate = Callable[[float], float]
"""Seconds since the connection began -> bytes per second; negative: this side does not ask."""


class Line:
    """A connection with one claim. past: seconds after which its claim ends."""

    def __init__(self, number: int, rate: float | Rate, begins: float = 0.0, past: float = 1e9) -> None:
        self.number, self.begins, self.past = number, begins, past
        self.rate: Rate = rate if callable(rate) else lambda seconds, rate=rate: rate  # type: ignore[misc]
        self.claim: Claim | None = None
        self.over = False
        self._owed = 0.0

    def go(self, law: SlowConnections, now: float) -> None:
        """One step."""
        if self.over or now < self.begins:
            return
        if self.claim is None:
            body: Any = object()
            self.claim = Claim(0, 1, body, False, now, connection=self.number)
            self.claim.begin_wait(now)
            return
        claim, rate = self.claim, self.rate(now - self.begins)
        self._owed += max(0.0, rate) * STEP
        if self._owed >= 1:
            claim.received(int(self._owed), now)
            self._owed -= int(self._owed)
        if rate < 0:
            claim.received(0, now)
        elif claim._wait_began is None:
            claim.begin_wait(now)
        if now - self.begins >= self.past:
            self.over = True
            law.claim_ended(claim, now)


def run(
    lines: Iterable[Line], seconds: float, anew: Callable[[int, float], Line] | None = None, awaited: bool = False
) -> list[tuple[float, int]]:
    """When which connection was preempted; anew: makes the one that goes on with what it had to bring."""
    law, lines, found = SlowConnections(awaited), list(lines), list[tuple[float, int]]()
    for step in range(int(seconds / STEP)):
        now = step * STEP
        for line in lines:
            line.go(law, now)
        running = {line.claim: line for line in lines if line.claim is not None and not line.over}
        slow = law.to_preempt(running, lambda claim: SIZE - claim.received_bytes, now)
        if slow is not None:
            found.append((now, slow.connection))
            running[slow].over = True
            law.claim_ended(slow, now)
            if anew is not None:
                lines.append(anew(len(lines), now))
    return found


def test_a_slow_one_beside_a_quick_one_gives_way_after_a_window_and_the_patience() -> None:
    [(when, line)] = run([Line(0, 20e3), Line(1, 5e6)], 20.0)
    assert line == 0
    assert WINDOW + PATIENCE <= when <= WINDOW + PATIENCE + 2 * STEP


def test_one_that_becomes_slow_gives_way_as_well() -> None:
    [(when, line)] = run([Line(0, lambda seconds: 5e6 if seconds < 10 else 20e3), Line(1, 5e6)], 30.0)
    assert line == 0
    assert 10.0 < when <= 10.0 + 3 * WINDOW + PATIENCE


def test_of_those_that_are_about_as_quick_none_does() -> None:
    assert run([Line(n, 20e3 * (1 + n)) for n in range(8)], 300.0) == []
    assert run([Line(n, 1e3) for n in range(4)], 300.0) == []


def test_where_all_become_slow_none_does() -> None:
    assert run([Line(n, lambda seconds: 5e6 if seconds < 5 else 2e4) for n in range(4)], 60.0) == []


def test_the_only_slow_ones_that_are_left_give_way_by_what_has_ended_before() -> None:
    lines = [Line(0, 20e3), Line(1, 5e6, past=0.8), Line(2, 20e3)]
    found = run(lines, 20.0, lambda number, now: Line(number, 5e6, now, 0.8))
    assert [line for _, line in found] == [0, 2]
    assert found[-1][0] < 6.0


def test_one_that_goes_on_as_slowly_is_left_alone() -> None:
    """What ended long before says nothing of it any more."""
    lines = [Line(0, 5e6, past=3.0), Line(1, 20e3, begins=4.0)]
    found = run(lines, 300.0, lambda number, now: Line(number, 20e3, now))
    assert len(found) == 1


def test_pauses_of_this_side_make_nobody_slow() -> None:
    assert run([Line(0, -1.0), Line(1, 5e6)], 60.0) == []
    assert run([Line(0, lambda seconds: -1.0 if seconds % 2 < 1.9 else 2e6), Line(1, 5e6)], 60.0) == []


def test_bytes_that_lay_here_make_no_witness() -> None:
    """Of a connection of which nobody took bytes for long, all come at once then."""
    assert run([Line(0, 2e5), Line(1, lambda seconds: -1.0 if seconds < 50 else 1e8, past=50.1)], 100.0) == []


def test_the_first_burst_of_a_connection_is_no_witness() -> None:
    def bursts(seconds: float) -> float:
        return 64e3 / STEP if seconds <= STEP else 20e3

    lines = [Line(n, bursts, begins=0.3 * n, past=0.5 if n else 1e9) for n in range(20)]
    assert ENOUGH[0] > 64e3
    assert run(lines, 60.0) == []


def test_what_is_brought_soon_is_waited_for() -> None:
    law, slow, quick = SlowConnections(), Line(0, 20e3), Line(1, 5e6)
    for step in range(200):
        now = step * STEP
        slow.go(law, now)
        quick.go(law, now)
        assert slow.claim is not None
        assert quick.claim is not None
        assert law.to_preempt([slow.claim, quick.claim], lambda claim: 30_000, now) is None


def test_one_that_falls_silent_gives_way_without_a_witness() -> None:
    [(when, _)] = run([Line(0, lambda seconds: 5e6 if seconds < 1 else 0.0)], 20.0)
    assert QUIET < when < 1 + QUIET + 2 * STEP
    assert run([Line(0, 0.0)], 25.0) == [], "one that never brought a byte is another's business"


def test_where_somebody_waits_one_that_is_alone_and_slow_gives_way_once() -> None:
    found = run([Line(0, 20e3)], 600.0, lambda number, now: Line(number, 20e3, now), awaited=True)
    assert [line for _, line in found] == [0]
    assert run([Line(0, SIZE / 19)], 30.0, awaited=True) == [], "its rest takes less long"
    assert run([Line(0, 20e3)], 600.0) == []


def test_a_claim_without_a_connection_is_not_judged() -> None:
    law, opens, quick = SlowConnections(), Claim(0, 1, None, False, 0.0, connection=0), Line(1, 5e6)
    for step in range(2000):
        quick.go(law, step * STEP)
        assert quick.claim is not None
        assert law.to_preempt([opens, quick.claim], lambda claim: SIZE, step * STEP) is None


RATES = st.lists(st.sampled_from([0.0, 1e3, 2e4, 1e6, 1e8, -1.0]), min_size=1, max_size=6)


@settings(deadline=None, max_examples=40)
@given(st.lists(RATES, min_size=1, max_size=4), RATES)
def test_whatever_an_origin_does_few_give_way(begun: list[list[float]], later: list[float]) -> None:
    """Each change of rate after a second."""

    def changes(rates: list[float]) -> Rate:
        return lambda seconds: rates[int(seconds) % len(rates)]

    found = run([Line(n, changes(rates)) for n, rates in enumerate(begun)], 200.0, lambda number, now: Line(number, changes(later), now))
    times = [when for when, _ in found]
    most = 7  # 1 + 2 + 4 + ... + 32 > 60
    assert all(sum(began <= each < began + MEMORY for each in times) <= most for began in times)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(1e3, 1e8), min_size=2, max_size=4), st.floats(1.0, SLOW * 0.9))
def test_of_steady_ones_none_gives_way_that_is_not_much_slower(rates: list[float], spread: float) -> None:
    least = min(rates)
    assert run([Line(n, min(rate, least * spread)) for n, rate in enumerate(rates)], 60.0) == []
