"""What leaves now and then: tasks that nobody uses leave memory, copies leave a disk that fills up (`eviction`)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dfengine.supernode.fetch import FAILED, NEW, RUNNING

if TYPE_CHECKING:
    from dfengine.supernode.node import Node

PERIOD = 10.0
"""Seconds between two looks."""


def idle_tasks(node: Node, now: float) -> list[str]:
    """Tasks without downloads that were not asked for within the expire time; `now` monotonic seconds."""
    limit = node.settings.task_expire_time
    return [
        task
        for task, fetch in node.cdn.fetches.items()
        if fetch.state not in (NEW, RUNNING) and now - node.used.get(task, 0.0) > limit
        and (task not in node.swarm.tasks or not node.swarm.tasks[task].downloads)
    ]


def sweep(node: Node) -> None:
    """One look at memory and disk."""
    for task in idle_tasks(node, node.now()):
        node.forget(task)
    for task in [task for task in node.used if task not in node.cdn.fetches]:
        del node.used[task]
    node.origins.leases.expire(node.now())
    if node.cache.free() < node.room.low:
        node.loop.run_in_executor(None, node.room.keep_low)


def note_use(node: Node) -> None:
    """Write to the disk which copies were used, for the order in which they leave."""
    now, unix = node.now(), time.time()
    for task, at in node.used.items():
        if now - at < 2 * PERIOD and task in node.cdn.fetches:
            node.cache.touch(task, unix - (now - at))


class Usage:
    """See eviction.Usage."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def order(self, task: str) -> int:
        """0: nobody uses it. 1: everybody who joined has it whole. 2: it must stay."""
        fetch = self._node.cdn.fetches.get(task)
        if fetch is not None and fetch.state in (NEW, RUNNING):
            return 2
        state = self._node.swarm.tasks.get(task)
        # Nothing of a copy that failed is served, whoever registered for it.
        if state is None or not state.downloads or (fetch is not None and fetch.state == FAILED):
            return 0
        return 2 if state.unfinished else 1

    def running(self, task: str) -> bool:
        """It is being fetched."""
        fetch = self._node.cdn.fetches.get(task)
        return fetch is not None and fetch.state == RUNNING

    def drop(self, task: str) -> bool:
        """It leaves memory and disk, unless it must stay by now."""
        if self.order(task) == 2:
            return False
        if task in self._node.cdn.fetches:
            self._node.forget(task)
        self._node.cache.remove(task)
        return True
