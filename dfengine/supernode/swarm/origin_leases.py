"""Leases to read an origin directly: they bound the origin's load when many downloads lose the swarm. Pure.

Law: each origin has at most `limit` leases out, 0 = any number; each lasts `term` seconds from its last renewal. A refused download may
retry; a returned lease is granted to the first request. Any download's name is accepted, because one that lost the swarm is not registered.
Leases are therefore counted by the client's address, and no client has more than its share of an origin's leases and of the origins. In a
cluster `origin_quota` determines how many of an origin's leases are this supernode's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfengine.net.client_quota import SHARE, Quota

if TYPE_CHECKING:
    from dfengine.supernode.swarm.origin_quota import OriginSeats

TERM = 60.0
"""Seconds that a lease lasts without renewal."""

MAX_ORIGINS = 4096
"""Maximum number of origins with leases at once; further ones get none."""

Holder = tuple[str, str]
"""(client's address, download)."""


class _Origin:
    """Leases of one origin. opener: address of the client to whose share the origin counts."""

    def __init__(self, opener: str, limit: int, share: int) -> None:
        self.opener = opener
        self.held: dict[Holder, float] = {}
        self.shares = Quota(limit, share)


class OriginLeases:
    """Leases of all origins. An origin is `host:port`. `now` is monotonic seconds. share: percent for one client."""

    def __init__(self, limit: int, share: int = SHARE, term: float = TERM) -> None:
        self.limit = limit
        self.term = term
        self.seats: OriginSeats | None = None
        """None: all leases of each origin are this supernode's."""
        self._share = share
        self._origins: dict[str, _Origin] = {}
        self._origin_shares = Quota(MAX_ORIGINS, share)

    def __len__(self) -> int:
        return sum(len(origin.held) for origin in self._origins.values())

    def held(self) -> dict[str, int]:
        """Origin -> number of its leases that are out."""
        return {name: len(origin.held) for name, origin in self._origins.items()}

    def held_at(self, name: str, now: float) -> int:
        """Number of leases that are out at an origin."""
        origin = self._origins.get(name)
        if origin is not None:
            self._expire(name, origin, now)
            origin = self._origins.get(name)
        return len(origin.held) if origin is not None else 0

    def available(self, name: str, client: str) -> int:
        """Further leases of an origin that the client at that address may have."""
        scope = self.seats.shared_total if self.seats is not None else self.limit
        origin = self._origins.get(name)
        return max(1, scope * self._share // 100) - (origin.shares.amount_of(client) if origin is not None else 0)

    def acquire(self, name: str, client: str, download: str, now: float) -> bool:
        """Grant or renew a lease. False: all are out, or the client at that address has its share."""
        if not self.limit:
            return True
        holder = (client, download)
        origin = self._origins.get(name)
        if origin is not None and holder not in origin.held:
            self._expire(name, origin, now)
            origin = self._origins.get(name)
        if origin is None:
            if len(self._origins) >= MAX_ORIGINS:
                self.expire(now)
            if len(self._origins) >= MAX_ORIGINS or self._origin_shares.full(client):
                return False
            origin = _Origin(client, self.limit, self._share)
        if holder not in origin.held:
            most = self.seats.of(name) if self.seats is not None else self.limit
            if len(origin.held) >= most or self.available(name, client) < 1 or not origin.shares.acquire(client):
                return False
        # Only with its first lease: an origin without leases would never expire.
        if not origin.held:
            self._origins[name] = origin
            self._origin_shares.acquire(client)
        origin.held[holder] = now + self.term
        return True

    def release(self, name: str, client: str, download: str) -> bool:
        """Return a lease; True if there was one, so that another download may have it."""
        origin = self._origins.get(name)
        if origin is None or origin.held.pop((client, download), None) is None:
            return False
        origin.shares.release(client)
        if not origin.held:
            del self._origins[name]
            self._origin_shares.release(origin.opener)
        return True

    def _expire(self, name: str, origin: _Origin, now: float) -> bool:
        """Remove expired leases of an origin; True if there were any."""
        over = [holder for holder, until in origin.held.items() if until <= now]
        for holder in over:
            self.release(name, *holder)
        return bool(over)

    def expire(self, now: float) -> list[str]:
        """Remove expired leases; return the origins that had any."""
        return [name for name, origin in list(self._origins.items()) if self._expire(name, origin, now)]
