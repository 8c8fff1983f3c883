from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from dfengine.net.rate_queue import RateQueue
from dfengine.net.token_bucket import TokenBucket


class Loop:
    """Stores timers; `fire` runs the next one."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(delay, callback)
        self.timers.append(timer)
        return timer

    def fire(self) -> None:
        timer = self.timers.pop(0)
        if not timer.cancelled:
            timer.callback()


class Timer:
    def __init__(self, delay: float, callback: Callable[[], None]) -> None:
        self.delay, self.callback, self.cancelled = delay, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class Sender:
    """Takes what the bucket grants at its turn, and joins again until it has `want`."""

    def __init__(self, name: str, want: int, log: list[tuple[str, int]]) -> None:
        self.name, self.want, self.log = name, want, log

    def resume(self, rate_queue: RateQueue) -> None:
        taken = rate_queue.bucket.acquire(self.want, time.monotonic())
        self.log.append((self.name, taken))
        self.want -= taken
        if self.want:
            rate_queue.join(self, self.want, first=not taken)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    at = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])

    def advance(seconds: float) -> None:
        at[0] += seconds

    return advance


def start(rate: int, burst: int) -> tuple[Any, RateQueue]:
    loop, bucket = Loop(), TokenBucket(rate, burst)
    bucket.acquire(burst, 0.0)
    return loop, RateQueue(loop, bucket)  # type: ignore[arg-type]


def test_senders_get_equal_shares_in_the_order_of_joining(clock: Callable[[float], None]) -> None:
    loop, rate_queue = start(1000, 200)
    log: list[tuple[str, int]] = []
    for name in "abc":
        rate_queue.join(Sender(name, 1000, log), 1000)
    while rate_queue:
        assert len(loop.timers) == 1
        clock(loop.timers[0].delay)
        loop.fire()
    served = [name for name, taken in log if taken]
    assert served[:6] == ["a", "b", "c", "a", "b", "c"]
    shares = {name: sum(taken for who, taken in log if who == name) for name in "abc"}
    assert shares == {"a": 1000, "b": 1000, "c": 1000}
    assert not loop.timers


def test_a_sender_that_is_granted_nothing_stays_first(clock: Callable[[float], None]) -> None:
    loop, rate_queue = start(1000, 200)
    log: list[tuple[str, int]] = []
    rate_queue.join(Sender("a", 100, log), 100)
    rate_queue.join(Sender("b", 100, log), 100)
    loop.fire()  # too early: no time has passed
    assert log == []
    clock(1.0)
    loop.fire()
    assert log == [("a", 100), ("b", 100)]
    assert not rate_queue


def test_lifting_the_limit_resumes_all_senders(clock: Callable[[float], None]) -> None:
    loop, rate_queue = start(1, 10)
    log: list[tuple[str, int]] = []
    for name in "abc":
        rate_queue.join(Sender(name, 10**6, log), 10**6)
    rate_queue.bucket.set_rate(0, 0.0)
    loop.fire()
    assert [taken for _, taken in log] == [10**6] * 3
    assert not rate_queue


def test_close_cancels_all_turns(clock: Callable[[float], None]) -> None:
    loop, rate_queue = start(1000, 200)
    log: list[tuple[str, int]] = []
    rate_queue.join(Sender("a", 100, log), 100)
    rate_queue.close()
    clock(1.0)
    loop.fire()
    assert log == []
    assert not loop.timers
