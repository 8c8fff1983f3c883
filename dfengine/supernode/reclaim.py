"""What leaves, and when: tasks that nobody uses leave memory, copies leave a disk that fills up."""

from __future__ import annotations

import time

from dfengine.supernode.fetch import FAILED, NEW, RUNNING
from dfengine.supernode.node import Node

PERIOD = 10.0
"""Seconds between two looks."""

PAUSE = 1.0
"""Seconds after a look in vain, because of a fetch that begins, to the next one for as much."""


def idle_tasks(node: Node, now: float) -> list[str]:
    """Tasks without downloads that were not asked for within the expire time; `now` monotonic seconds."""
    limit = node.settings.task_expire_time
    return [
        task
        for task, fetch in node.cdn.fetches.items()
        if fetch.state not in (NEW, RUNNING) and now - node.used.get(task, 0.0) > limit
        and (task not in node.swarm.tasks or not node.swarm.stats(task).downloads)
    ]


def sweep(node: Node) -> None:
    """One look at memory and disk."""
    for task in idle_tasks(node, node.now()):
        node.forget(task)
    for task in [task for task in node.used if task not in node.cdn.fetches]:
        del node.used[task]
    node.origins.leases.expire(node.now())
    make_room(node)


def make_room(node: Node, length: int = 0) -> bool:
    """Copies leave, the longest unused first, when less than --disk-low or `length` bytes are free. False if that was in vain.

    Those of tasks that nobody downloads or serves leave before those that are whole at everybody who has joined; others stay.
    """
    least, wanted = (max(limit, length) for limit in (node.settings.disk_low, node.settings.disk_high))
    free = node.cache.free()
    if free >= least:
        return True
    copies = [task for _, task in sorted(node.cache.copies())]
    for served in (False, True):
        for task in copies:
            if free >= wanted:
                return True
            if not _used(node, task, served):
                if task in node.cdn.fetches:
                    node.forget(task)
                node.cache.remove(task)
                free = node.cache.free()
    return free >= least


def _used(node: Node, task: str, served: bool) -> bool:
    """It is being fetched or downloaded or, unless `served` is enough, has peers that serve it."""
    fetch = node.cdn.fetches.get(task)
    if fetch is not None and fetch.state in (NEW, RUNNING):
        return True
    # Nothing of a copy that failed is served, whoever registered for it.
    if task not in node.swarm.tasks or (fetch is not None and fetch.state == FAILED):
        return False
    stats = node.swarm.stats(task)
    return stats.downloads > (stats.finished if served else 0)


class Room:
    """Makes room before a fetch; after a look in vain not at once again: looking at ten thousand copies takes its time."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._again = 0.0
        self._vain = 0

    def make(self, length: int) -> None:
        """For a file of `length` bytes, 0 or less: unknown."""
        now, length = self._node.now(), max(length, 0)
        # A file that fits nowhere says nothing about a smaller one.
        if (now >= self._again or length < self._vain) and not make_room(self._node, length):
            self._again, self._vain = now + PAUSE, length


def note_use(node: Node) -> None:
    """Write to the disk which copies were used, for the order in which they leave."""
    now, unix = node.now(), time.time()
    for task, at in node.used.items():
        if now - at < 2 * PERIOD and task in node.cdn.fetches:
            node.cache.touch(task, unix - (now - at))


