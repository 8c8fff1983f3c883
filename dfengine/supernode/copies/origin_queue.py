"""Permissions for downloads to read an origin directly: the downloads that have one, and those that wait. Used on the loop's thread."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from dfengine.net.client_quota import Quota
from dfengine.supernode.swarm.origin_leases import OriginLeases
from dfengine.supernode.swarm.origin_quota import OriginSeats
from dfengine.task import client_of

MAX_WAITING = 4096
"""Maximum number of waiting requests; further ones are refused."""

RECHECK = 5.0
"""Seconds between two attempts of a waiting request: an expired lease is not reported."""

ANSWER = 2.0
"""Seconds for which every request waits for the cluster's answer, where the limit counts for a cluster."""


class LeaseRequest(NamedTuple):
    """A download (task, CID) of the client at address `client` that requests to read `origin` (host:port)."""

    origin: str
    client: str
    task: str
    cid: str


class _Waiting:
    """A waiting request. until: loop time from which it may be refused. announced: it was reported to the cluster."""

    def __init__(self, granted: asyncio.Future[bool], until: float) -> None:
        self.granted, self.until, self.announced = granted, until, False


class OriginQueue:
    """limit: leases of one origin, 0 = unlimited. share: percent of them, and of the waiting requests, for one client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int, share: int) -> None:
        self.leases = OriginLeases(limit, share)
        self._loop = loop
        self._waiting_quota = Quota(MAX_WAITING, share)
        self._waiting: dict[str, dict[LeaseRequest, _Waiting]] = {}
        """Origin -> the downloads that wait for it, the first one first."""
        self._count = 0
        self._on_changed: Callable[[str], object] | None = None

    def __len__(self) -> int:
        """Number of waiting requests."""
        return self._count

    def use_cluster(self, changed: Callable[[str], object]) -> OriginSeats:
        """Apply the limit to the whole cluster from now on. changed: called with each origin whose numbers the cluster needs."""
        self._on_changed, self.leases.seats = changed, OriginSeats(self.leases.limit)
        return self.leases.seats

    async def acquire(self, asker: LeaseRequest, seconds: float) -> bool:
        """Wait up to `seconds` for permission. False: not granted. A newer request of the same download replaces the older one."""
        deadline = self._loop.time() + seconds
        until = deadline if self._on_changed is None else max(deadline, self._loop.time() + ANSWER)
        while not self._grant(asker):
            left = until - self._loop.time()
            if left <= 0 or self._count >= MAX_WAITING or not self._waiting_quota.acquire(asker.client):
                return False
            self._count += 1
            waiting = self._waiting.setdefault(asker.origin, {})
            turn = waiting[asker] = _Waiting(self._loop.create_future(), deadline)
            if self._on_changed is not None:
                self._on_changed(asker.origin)
            try:
                return await asyncio.wait_for(turn.granted, min(left, RECHECK))
            except TimeoutError:
                continue
            finally:
                self._count -= 1
                self._waiting_quota.release(asker.client)
                if waiting.get(asker) is turn:
                    del waiting[asker]
                if not waiting and self._waiting.get(asker.origin) is waiting:
                    del self._waiting[asker.origin]
        return True

    def _grant(self, asker: LeaseRequest) -> bool:
        return self.leases.acquire(asker.origin, asker.client, f"{asker.task}@{asker.cid}", self._loop.time())

    def release(self, asker: LeaseRequest) -> None:
        """Release a download's permission: the first waiting download that may have it gets it."""
        if not self.leases.release(asker.origin, asker.client, f"{asker.task}@{asker.cid}"):
            return
        if self._on_changed is not None and self.leases.seats is not None:
            # Another supernode's download may have waited longer.
            self.leases.seats.return_unused(asker.origin, self.leases.held_at(asker.origin, self._loop.time()))
            self._on_changed(asker.origin)
        for other, turn in self._waiting.get(asker.origin, {}).items():
            if not turn.granted.done() and self._grant(other):
                turn.granted.set_result(True)
                break

    def counts(self, origin: str) -> tuple[int, int]:
        """Permissions in use, and how many of the waiting requests could have one if the number were unlimited."""
        held = self.leases.held_at(origin, self._loop.time())
        waits = Counter(client_of(asker.client) for asker, turn in self._waiting.get(origin, {}).items() if not turn.granted.done())
        return held, sum(min(n, max(0, self.leases.available(origin, client))) for client, n in waits.items())

    def report(self, origin: str) -> tuple[int, int]:
        """Return `counts` for the cluster, and mark the waiting requests as announced to it."""
        for turn in self._waiting.get(origin, {}).values():
            turn.announced = True
        return self.counts(origin)

    def on_cluster_answer(self, origin: str) -> None:
        """Grant or refuse waiting requests, first come first served, after the cluster's answer or its failure."""
        for asker, turn in self._waiting.get(origin, {}).items():
            if not turn.granted.done():
                if self._grant(asker):
                    turn.granted.set_result(True)
                elif turn.announced and turn.until <= self._loop.time():
                    turn.granted.set_result(False)
