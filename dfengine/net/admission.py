"""Limits the connections that a process accepts, in total and per client: those of each port, and the descriptors of all ports.

Of the process's descriptors a reserve is kept for files, origins and requests to peers: otherwise clients that open connections would keep
the process from opening files. A connection counts with its descriptor and with that of the file that it may be sending.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable
from time import monotonic

from dfengine.net.client_quota import SHARE, Quota
from dfengine.task import client_of

RESERVE = 1024
"""Descriptors kept for other uses; half of all descriptors where these are few."""

AT_ONCE = 16
"""Idle connections are closed in batches of the limit / AT_ONCE, the longest idle first, because searching for them takes time."""

PAUSE = 0.1
"""Seconds between a search that found fewer idle connections than a batch and the next one: a search inspects all connections."""


def raise_descriptor_limit() -> int:
    """Raise the limit on descriptors to the hard limit, because each connection uses one; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


class ConnectionQuota:
    """Limits the connections of a port or a process. limit: in total. share: percent of them for one client. now: monotonic seconds.

    At the limit, idle connections of the client with most connections are closed; at a client's share, idle ones of its own.
    """

    def __init__(self, limit: int, share: int = SHARE, now: Callable[[], float] = monotonic) -> None:
        self.limit = limit
        self.count = 0
        self.idle_closers: list[Callable[[str, int], int]] = []
        """Functions that close idle connections of a client: (client, maximum number) -> number closed."""
        self._shares = Quota(limit, share)
        self._now = now
        self._searched = 0.0
        """When a search last found too few idle connections."""
        self._searched_of: dict[str, float] = {}
        """Client -> when a search last found too few idle ones of its own, within PAUSE."""

    def room(self, amount: int = 1) -> bool:
        """Whether there is room for a connection that counts as `amount`, if necessary after closing idle ones."""
        most = self.limit - amount
        if self.count > most and self._now() - self._searched >= PAUSE:
            client, wanted = self._shares.largest(), max(1, self.limit // AT_ONCE)
            for close in self.idle_closers:
                wanted -= close(client, wanted) if wanted else 0
            if wanted:
                self._searched = self._now()
        return self.count <= most

    def acquire(self, address: str, amount: int = 1) -> bool:
        """Count one more connection of the client at `address`. False: no room is left, or the client has used its share."""
        if not self._has_share(client_of(address), amount) or not self.room(amount):
            return False
        self._shares.add(address, amount)
        self.count += amount
        return True

    def _has_share(self, client: str, amount: int) -> bool:
        """Whether the client's share has room for a connection that counts as `amount`, if necessary after closing its idle ones."""
        most, now = self._shares.limit - amount, self._now()
        if self._shares.amount_of(client) <= most:
            return True
        if now - self._searched_of.get(client, -PAUSE) < PAUSE:
            return False
        wanted, closed = max(amount, self._shares.limit // AT_ONCE), 0
        for close in self.idle_closers:
            closed += close(client, wanted - closed) if closed < wanted else 0
        if closed < wanted:
            self._searched_of = {each: at for each, at in self._searched_of.items() if now - at < PAUSE} | {client: now}
        return self._shares.amount_of(client) <= most

    def amount_of(self, address: str) -> int:
        """What the connections of the client at `address` count as."""
        return self._shares.amount_of(address)

    def release(self, address: str, amount: int = 1) -> None:
        """Uncount a closed connection that `acquire` counted as the same amount."""
        self.count -= amount
        self._shares.release(address, amount)


class Admission(ConnectionQuota):
    """Descriptors of a process's connections on all ports. descriptors: its limit. share: percent of these for one client."""

    def __init__(self, descriptors: int, share: int = SHARE, now: Callable[[], float] = monotonic) -> None:
        super().__init__(max(1, descriptors - min(RESERVE, descriptors // 2)), share, now)
