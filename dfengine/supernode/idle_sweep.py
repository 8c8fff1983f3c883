"""What leaves now and then: tasks that nobody uses leave memory, copies leave a disk that fills up (`eviction`)."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from dfengine.supernode.copies.fetch import FAILED, NEW, RUNNING
from dfengine.supernode.turns import spread

if TYPE_CHECKING:
    from dfengine.supernode.state import SupernodeState

PERIOD = 10.0
"""Seconds between two looks."""


def is_idle(state: SupernodeState, task: str, now: float) -> bool:
    """It has no downloads and was not asked for within the expire time; `now` monotonic seconds."""
    fetch, swarm_task = state.cdn.fetches.get(task), state.swarm.tasks.get(task)
    if fetch is None or fetch.state in (NEW, RUNNING) or (swarm_task is not None and swarm_task.downloads):
        return False
    return now - state.used.get(task, 0.0) > state.settings.task_expire_time


def _forget_idle(state: SupernodeState, task: str) -> None:
    if is_idle(state, task, state.now()):
        state.forget(task)


def _forget_use(state: SupernodeState, task: str) -> None:
    if task not in state.cdn.fetches:
        state.used.pop(task, None)


async def sweep(state: SupernodeState) -> None:
    """One look at memory and disk."""
    await spread(partial(_forget_idle, state), list(state.cdn.fetches))
    await spread(partial(_forget_use, state), list(state.used))
    state.origins.leases.expire(state.now())
    if state.cache.free() < state.room.low:
        state.loop.run_in_executor(None, state.room.keep_low)


async def note_use(state: SupernodeState) -> None:
    """Write to the disk which copies were used, for the order in which they leave."""
    now, unix = state.now(), time.time()

    def note(use: tuple[str, float]) -> None:
        task, at = use
        if now - at < 2 * PERIOD and task in state.cdn.fetches:
            state.cache.touch(task, unix - (now - at))

    await spread(note, list(state.used.items()))


class Usage:
    """See eviction.Usage."""

    def __init__(self, state: SupernodeState) -> None:
        self._node = state

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
