"""Preemption of slow connections, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine.origin.claim import WINDOW, Claim
from dfengine.origin.slow_connections import DOUBLED_SECONDS, ENOUGH, PATIENCE, QUIET, SLOW, SlowConnections

STEP = 0.05
"""Seconds between two checks."""

MIB = 1 << 20
SIZE = 64 * MIB
"""Bytes of a claim."""

Rate = Callable[[float], float]
"""Seconds since the connection began -> bytes per second; negative: this side does not read."""


class Line:
    """A connection with one claim. past: seconds after which its claim ends."""

    def __init__(self, number: int, rate: float | Rate, begins: float = 0.0, past: float = 1e9) -> None:
        self.number, self.begins, self.past = number, begins, past
        self.rate: Rate = rate if callable(rate) else lambda seconds, rate=rate: rate  # type: ignore[misc]
        self.claim: Claim | None = None
        self.over = False
        self._owed = 0.0

    def go(self, law: SlowConnections, now: float) -> None:
        """Advance by one step."""
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
    """Times and numbers of preempted connections. anew: makes the connection that continues a preempted claim."""
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


def test_a_slow_connection_beside_a_fast_one_is_preempted_after_window_and_patience() -> None:
    [(when, line)] = run([Line(0, 20e3), Line(1, 5e6)], 20.0)
    assert line == 0
    assert WINDOW + PATIENCE <= when <= WINDOW + PATIENCE + 2 * STEP


def test_a_connection_that_becomes_slow_is_preempted() -> None:
    [(when, line)] = run([Line(0, lambda seconds: 5e6 if seconds < 10 else 20e3), Line(1, 5e6)], 30.0)
    assert line == 0
    assert 10.0 < when <= 10.0 + 3 * WINDOW + PATIENCE


def test_connections_of_similar_rates_are_not_preempted() -> None:
    assert run([Line(n, 20e3 * (1 + n)) for n in range(8)], 300.0) == []
    assert run([Line(n, 1e3) for n in range(4)], 300.0) == []


def test_no_connection_is_preempted_when_all_become_slow() -> None:
    assert run([Line(n, lambda seconds: 5e6 if seconds < 5 else 2e4) for n in range(4)], 60.0) == []


def test_remaining_slow_connections_are_preempted_by_the_rate_of_ended_ones() -> None:
    lines = [Line(0, 20e3), Line(1, 5e6, past=0.8), Line(2, 20e3)]
    found = run(lines, 20.0, lambda number, now: Line(number, 5e6, now, 0.8))
    assert [line for _, line in found] == [0, 2]
    assert found[-1][0] < 6.0


def test_a_connection_that_replaces_another_at_the_same_rate_is_not_preempted() -> None:
    """Rates of connections that ended long before do not count."""
    lines = [Line(0, 5e6, past=3.0), Line(1, 20e3, begins=4.0)]
    found = run(lines, 300.0, lambda number, now: Line(number, 20e3, now))
    assert len(found) == 1


def test_pauses_of_the_reader_do_not_make_a_connection_slow() -> None:
    assert run([Line(0, -1.0), Line(1, 5e6)], 60.0) == []
    assert run([Line(0, lambda seconds: -1.0 if seconds % 2 < 1.9 else 2e6), Line(1, 5e6)], 60.0) == []


def test_buffered_bytes_do_not_count_as_a_fast_rate() -> None:
    """The bytes of a connection that was not read for long arrive all at once."""
    assert run([Line(0, 2e5), Line(1, lambda seconds: -1.0 if seconds < 50 else 1e8, past=50.1)], 100.0) == []


def test_the_first_burst_of_a_connection_does_not_count_as_a_fast_rate() -> None:
    def bursts(seconds: float) -> float:
        return 64e3 / STEP if seconds <= STEP else 20e3

    lines = [Line(n, bursts, begins=0.3 * n, past=0.5 if n else 1e9) for n in range(20)]
    assert ENOUGH[0] > 64e3
    assert run(lines, 60.0) == []


def test_a_claim_that_ends_soon_is_not_preempted() -> None:
    law, slow, quick = SlowConnections(), Line(0, 20e3), Line(1, 5e6)
    for step in range(200):
        now = step * STEP
        slow.go(law, now)
        quick.go(law, now)
        assert slow.claim is not None
        assert quick.claim is not None
        assert law.to_preempt([slow.claim, quick.claim], lambda claim: 30_000, now) is None


def test_a_connection_that_becomes_silent_is_preempted_without_a_fast_one() -> None:
    [(when, _)] = run([Line(0, lambda seconds: 5e6 if seconds < 1 else 0.0)], 20.0)
    assert QUIET < when < 1 + QUIET + 2 * STEP
    assert run([Line(0, 0.0)], 25.0) == [], "a connection that never delivered a byte is preempted"


def test_a_single_slow_connection_that_a_reader_waits_for_is_preempted_once() -> None:
    found = run([Line(0, 20e3)], 600.0, lambda number, now: Line(number, 20e3, now), awaited=True)
    assert [line for _, line in found] == [0]
    assert run([Line(0, SIZE / 19)], 30.0, awaited=True) == [], "a claim that ends sooner is preempted"
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
def test_preemptions_are_few_whatever_the_origin_does(begun: list[list[float]], later: list[float]) -> None:
    """The rate changes every second."""

    def changes(rates: list[float]) -> Rate:
        return lambda seconds: rates[int(seconds) % len(rates)]

    found = run([Line(n, changes(rates)) for n, rates in enumerate(begun)], 200.0, lambda number, now: Line(number, changes(later), now))
    times = [when for when, _ in found]
    most = 7  # 1 + 2 + 4 + ... + 32 > 60
    assert all(sum(began <= each < began + DOUBLED_SECONDS for each in times) <= most for began in times)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(1e3, 1e8), min_size=2, max_size=4), st.floats(1.0, SLOW * 0.9))
def test_of_steady_connections_only_much_slower_ones_are_preempted(rates: list[float], spread: float) -> None:
    least = min(rates)
    assert run([Line(n, min(rate, least * spread)) for n, rate in enumerate(rates)], 60.0) == []


def test_no_connection_is_preempted_because_this_process_was_suspended() -> None:
    body: Any = object()
    law, claim, now = SlowConnections(), Claim(0, 1, body, False, 0.0, connection=1), 0.0
    claim.begin_wait(0.0)
    claim.received(MIB, 0.5)
    claim.begin_wait(0.5)
    while now < 2.0:
        assert law.to_preempt([claim], lambda _: SIZE, now) is None
        now += STEP
    now += 600.0
    resumed = now
    while law.to_preempt([claim], lambda _: SIZE, now) is None:
        now += STEP
    assert now >= resumed + QUIET - 1.5 - 2 * STEP
