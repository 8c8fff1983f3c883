"""How many of an origin's leases this supernode may have out, where `--origin-limit` counts for a whole cluster. Pure: no clock.

A seat is the right to have one lease out. Redis counts the seats of all supernodes of the cluster, by one script
(`cluster.redis_facts.SEATS`); each says what it has and what it wants, never what changed, so that its next word corrects what was lost.

Laws:

1. While Redis answers and keeps what it is told, the seats of all supernodes together are `limit` at most.
2. Of two supernodes that want a seat, the one with fewer has the next one; of those with the same number, the one that waits longer.
   None is taken away from a lease that is out.
3. A supernode that says nothing keeps its seats for `origin_leases.TERM`, as its clients keep their leases, and its turn for HUNGRY.
4. Without Redis each has its share, the limit divided by the members that it knew last, and one at least. Together these are no more than
   the limit if all know the same members; leases that were out before go on, so that for as long as they last there may be more.
"""

from __future__ import annotations

HUNGRY = 5.0
"""Seconds after its last word for which a supernode that wants a seat counts as one that waits."""


class OriginSeats:
    """Of this supernode, by origin. limit: seats of one origin for all supernodes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seats: dict[str, int] = {}
        self._share = 0
        """Seats of each origin while Redis does not answer; 0: it does."""

    @property
    def scope(self) -> int:
        """Seats of which this supernode divides its part among clients."""
        return self._share or self._limit

    def of(self, name: str) -> int:
        """Seats of this supernode at an origin."""
        return self._share or self._seats.get(name, 0)

    def counted_by_redis(self, seats: dict[str, int]) -> None:
        """Redis counts so many as this supernode's."""
        self._share = 0
        self._seats |= seats
        for name in [name for name in seats if not seats[name]]:
            del self._seats[name]

    def counted(self, name: str) -> int | None:
        """Those that Redis counts as this supernode's, less what was given back; None: it counts none."""
        return self._seats.get(name)

    def keep(self, name: str, most: int) -> None:
        """What this supernode has beyond `most` is given back: Redis hears it next."""
        if name in self._seats:
            self._seats[name] = min(self._seats[name], most)

    def lost(self, members: int) -> None:
        """Redis does not answer. members: supernodes of the cluster, with this one."""
        self._share = max(1, self._limit // max(1, members))
