"""Number of connections that an origin grants, learned from refusals and remembered for a while. Pure: `now` is monotonic seconds."""

from __future__ import annotations

REMEMBERED = 600.0
"""Seconds for which a refusal is remembered."""

MAX_ORIGINS = 4096
"""Limit of remembered origins; the oldest is dropped first."""


class ConnectionLimits:
    """Grants by origin, as named by `request.Hop.key`. Any thread may call: each step is one operation on a dictionary."""

    def __init__(self) -> None:
        self._learned: dict[str, tuple[int, float]] = {}

    def allowed(self, origin: str, wanted: int, now: float) -> int:
        """The number of connections, up to `wanted`, that may be tried."""
        count, at = self._learned.get(origin, (wanted, now))
        return min(count, wanted) if now - at < REMEMBERED else wanted

    def refused(self, origin: str, held: int, now: float) -> None:
        """Record that one connection more than `held` was refused."""
        self._learned.pop(origin, None)
        self._learned[origin] = max(1, held), now
        while len(self._learned) > MAX_ORIGINS:
            self._learned.pop(next(iter(self._learned)), None)
