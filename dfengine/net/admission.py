"""How many connections a process accepts on all its ports, in all and per client: as many as descriptors allow, less a reserve.

The reserve is for files, origins and questions to peers: otherwise clients that open connections would keep the process from opening files.
When all are taken, idle connections of the client that has most of them are closed for new ones; connections in use are not.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable
from time import monotonic

from dfengine.net.quota import SHARE, Quota

RESERVE = 1024
"""Descriptors kept for other uses; half of all descriptors where these are few."""

AT_ONCE = 16
"""Of the limit 1/AT_ONCE idle connections are closed together, the longest idle first: the search for them takes time."""

PAUSE = 0.1
"""Seconds from a search that found no idle connection to the next one."""


def more_descriptors() -> int:
    """Raise the limit on descriptors to the hard limit, because each connection is one; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


class Admission:
    """descriptors: of the process. share: percent of the connections for one client. now: monotonic seconds."""

    def __init__(self, descriptors: int, share: int = SHARE, now: Callable[[], float] = monotonic) -> None:
        self.most = max(1, descriptors - min(RESERVE, descriptors // 2))
        self.within = 0
        self.ports: list[Callable[[str, int], int]] = []
        """Each closes idle connections of a client: (client, how many at most) -> how many."""
        self._shares = Quota(self.most, share)
        self._now = now
        self._searched = 0.0

    def room(self) -> bool:
        """There is room for a connection, perhaps after idle ones were closed."""
        if self.within >= self.most and self._now() - self._searched >= PAUSE:
            client, wanted = self._shares.largest(), max(1, self.most // AT_ONCE)
            for close in self.ports:
                wanted -= close(client, wanted) if wanted else 0
            if self.within >= self.most:
                self._searched = self._now()
        return self.within < self.most

    def acquire(self, address: str) -> bool:
        """Count one more of the client at `address`; False: there is no room, or it has its share."""
        if self._shares.full(address) or not self.room():
            return False
        self._shares.acquire(address)
        self.within += 1
        return True

    def release(self, address: str) -> None:
        """A connection that `acquire` counted has been closed."""
        self.within -= 1
        self._shares.release(address)
