"""Permissions for downloads to go to an origin directly: who has one, who waits for one. Used on the loop's thread."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from dfengine.net.quota import Quota
from dfengine.supernode.swarm.origin_leases import OriginLeases

MOST_WAITING = 4096
"""Requests that wait at once; further ones are refused."""

LOOK = 5.0
"""Seconds between two tries of a request that waits: nothing reports that a lease has expired."""


class Asker(NamedTuple):
    """A download (task, CID) of the client at address `client` that wants to go to `origin` (host:port)."""

    origin: str
    client: str
    task: str
    cid: str


class OriginQueue:
    """limit: leases of one origin, 0 = unlimited. share: percent of them, and of the requests that wait, for one client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int, share: int) -> None:
        self.leases = OriginLeases(limit, share)
        self._loop = loop
        self._asking = Quota(MOST_WAITING, share)
        self._waiting: dict[Asker, asyncio.Future[bool]] = {}

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    async def ask(self, asker: Asker, seconds: float) -> bool:
        """Wait up to `seconds` for permission; False: there was none. A newer request of the same download replaces the older one."""
        until = self._loop.time() + seconds
        while not self._grant(asker):
            left = until - self._loop.time()
            if left <= 0 or len(self._waiting) >= MOST_WAITING or not self._asking.acquire(asker.client):
                return False
            turn = self._waiting[asker] = self._loop.create_future()
            try:
                if await asyncio.wait_for(turn, min(left, LOOK)):
                    return True
            except TimeoutError:
                continue
            finally:
                self._asking.release(asker.client)
                if self._waiting.get(asker) is turn:
                    del self._waiting[asker]
        return True

    def _grant(self, asker: Asker) -> bool:
        return self.leases.ask(asker.origin, asker.client, f"{asker.task}@{asker.cid}", self._loop.time())

    def release(self, asker: Asker) -> None:
        """The download needs its permission no longer: the first waiting download that may have it gets it."""
        if self.leases.release(asker.origin, asker.client, f"{asker.task}@{asker.cid}"):
            for other, turn in self._waiting.items():
                if other.origin == asker.origin and not turn.done() and self._grant(other):
                    turn.set_result(True)
                    break
