"""Who may go to an origin by itself: leases, so that a swarm that is lost does not become a storm there. Pure.

Law: of each origin at most `limit` leases are out, 0 = any number; each lasts `term` seconds from the last time it was asked for.
Who is refused may ask again; a lease that comes back is for whoever asks first.
"""

from __future__ import annotations

TERM = 60.0
"""Seconds that a lease lasts unless it is asked for again."""

MOST_ORIGINS = 4096
"""Origins with leases at once; further ones get none."""


class OriginLeases:
    """Of all origins. An origin is `host:port`, a holder whatever tells downloads apart. `now` is monotonic seconds."""

    def __init__(self, limit: int, term: float = TERM) -> None:
        self.limit = limit
        self.term = term
        self._held: dict[str, dict[str, float]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    def ask(self, origin: str, holder: str, now: float) -> bool:
        """Grant or renew; False: all are out."""
        if not self.limit:
            return True
        held = self._held.get(origin, {})
        if holder not in held:
            for other in [other for other, until in held.items() if until <= now]:
                del held[other]
            if len(held) >= self.limit or (not held and len(self._held) >= MOST_ORIGINS and origin not in self._held):
                return False
        held[holder] = now + self.term
        self._held[origin] = held
        return True

    def release(self, origin: str, holder: str) -> bool:
        """True if there was one, so that another may have it."""
        held = self._held.get(origin)
        if held is None or held.pop(holder, None) is None:
            return False
        if not held:
            del self._held[origin]
        return True

    def expire(self, now: float) -> None:
        """From time to time: holders that died without a word must not count for ever among MOST_ORIGINS."""
        for origin, held in list(self._held.items()):
            for holder in [holder for holder, until in held.items() if until <= now]:
                self.release(origin, holder)
