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
"""Descriptors that are no connections of clients; half of them all, where these are few."""

AT_ONCE = 16
"""One of so many connections is closed at once where some must be, the longest idle first: looking for them takes time."""

PAUSE = 0.1
"""Seconds after a look for idle connections that found none to the next one."""


def more_descriptors() -> int:
    """Each connection is a descriptor: take as many as the system lets this process have. How many that is."""
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
        self._looked = 0.0

    def room(self) -> bool:
        """There is, or was made."""
        if self.within >= self.most and self._now() - self._looked >= PAUSE:
            client, wanted = self._shares.largest(), max(1, self.most // AT_ONCE)
            for close in self.ports:
                wanted -= close(client, wanted) if wanted else 0
            if self.within >= self.most:
                self._looked = self._now()
        return self.within < self.most

    def acquire(self, address: str) -> bool:
        """One more of its client; False, and nothing taken: there is no room, or it has its share."""
        if self._shares.full(address) or not self.room():
            return False
        self._shares.acquire(address)
        self.within += 1
        return True

    def release(self, address: str) -> None:
        """One that `acquire` gave."""
        self.within -= 1
        self._shares.release(address)
