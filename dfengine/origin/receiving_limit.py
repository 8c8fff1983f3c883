"""Number of connections to one origin that receive at once while more wait. Pure: `now` is any clock's seconds.

As many receive as increase the rate. Where the link or the origin as a whole is the limit, further connections do not increase it, and each
piece arrives later. Where the origin limits each connection, they do.

    state     event                                        next
    MEASURE   a window ends                                TRY, with twice as many
    TRY       a window ends, with GAIN times the rate      TRY, with twice as many
    TRY       a window ends, with less                     REST, as many as before
    REST      its time is over                             MEASURE, with the initial number: the link may have become slower

A window counts if a connection waited all the time; otherwise it begins again. The first window of a state does not count: connections that
waited have bytes in the kernel's buffers, which are received at once.
"""

from __future__ import annotations

WINDOW = 0.3
"""Seconds per window."""

GAIN = 1.15

REST_SECONDS, MAX_REST = 10.0, 160.0
"""Seconds; each rest is twice as long as the one before, up to the second number."""

MAX_CONNECTIONS = 64

UNBOUND = 0.5
"""Seconds after the last wait from which on no connection counts as waiting."""


class ReceivingLimit:
    """connections: number at the beginning, and the minimum. allowed: the present number."""

    def __init__(self, connections: int) -> None:
        self._minimum = self.allowed = self._before = connections
        self._started = self._seen = float("-inf")
        self._bytes = 0
        self._rate = 0.0
        self._settled = False
        self._rest, self._until = REST_SECONDS, float("-inf")

    def record_wait(self, total: int, now: float) -> None:
        """Record that a connection waits now. total: bytes received by all connections of the origin, from any starting point."""
        if now - self._seen > UNBOUND:
            self._begin(total, now)
        self._seen = now
        if now < self._until:
            return
        if self._until > self._started:
            self.allowed = self._before = self._minimum
            self._begin(total, now)
        elif now - self._started >= WINDOW and not self._settled:
            self._begin(total, now, settled=True)
        elif now - self._started >= WINDOW:
            self._end(total, now)

    def _begin(self, total: int, now: float, settled: bool = False) -> None:
        self._started, self._bytes, self._settled = now, total, settled

    def _end(self, total: int, now: float) -> None:
        rate = (total - self._bytes) / (now - self._started)
        trying = self.allowed > self._before
        if trying and rate < GAIN * self._rate:
            self.allowed = self._before
            self._until = now + self._rest
            self._rest = min(MAX_REST, 2 * self._rest)
        elif self.allowed < MAX_CONNECTIONS:
            self._rate, self._before = rate, self.allowed
            self.allowed = min(MAX_CONNECTIONS, 2 * self.allowed)
        self._begin(total, now)
