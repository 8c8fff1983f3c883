"""Which failures of an origin pass, and how long to wait for it. Pure: `now` and a chance come in as arguments.

Law: only what brings nothing counts. A connection that brought new bytes before it broke starts the count anew, and the next one begins
at once.
"""

from __future__ import annotations

import math

from dfengine.errors import OriginChanged, OriginError, OriginTruncated, OriginUnreachable

ASKS_TO_WAIT = frozenset((0, 408, 425, 429, 502, 503, 504))
"""Statuses that say nothing about ranges: the origin is busy, or down."""

TRANSIENT = frozenset((408, 425, 429, 500, 502, 503, 504))
"""Statuses after which another try may bring the file."""

FIRST = 0.25
"""Seconds of the first pause; it doubles, and up to as much again is added by chance."""

LONGEST = 30.0
"""Seconds of a pause that nobody asked for, before chance."""

ASKED = 600.0
"""Seconds: an origin that asks for a longer pause than this has refused."""


SMALL = 64 << 10
"""Bytes: a connection that breaks after fewer brought hardly anything."""

CRUMB = 0.05
"""Seconds of the first pause after such a connection; it doubles, up to a second."""

WINDOW = 30.0, 1 << 20
"""Seconds, and bytes whose time at the least rate is added to them: over that long a rate is measured, as of one connection."""


class Rate:
    """Whether many short connections together are slower than a least rate. floor: bytes per second, 0 = any; now: monotonic seconds."""

    def __init__(self, floor: float, now: float) -> None:
        self._floor = floor
        self._at, self._bytes = now, 0
        self._crumbs = 0

    def pause(self, came: int) -> float:
        """Seconds before the connection after one that brought `came` bytes: nobody asks for crumbs without a pause."""
        self._crumbs = 0 if came >= SMALL else self._crumbs + 1
        return min(1.0, CRUMB * (1 << min(self._crumbs, 5)))

    def slow(self, total: int, now: float) -> bool:
        """`total` bytes have come since the beginning."""
        seconds, size = WINDOW
        if total - self._bytes >= size:
            self._at, self._bytes = now, total
        return self._floor > 0 and now - self._at > seconds + size / self._floor


def transient(error: OriginError) -> bool:
    """Another try may bring the file."""
    if error.final or isinstance(error, OriginChanged):
        return False
    return error.status in TRANSIENT or (error.status == 0 and isinstance(error, OriginUnreachable | OriginTruncated))


class Retry:
    """Of one download or fetch. count: tries without progress in a row. seconds: after the first of them, none begins any more, 0 = any.

    Times are monotonic seconds.
    """

    def __init__(self, count: int, seconds: float = 0.0) -> None:
        self._count = count
        self._seconds = seconds
        self._longest = LONGEST
        self._failures = 0
        self._since = 0.0

    def bound(self, count: int, seconds: float, longest: float = LONGEST) -> None:
        """So many tries from now on, and so long. longest: see LONGEST. In any thread."""
        self._count, self._seconds, self._longest = count, seconds, longest

    @property
    def turn(self) -> str:
        """Which try comes next, for people: `2 of 5`. So two pauses of one length are two messages."""
        return f"{self._failures} of {self._count}"

    def progress(self) -> None:
        """New bytes came."""
        self._failures = 0

    def pause(self, error: OriginError, now: float, chance: float, granted: bool = False) -> float | None:
        """Seconds until the next try after `error`, None: this was the last. chance: in [0, 1).

        granted: the origin has sent bytes of this file before, so a 403 may be its answer to too many requests.
        """
        passes = transient(error) or (granted and error.status == 403)
        if not passes or self._failures >= self._count or error.retry_after > ASKED:
            return None
        if not self._failures:
            self._since = now
        wait = max(error.retry_after, min(FIRST * math.ldexp(1.0, min(self._failures, 20)), self._longest) * (1.0 + chance))
        if self._seconds and now + wait > self._since + self._seconds:
            return None
        self._failures += 1
        return wait
