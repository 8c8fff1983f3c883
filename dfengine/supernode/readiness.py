"""Whether a supernode should be given new downloads, and how it drains (--drain). What is listening is alive; see `admin.ready`."""

from __future__ import annotations

import asyncio

from dfengine.supernode.sliced_work import spread
from dfengine.supernode.state import SupernodeState
from dfengine.supernode.swarm._state import Download

FULL = 64 << 20
"""Bytes of room below which the disk is full, if nothing can be removed."""

PERIOD = 0.1
"""Seconds between two checks whether the last download has ended."""

LOST = 5.0
"""Seconds without a word after which nobody waits for a native download whose connection is gone: its client has ended, or is at another
supernode, as it cannot register here again."""

SILENT = 60.0
"""The same with a connection, and for 1.x, which keeps none. A native client speaks at least every 30 s (`client/pull_timing.py`), one of
1.x with each piece."""


def hindrance(state: SupernodeState) -> str:
    """Why it should be given none; "" if it should."""
    if state.draining:
        return "it is draining"
    free = state.cache.free()
    if free < FULL and state.fetches.room.exhausted:
        return f"the disk is full: {free} bytes are free, and no copy can be removed"
    return ""


def _runs(state: SupernodeState, download: Download, now: float) -> bool:
    """Its client is there, as far as can be told."""
    member = state.members.get((download.task.id, download.cid))
    lost = member is None or (member.native > 0 and member.connection is None)
    return now - download.seen < (LOST if lost else SILENT)


async def busy(state: SupernodeState) -> int:
    """Downloads that have not all yet, and pieces under way, of clients that are there."""
    swarm, found = state.swarm, 0
    if not swarm.leases and not any(task.unfinished for task in swarm.tasks.values()):
        return 0

    def count(download: Download) -> None:
        nonlocal found
        under_way = len(download.running) + sum(lease is not None for lease in (download.arrived or {}).values())
        left = under_way + (not download.task.finished(download))
        if left and _runs(state, download, state.now()):
            found += left

    await spread(count, [download for task in swarm.tasks.values() for download in task.downloads.values()])
    return found


async def drain(state: SupernodeState, seconds: float) -> int:
    """No download joins any more; those that run have so many seconds to end. Returns `busy` at the end."""
    state.draining = True
    end = state.now() + seconds
    while (left := await busy(state)) and state.now() < end:
        await asyncio.sleep(PERIOD)
    return left
