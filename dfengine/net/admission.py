"""Limits the connections that a process accepts on all its ports, in total and per client: as many as its descriptors allow, less a
reserve. A connection counts with its descriptor and with that of the file that it may be sending.

The reserve is for files, origins and requests to peers: otherwise clients that open connections would keep the process from opening files.
At the limit, idle connections of the client that has most connections are closed to admit new ones; connections in use are not. A client
that has used its share loses idle connections of its own.
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
"""Seconds between a search that found no idle connection and the next one."""


def raise_descriptor_limit() -> int:
    """Raise the limit on descriptors to the hard limit, because each connection uses one; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


class Admission:
    """Descriptors of a process's connections. descriptors: its limit. share: percent of these for one client. now: monotonic seconds."""

    def __init__(self, descriptors: int, share: int = SHARE, now: Callable[[], float] = monotonic) -> None:
        self.limit = max(1, descriptors - min(RESERVE, descriptors // 2))
        self.count = 0
        self.idle_closers: list[Callable[[str, int], int]] = []
        """Functions that close idle connections of a client: (client, maximum number) -> number closed."""
        self._shares = Quota(self.limit, share)
        self._now = now
        self._searched = 0.0
        self._searched_of: dict[str, float] = {}
        """Client -> when a search found none of its connections idle, within PAUSE."""

    def room(self, descriptors: int = 1) -> bool:
        """Whether there is room for a connection that uses so many descriptors, if necessary after closing idle ones."""
        most = self.limit - descriptors
        if self.count > most and self._now() - self._searched >= PAUSE:
            client, wanted = self._shares.largest(), max(1, self.limit // AT_ONCE)
            for close in self.idle_closers:
                wanted -= close(client, wanted) if wanted else 0
            if self.count > most:
                self._searched = self._now()
        return self.count <= most

    def acquire(self, address: str, descriptors: int = 1) -> bool:
        """Count one more connection of the client at `address`. False: no room is left, or the client has used its share."""
        if not self._has_share(client_of(address), descriptors) or not self.room(descriptors):
            return False
        self._shares.add(address, descriptors)
        self.count += descriptors
        return True

    def _has_share(self, client: str, descriptors: int) -> bool:
        """Whether the client's share has room for a connection that uses so many descriptors, if necessary after closing its idle ones."""
        most, now = self._shares.limit - descriptors, self._now()
        if self._shares.amount_of(client) <= most:
            return True
        if now - self._searched_of.get(client, -PAUSE) < PAUSE:
            return False
        for close in self.idle_closers:
            close(client, max(descriptors, self._shares.limit // AT_ONCE))
            if self._shares.amount_of(client) <= most:
                return True
        self._searched_of = {each: at for each, at in self._searched_of.items() if now - at < PAUSE} | {client: now}
        return False

    def release(self, address: str, descriptors: int = 1) -> None:
        """Uncount a closed connection that `acquire` counted, with as many descriptors."""
        self.count -= descriptors
        self._shares.release(address, descriptors)
