"""`--origin-limit` for a cluster: says in Redis how many permissions this supernode has out and wants, and hears how many it may have.

Used on the loop's thread, which never waits: one question at a time is under way, about as many origins as have something to say. While
Redis fails, or takes longer than ANSWER, this supernode's share of the limit counts (`swarm.origin_seats`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from dfengine.supernode.cluster.redis_facts import ClusterError
from dfengine.supernode.swarm.origin_leases import TERM
from dfengine.supernode.swarm.origin_seats import HUNGRY

if TYPE_CHECKING:
    from dfengine.supernode.cluster.membership import Cluster
    from dfengine.supernode.cluster.redis_facts import RedisFacts
    from dfengine.supernode.copies.origin_queue import OriginQueue

ANSWER = 1.5
"""Seconds that Redis may take; a download that asks for permission waits that long for it."""

AT_ONCE = 64
"""Origins of one question."""

PACE = 0.05
"""Seconds between two questions."""

POLL = 1.0
"""Seconds between two words on an origin that downloads wait for."""

RENEW = 5.0
"""Seconds between two words on an origin that downloads only are at: a Redis that was empty knows of them again then."""


class SharedLeases:
    """Of one supernode. Everything here is by the origin's name, which Redis never sees."""

    def __init__(self, queue: OriginQueue, cluster: Cluster, loop: asyncio.AbstractEventLoop) -> None:
        self._queue, self._cluster, self._loop = queue, cluster, loop
        self._seats = queue.share(self.changed)
        self._due: dict[str, float] = {}
        """Origin -> when something is to be said of it, loop time."""
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def changed(self, origin: str) -> None:
        """A download waits there, or has ended there."""
        self._due[origin] = self._loop.time()
        self._news.set()
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        while self._due:
            now = self._loop.time()
            names = [name for name, at in self._due.items() if at <= now][:AT_ONCE]
            if names:
                await self._say(names)
                await asyncio.sleep(PACE)
            else:
                self._news.clear()
                try:
                    await asyncio.wait_for(self._news.wait(), min(self._due.values()) - now)
                except TimeoutError:
                    continue

    async def _say(self, names: list[str]) -> None:
        for name in names:
            del self._due[name]
        standing = {self._cluster.hidden(name): self._queue.tells(name) for name in names}
        question = partial(_seats, id=self._cluster.own.id, limit=self._queue.leases.limit, standing=standing)
        try:
            found = await self._cluster.ask(question, ANSWER)
        except ClusterError:
            self._seats.lost(1 + len(self._cluster.others))
        else:
            self._seats.counted_by_redis(dict(zip(names, found, strict=True)))
        for name in names:
            self._queue.answered(name)
            held, wanted = self._queue.standing(name)
            counted = self._seats.counted(name)
            if wanted or held or counted is not None:
                self._due.setdefault(name, self._loop.time() + (RENEW if held == counted and not wanted else POLL))

    def close(self) -> None:
        """The process ends."""
        if self._task is not None:
            self._task.cancel()


def _seats(facts: RedisFacts, id: str, limit: int, standing: dict[str, tuple[int, int]]) -> list[int]:
    return facts.seats(id, limit, standing, TERM, HUNGRY)
