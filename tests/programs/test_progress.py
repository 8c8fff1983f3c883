"""Values of a download's progress, computed from its counters."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from dfengine.programs import progress
from dfengine.programs.progress import PAUSE, Progress, ProgressReporter


@dataclass
class Clock:
    now: float = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_bytes_rate_and_eta_are_computed(clock: Clock) -> None:
    told: list[Progress] = []
    teller = ProgressReporter(told.append)
    teller(-1, 0, 0, 0, 100)
    clock.now += 1
    teller(1100, 200, 0, 100, 100)
    first, second = told
    assert (first.done, first.length, first.eta, first.resumed) == (100, -1, None, 100)
    assert (second.done, second.length, second.from_peers, second.from_origin) == (400, 1100, 200, 100)
    assert (second.rate, second.seconds) == pytest.approx((300, 1))
    assert second.eta == pytest.approx(700 / 300)
    assert teller.now == second
    teller.end(1100, 900, 0, 100, 100)
    assert (told[-1].done, told[-1].eta) == (1100, 0.0)
    assert told[-1].rate == pytest.approx(1000)


def test_progress_is_reported_ten_times_a_second_and_at_the_end(clock: Clock) -> None:
    told: list[Progress] = []
    teller = ProgressReporter(told.append)
    for count in range(100):
        teller(1000, count, 0, 0, 0)
        clock.now += PAUSE / 10
    assert 10 <= len(told) <= 11
    teller.end(1000, 1000, 0, 0, 0)
    assert told[-1].done == 1000


def test_reported_bytes_never_decrease(clock: Clock) -> None:
    told: list[Progress] = []
    teller = ProgressReporter(told.append)
    for count in (500, 400, 600):
        teller(550, count, 0, 0, 0)
        clock.now += PAUSE
    assert [each.done for each in told] == [500, 500, 550]


def test_progress_of_an_empty_file(clock: Clock) -> None:
    teller = ProgressReporter(None)
    teller(0, 0, 0, 0, 0)
    assert (teller.now.done, teller.now.eta) == (0, None)
    teller.end(0, 0, 0, 0, 0)
    assert (teller.now.rate, teller.now.eta) == (0.0, 0.0)


def test_errors_of_the_progress_function_are_raised(clock: Clock) -> None:
    def fail(now: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ProgressReporter(fail)(1, 0, 0, 0, 0)
