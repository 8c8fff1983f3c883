"""Rates of counters that are sampled now and then. Pure: the times are arguments."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

SMOOTH = 3.0
"""Seconds over which a rate is averaged, exponentially: pieces come whole."""

SHORTEST, LONGEST = 0.2, 35.0
"""Seconds between two samples that make a rate; a longer time says nothing about now."""


class _Seen(NamedTuple):
    value: float
    at: float
    rate: float | None


class Rates:
    """By key. What was not sampled in a round is forgotten with `end`."""

    def __init__(self) -> None:
        self._before: dict[Hashable, _Seen] = {}
        self._now: dict[Hashable, _Seen] = {}

    def rate(self, key: Hashable, value: float, now: float) -> float | None:
        """Its rate per second; None with the first sample, also when the one before is too long ago. A counter that fell started again."""
        before = self._before.get(key)
        if before is None or value < before.value or now - before.at > LONGEST:
            found = _Seen(value, now, None)
        elif now - before.at < SHORTEST:
            found = before
        else:
            rate = (value - before.value) / (now - before.at)
            weight = min(1.0, (now - before.at) / SMOOTH)
            found = _Seen(value, now, rate if before.rate is None else before.rate + (rate - before.rate) * weight)
        self._now[key] = found
        return found.rate

    def end(self) -> None:
        """A round of samples is over."""
        self._before, self._now = self._now, {}
