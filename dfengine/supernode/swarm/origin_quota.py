"""How many of an origin's leases this supernode may have out, where `--origin-limit` counts for a whole cluster. Pure: no clock.

A seat is the right to have one lease out. Redis counts the seats of all supernodes of the cluster, by one script
(`cluster.redis_scripts.SEATS`). Each supernode reports how many it has and wants, never a difference, so that its next report corrects a
lost one.

Laws:

1. While Redis responds and does not lose data, the seats of all supernodes together are at most `limit`.
2. Of two supernodes that want a seat, the one with fewer gets the next one; of those with the same number, the one that waits longer.
   No seat is withdrawn from a lease that is out.
3. A supernode that stops reporting keeps its seats for `origin_leases.TERM`, as its clients keep their leases, and its turn for
   WAITING_TERM.
4. Without Redis each has its share, the limit divided by the number of members known last, and at least one. Together these are no more
   than the limit if all know the same members. Existing leases continue, so that as long as they last there may be more.
"""

from __future__ import annotations

WAITING_TERM = 5.0
"""Seconds after its last report for which a supernode that wants a seat counts as waiting."""


class OriginSeats:
    """Seats of this supernode, by origin. limit: seats of one origin for all supernodes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seats: dict[str, int] = {}
        self._share = 0
        """Seats of each origin while Redis does not respond; 0: it does."""

    @property
    def shared_total(self) -> int:
        """Seats that clients' shares are computed from."""
        return self._share or self._limit

    def of(self, name: str) -> int:
        """Seats of this supernode at an origin."""
        return self._share or self._seats.get(name, 0)

    def set_counts(self, seats: dict[str, int]) -> None:
        """Set the numbers of seats that Redis counts for this supernode."""
        self._share = 0
        self._seats |= seats
        for name in [name for name in seats if not seats[name]]:
            del self._seats[name]

    def counted(self, name: str) -> int | None:
        """Seats that Redis counts for this supernode, less returned ones; None: it counts none."""
        return self._seats.get(name)

    def return_unused(self, name: str, most: int) -> None:
        """Return the seats beyond `most`; the next report to Redis includes this."""
        if name in self._seats:
            self._seats[name] = min(self._seats[name], most)

    def use_shares(self, members: int) -> None:
        """Switch to shares because Redis does not respond. members: supernodes of the cluster, including this one."""
        self._share = max(1, self._limit // max(1, members))
