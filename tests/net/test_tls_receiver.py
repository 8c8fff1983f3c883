"""Receiving by TLS, without a connection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.errors import Silent, TooSlow
from dfengine.net import tls
from dfengine.net.tls import TlsReceiver


class Source:
    """Sends one byte per receive, or none, after `seconds` of the clock."""

    def __init__(self, clock: list[float], seconds: list[float], count: int) -> None:
        self._clock, self._seconds, self._count = clock, seconds, count

    def fileno(self) -> int:
        return 5

    def settimeout(self, seconds: float) -> None:
        """Each receive takes as long as it was told."""

    def recv_into(self, view: memoryview) -> int:
        self._clock[0] += self._seconds.pop(0)
        if not self._count:
            raise TimeoutError
        return self._count


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(tls, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_time_in_which_this_process_is_suspended_does_not_count_against_the_source(clock: list[float]) -> None:
    source: Any = Source(clock, [0.5, 60.0, 0.5, 60.0], 1)
    assert TlsReceiver(source).into(bytearray(4), 0, 4, floor=100.0, grace=10.0) == 119.0
    source = Source(clock, [0.4] * 40, 1)
    with pytest.raises(TooSlow):
        TlsReceiver(source).into(bytearray(40), 0, 40, floor=100.0, grace=10.0)


def test_a_source_is_not_silent_because_this_process_was_suspended(clock: list[float]) -> None:
    waits = [0.5, 60.0] + [0.5] * 40
    source: Any = Source(clock, waits, 0)
    with pytest.raises(Silent):
        TlsReceiver(source).into(bytearray(4), 0, 4, silence=10.0)
    assert len(waits) == 40 - 19
