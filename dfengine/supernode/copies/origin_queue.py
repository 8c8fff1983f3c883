"""Downloads that want to go to an origin by themselves: who has leave, and who waits for it. Used on the loop's thread."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from dfengine.net.quota import Quota
from dfengine.supernode.swarm.origin_leases import OriginLeases

MOST_WAITING = 4096
"""Questions that wait at once; further ones are answered at once."""

LOOK = 5.0
"""Seconds after which one that waits looks by itself: a lease may run out without anybody's saying so."""


class Asker(NamedTuple):
    """Of `origin` (host:port), from the address `client`; task and CID tell its downloads apart."""

    origin: str
    client: str
    task: str
    cid: str


class OriginQueue:
    """limit: leases of one origin, 0 = any number. share: percent of them, and of the questions that wait, for one client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int, share: int) -> None:
        self.leases = OriginLeases(limit, share)
        self._loop = loop
        self._asking = Quota(MOST_WAITING, share)
        self._waiting: dict[Asker, asyncio.Future[bool]] = {}

    def __len__(self) -> int:
        """Questions that wait."""
        return len(self._waiting)

    async def ask(self, asker: Asker, seconds: float) -> bool:
        """It has leave, as soon as there is one within `seconds`; a newer question of the same replaces the older."""
        until = self._loop.time() + seconds
        while not self._grant(asker):
            left = until - self._loop.time()
            if left <= 0 or len(self._waiting) >= MOST_WAITING or not self._asking.take(asker.client):
                return False
            turn = self._waiting[asker] = self._loop.create_future()
            try:
                if await asyncio.wait_for(turn, min(left, LOOK)):
                    return True
            except TimeoutError:
                continue
            finally:
                self._asking.give_back(asker.client)
                if self._waiting.get(asker) is turn:
                    del self._waiting[asker]
        return True

    def _grant(self, asker: Asker) -> bool:
        return self.leases.ask(asker.origin, asker.client, f"{asker.task}@{asker.cid}", self._loop.time())

    def give_back(self, asker: Asker) -> None:
        """Leave is needed no more: the first that waits and may have it has it."""
        if self.leases.release(asker.origin, asker.client, f"{asker.task}@{asker.cid}"):
            for other, turn in self._waiting.items():
                if other.origin == asker.origin and not turn.done() and self._grant(other):
                    turn.set_result(True)
                    break
