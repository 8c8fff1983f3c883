"""When a swarm has failed although it goes on making offers: no bytes came for too long. Pure.

The time without progress ends with a verified piece, or with more unverified bytes under way than at any time since the last one; bytes
that failing sources send again and again do not count. So a supernode that always offers new sources delays nobody for ever.

Time in which nothing is wanted is left out, and it is no progress: else reads that give up sooner would go on in vain for ever. Nor does
time count in which this process did not run.
"""

from __future__ import annotations

IDLE = 60.0
"""Seconds without progress, at least."""

SLOWEST = 2
"""Times that a piece may need at the least rate."""

GRAIN = 64 << 10
"""Bytes more that are progress."""

STOPPED = 2.0
"""Seconds between two checks beyond which it was this process that did not run."""


class ProgressTimeout:
    """piece: bytes of one. least: bytes per second that a user demands, 0 = any; limit: that he allows, 0 = any. now: monotonic seconds."""

    def __init__(self, piece: int, least: int, limit: int, now: float) -> None:
        self.seconds = max(IDLE, SLOWEST * piece / least if least else 0.0)
        grain = GRAIN if least else 1
        self._grain = max(1, min(grain, int(limit * self.seconds) // 4)) if limit else grain
        self._checked, self._waited = now, 0.0
        self._here = self._moving = 0

    def expired(self, here: int, moving: int, satisfied: bool, now: float) -> bool:
        """here: verified pieces. moving: bytes of others that are under way. satisfied: nothing was wanted since the last check."""
        passed, self._checked = min(STOPPED, now - self._checked), now
        if here != self._here:
            self._here, self._moving, self._waited = here, moving, 0.0
        elif moving >= self._moving + self._grain:
            self._moving, self._waited = moving, 0.0
        elif not satisfied:
            self._waited += passed
        return self._waited > self.seconds
