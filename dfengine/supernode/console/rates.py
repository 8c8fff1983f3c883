"""Rates of counters that are sampled from time to time. Pure: the times are arguments."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

SMOOTH = 3.0
"""Seconds over which a rate is averaged, exponentially, because bytes are counted by whole pieces."""

MIN_SPAN, MAX_SPAN = 0.2, 35.0
"""Seconds between two samples that make a rate; after a longer time, a rate would not describe the present."""


class _Seen(NamedTuple):
    value: float
    at: float
    rate: float | None


class Rates:
    """Rates by key. `end` drops the keys that were not sampled in the round."""

    def __init__(self) -> None:
        self._before: dict[Hashable, _Seen] = {}
        self._now: dict[Hashable, _Seen] = {}

    def rate(self, key: Hashable, value: float, now: float) -> float | None:
        """Return the rate per second; None at the first sample, also after MAX_SPAN. A counter that decreased has been restarted."""
        before = self._before.get(key)
        if before is None or value < before.value or now - before.at > MAX_SPAN:
            found = _Seen(value, now, None)
        elif now - before.at < MIN_SPAN:
            found = before
        else:
            rate = (value - before.value) / (now - before.at)
            weight = min(1.0, (now - before.at) / SMOOTH)
            found = _Seen(value, now, rate if before.rate is None else before.rate + (rate - before.rate) * weight)
        self._now[key] = found
        return found.rate

    def end(self) -> None:
        """End a round of samples."""
        self._before, self._now = self._now, {}
