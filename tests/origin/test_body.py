"""Deadlines of a response's body, on a virtual clock and without a connection."""

from __future__ import annotations

import time
from typing import Any

import pycurl
import pytest

from dfengine.errors import OriginSlow, OriginUnreachable
from dfengine.origin.body import SILENCE, STEP, Body
from dfengine.origin.curl_transfers import TICK


class Steps:
    """libcurl, whose steps take `seconds` of the clock, and each give `data` to the body."""

    def __init__(self, clock: list[float], seconds: float, data: bytes = b"") -> None:
        self.body: Body | None = None
        self._clock, self._seconds, self._data = clock, seconds, data

    def easy(self) -> Any:
        return pycurl.Curl()

    def result(self, easy: Any) -> None:
        """The transfer has not ended."""

    def end(self, easy: Any) -> None:
        """No connection is open."""

    def step(self, seconds: float) -> bool:
        if not seconds:
            return False
        self._clock[0] += self._seconds
        if self._data:
            assert self.body is not None
            self.body._write(self._data)
        return bool(self._data)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def reading(steps: Any, floor: float = 0.0) -> Body:
    cancel: Any = None  # used for transfers of its own only
    made = steps.body = Body("h", cancel, floor, kept=steps)
    return made


def waits(made: Body, most: int) -> int:
    """Number of waits of one read, which `most` ends."""

    class Enough(Exception):
        """The read waited that often."""

    count = 0

    def waiting() -> None:
        nonlocal count
        count += 1
        if count == most:
            raise Enough

    with pytest.raises((Enough, OriginUnreachable)):
        made.read_into(memoryview(bytearray(9)), waiting)
    return count


def test_an_origin_is_not_silent_because_this_process_was_suspended(clock: list[float]) -> None:
    assert waits(reading(Steps(clock, 60.0)), 5) == 5
    assert waits(reading(Steps(clock, TICK)), 1000) < SILENCE / TICK + 2


def test_an_origin_is_not_slow_because_this_process_was_suspended(clock: list[float]) -> None:
    floor, buffer = float(STEP), memoryview(bytearray(9))
    made = reading(Steps(clock, 600.0, b"x"), floor)
    assert [made.read_into(buffer) for _ in range(3)] == [1, 1, 1]
    made = reading(Steps(clock, 0.9, b"x"), floor)
    with pytest.raises(OriginSlow):
        sum(made.read_into(buffer) for _ in range(100))
