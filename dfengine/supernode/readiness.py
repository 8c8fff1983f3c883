"""Whether a supernode should be given new downloads, and its farewell (--drain). What is listening is alive; see `admin.ready`."""

from __future__ import annotations

import asyncio

from dfengine.supernode.state import SupernodeState

FULL = 64 << 20
"""Bytes of room below which the disk is full, if nothing can be removed."""

LOOK = 0.1
"""Seconds between two looks whether the last download has ended."""


def hindrance(state: SupernodeState) -> str:
    """Why it should be given none; "" if it should."""
    if state.draining:
        return "it takes leave"
    free = state.cache.free()
    if free < FULL and state.fetches.room.exhausted:
        return f"the disk is full: {free} bytes are free, and no copy can be removed"
    return ""


def busy(state: SupernodeState) -> int:
    """Downloads that have not all yet, and pieces under way."""
    return sum(task.unfinished for task in state.swarm.tasks.values()) + len(state.swarm.leases)


async def drain(state: SupernodeState, seconds: float) -> int:
    """No download joins any more; those that run have so many seconds to end. Returns `busy` at the end."""
    state.draining = True
    end = state.now() + seconds
    while (left := busy(state)) and state.now() < end:
        await asyncio.sleep(LOOK)
    return left
