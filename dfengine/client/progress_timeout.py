"""Detects that a swarm has failed although it still makes offers: no bytes arrived for too long. Pure.

The time without progress ends with a verified piece, or with more unverified bytes under way than at any time since the last one. Bytes
that failing sources send repeatedly do not count. So a supernode that always offers new sources cannot delay a download forever.

Time in which no piece is wanted neither counts nor ends the time without progress: otherwise reads that give up sooner would be repeated
in vain forever. Time in which this process did not run does not count either.
"""

from __future__ import annotations

IDLE = 60.0
"""Minimum limit in seconds without progress."""

SLOWEST = 2
"""Limit as a multiple of a piece's duration at the minimum rate."""

GRAIN = 64 << 10
"""Additional bytes that count as progress."""

STOPPED = 2.0
"""Longest time in seconds that counts between two checks: in a longer one, this process did not run."""


class ProgressTimeout:
    """piece: its bytes. least, limit: the user's minimum and maximum rate in bytes per second, 0 = none. now: monotonic seconds."""

    def __init__(self, piece: int, least: int, limit: int, now: float) -> None:
        self.seconds = max(IDLE, SLOWEST * piece / least if least else 0.0)
        grain = GRAIN if least else 1
        self._grain = max(1, min(grain, int(limit * self.seconds) // 4)) if limit else grain
        self._checked, self._waited = now, 0.0
        self._stored = self._in_flight = 0

    def expired(self, stored: int, in_flight: int, satisfied: bool, now: float) -> bool:
        """Whether the time is over. stored: verified pieces. in_flight: bytes of others. satisfied: no piece was wanted since then."""
        passed, self._checked = min(STOPPED, now - self._checked), now
        if stored != self._stored:
            self._stored, self._in_flight, self._waited = stored, in_flight, 0.0
        elif in_flight >= self._in_flight + self._grain:
            self._in_flight, self._waited = in_flight, 0.0
        elif not satisfied:
            self._waited += passed
        return self._waited > self.seconds
