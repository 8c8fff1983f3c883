"""Transient failures of an origin, and the delay before a retry. Pure: `now` and a random number are arguments.

Law: only attempts without new bytes count. A connection that received new bytes before it broke resets the count, and the next one is
opened at once.
"""

from __future__ import annotations

import math

from dfengine.errors import OriginChanged, OriginError, OriginTruncated, OriginUnreachable

ASKS_TO_WAIT = frozenset((0, 408, 425, 429, 502, 503, 504))
"""Statuses of an origin that is busy or down; they do not concern ranges."""

TRANSIENT = frozenset((408, 425, 429, 500, 502, 503, 504))
"""Statuses after which a retry may succeed."""

FIRST_PAUSE = 0.25
"""Seconds of the first pause; it doubles, and up to as much again is added at random."""

MAX_PAUSE = 30.0
"""Limit in seconds of a pause without a Retry-After, before the random part."""

ASKED = 600.0
"""Limit in seconds of a Retry-After; a longer one counts as a refusal."""


SMALL = 64 << 10
"""Bytes: a connection that breaks after fewer made hardly any progress."""

CRUMB = 0.05
"""Seconds of the first pause after such a connection; it doubles, up to a second."""

WINDOW = 30.0, 1 << 20
"""A rate is measured over these seconds, plus the time of these bytes at the minimum rate, as for one connection."""


SUSPENDED = 1.0
"""Seconds between two checks of a waiting thread beyond which this process did not run: they do not count as waiting. Each such thread
checks more often: `claim_scheduler.TICK`, `curl_transfers.TICK`."""


class Rate:
    """Whether many short connections together are slower than a minimum rate. floor: bytes per second, 0 = any; now: monotonic seconds.

    Only time counts in which a thread waits for the origin, or for the end of the pause before the next connection.
    """

    def __init__(self, floor: float, now: float) -> None:
        self._floor = floor
        self._waited, self._at, self._bytes = 0.0, 0.0, 0
        self._crumbs = 0
        self.now = now
        """Until when the time was counted or left out."""

    def passed(self, now: float, since: float | None) -> None:
        """Note that time passed. since: from when on until `now` a thread has waited; None: none waits."""
        if since is not None:
            self._waited += min(max(0.0, now - max(since, self.now)), SUSPENDED)
        self.now = max(now, self.now)

    def pause(self, came: int) -> float:
        """Seconds to wait after a connection that received `came` bytes: small responses in a row are not requested without pauses."""
        self._crumbs = 0 if came >= SMALL else self._crumbs + 1
        return min(1.0, CRUMB * (1 << min(self._crumbs, 5)))

    def slow(self, total: int) -> bool:
        """Whether the rate is too low, with `total` bytes received since the beginning."""
        seconds, size = WINDOW
        if total - self._bytes >= size:
            self._at, self._bytes = self._waited, total
        return self._floor > 0 and self._waited - self._at > seconds + size / self._floor


def transient(error: OriginError) -> bool:
    """Whether a retry may succeed."""
    if error.final or isinstance(error, OriginChanged):
        return False
    return error.status in TRANSIENT or (error.status == 0 and isinstance(error, OriginUnreachable | OriginTruncated))


class Retry:
    """Retries of one download or fetch. count: attempts without progress in a row. seconds: time after the first of them in which others
    may begin, 0: no limit.

    Times are monotonic seconds.
    """

    def __init__(self, count: int, seconds: float = 0.0) -> None:
        self._count = count
        self._seconds = seconds
        self._longest = MAX_PAUSE
        self._failures = 0
        self._since = 0.0

    def bound(self, count: int, seconds: float, longest: float = MAX_PAUSE) -> None:
        """Set new limits of attempts and of time. longest: see MAX_PAUSE. In any thread."""
        self._count, self._seconds, self._longest = count, seconds, longest

    @property
    def turn(self) -> str:
        """The number of the next attempt, for messages: `2 of 5`. So two pauses of the same length are two messages."""
        return f"{self._failures} of {self._count}"

    def progress(self) -> None:
        """Record that new bytes arrived."""
        self._failures = 0

    def pause(self, error: OriginError, now: float, chance: float, granted: bool = False) -> float | None:
        """Seconds until the next attempt after `error`, None: no more attempts. chance: in [0, 1).

        granted: the origin has sent bytes of this file before, so a 403 may be its response to too many requests.
        """
        passes = transient(error) or (granted and error.status == 403)
        if not passes or self._failures >= self._count or error.retry_after > ASKED:
            return None
        if not self._failures:
            self._since = now
        wait = max(error.retry_after, min(FIRST_PAUSE * math.ldexp(1.0, min(self._failures, 20)), self._longest) * (1.0 + chance))
        if self._seconds and now + wait > self._since + self._seconds:
            return None
        self._failures += 1
        return wait
