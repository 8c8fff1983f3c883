"""`--origin-limit` for a cluster: reports to Redis how many leases this supernode holds and wants, and receives how many it may have.

Used on the loop's thread, without blocking it: one request at a time runs, for up to AT_ONCE origins whose counts are due. While Redis
fails, or takes longer than ANSWER, this supernode's share of the limit applies (`swarm.origin_quota`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from dfengine.supernode.cluster.redis_scripts import ClusterError
from dfengine.supernode.swarm.origin_leases import TERM
from dfengine.supernode.swarm.origin_quota import WAITING_TERM

if TYPE_CHECKING:
    from dfengine.supernode.cluster.membership import Cluster
    from dfengine.supernode.cluster.redis_scripts import RedisScripts
    from dfengine.supernode.copies.origin_queue import OriginQueue

ANSWER = 1.5
"""Longest wait for Redis, in seconds; a download that requests a lease waits that long for it."""

AT_ONCE = 64
"""Origins in one request."""

PACE = 0.05
"""Seconds between two requests."""

POLL = 1.0
"""Seconds between two reports on an origin that downloads wait for."""

RENEW = 5.0
"""Seconds between two reports on an origin for which leases are only held; they restore the counts in a Redis that lost its data."""


class ClusterLeases:
    """The leases of one supernode in its cluster. Keys are names of origins, which are never sent to Redis."""

    def __init__(self, queue: OriginQueue, cluster: Cluster, loop: asyncio.AbstractEventLoop) -> None:
        self._queue, self._cluster, self._loop = queue, cluster, loop
        self._seats = queue.use_cluster(self.changed)
        self._due: dict[str, float] = {}
        """Origin -> the loop time at which its next report is due."""
        self._reported: set[str] = set()
        """Origins with leases or waiting downloads at their last report."""
        self._wakeup = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def changed(self, origin: str) -> None:
        """Report on an origin: a download began to wait for a lease, or a lease has ended."""
        self._due[origin] = self._loop.time()
        self._wakeup.set()
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        while self._due:
            now = self._loop.time()
            names = self._due_names(now)
            if names:
                await self._report(names)
                await asyncio.sleep(PACE)
            elif self._due:
                self._wakeup.clear()
                try:
                    await asyncio.wait_for(self._wakeup.wait(), min(self._due.values()) - now)
                except TimeoutError:
                    continue

    def _due_names(self, now: float) -> list[str]:
        """Return up to AT_ONCE origins to report now. Forget those whose downloads hung up before any report: they delay no other."""
        names: list[str] = []
        for name in [name for name, at in self._due.items() if at <= now]:
            if len(names) == AT_ONCE:
                break
            if name in self._reported or any(self._queue.counts(name)):
                names.append(name)
            else:
                del self._due[name]
        return names

    async def _report(self, names: list[str]) -> None:
        for name in names:
            del self._due[name]
        demand = {self._cluster.keyed_name(name): self._queue.report(name) for name in names}
        request = partial(_seats, id=self._cluster.own.id, limit=self._queue.leases.limit, demand=demand)
        try:
            found = await self._cluster.request(request, ANSWER)
        except ClusterError:
            self._seats.use_shares(1 + len(self._cluster.others))
        else:
            self._seats.set_counts(dict(zip(names, found, strict=True)))
        for name in names:
            self._queue.on_cluster_answer(name)
            held, wanted = self._queue.counts(name)
            counted = self._seats.counted(name)
            self._reported.discard(name)
            if wanted or held or counted is not None:
                self._reported.add(name)
                self._due.setdefault(name, self._loop.time() + (RENEW if held == counted and not wanted else POLL))

    def close(self) -> None:
        """Stop at the end of the process."""
        if self._task is not None:
            self._task.cancel()


def _seats(scripts: RedisScripts, id: str, limit: int, demand: dict[str, tuple[int, int]]) -> list[int]:
    return scripts.seats(id, limit, demand, TERM, WAITING_TERM)
