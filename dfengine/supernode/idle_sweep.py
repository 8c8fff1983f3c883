"""Periodic clean-up: removes unused tasks from memory, and copies from a disk that fills up (`eviction`)."""

from __future__ import annotations

import time
from functools import partial

from dfengine.copy_states import UNENDED
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.supernode.time_slices import spread

PERIOD = 10.0
"""Seconds between two sweeps."""


def is_idle(state: SupernodeState, task: str, now: float) -> bool:
    """Whether a task has no downloads and was not requested within the expire time. now: monotonic seconds."""
    fetch, swarm_task = state.fetch_pool.fetches.get(task), state.swarm.tasks.get(task)
    if fetch is None or fetch.state in UNENDED or (swarm_task is not None and swarm_task.downloads):
        return False
    return now - state.registry.used.get(task, 0.0) > state.settings.task_expire_time


def _forget_idle(state: SupernodeState, task: str) -> None:
    if is_idle(state, task, state.now()):
        state.counts["idle_tasks"] += 1
        state.fetches.forget(task)


def _forget_use(state: SupernodeState, task: str) -> None:
    if task not in state.fetch_pool.fetches:
        state.registry.used.pop(task, None)


async def sweep(state: SupernodeState) -> None:
    """Sweep memory and disk once."""
    await spread(partial(_forget_idle, state), list(state.fetch_pool.fetches))
    await spread(partial(_forget_use, state), list(state.registry.used))
    state.origins.leases.expire(state.now())
    state.shares.copies.expire()
    state.workers.expire()
    if state.cache.free_bytes() < state.fetches.room.low:
        state.loop.run_in_executor(None, state.fetches.room.keep_free)


async def note_use(state: SupernodeState) -> None:
    """Record on disk which copies were used, for the order of eviction."""
    now, unix = state.now(), time.time()

    def note(use: tuple[str, float]) -> None:
        task, at = use
        if now - at < 2 * PERIOD and task in state.fetch_pool.fetches:
            state.cache.touch(task, unix - (now - at))

    await spread(note, list(state.registry.used.items()))
