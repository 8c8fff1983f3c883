"""What leaves, and when: tasks that nobody uses leave memory, copies leave a disk that fills up."""

from __future__ import annotations

import time

from dfengine.supernode.fetch import NEW, RUNNING
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
        and (task not in node.swarm.tasks or not node.swarm.stats(task).downloads)
    ]


def sweep(node: Node) -> None:
    """One look at memory and disk."""
    for task in idle_tasks(node, node.now()):
        node.forget(task)
    for task in [task for task in node.used if task not in node.cdn.fetches]:
        del node.used[task]
    free = node.cache.free()
    if free >= node.settings.disk_low:
        return
    for _, task in sorted(node.cache.copies()):
        if free >= node.settings.disk_high:
            return
        fetch = node.cdn.fetches.get(task)
        if fetch is not None and (fetch.state in (NEW, RUNNING) or (task in node.swarm.tasks and node.swarm.stats(task).downloads)):
            continue
        if fetch is not None:
            node.forget(task)
        node.cache.remove(task)
        free = node.cache.free()


def note_use(node: Node) -> None:
    """Write to the disk which copies were used, for the order in which they leave."""
    now, unix = node.now(), time.time()
    for task, at in node.used.items():
        if now - at < 2 * PERIOD and task in node.cdn.fetches:
            node.cache.touch(task, unix - (now - at))


