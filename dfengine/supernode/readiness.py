"""Whether a supernode accepts new downloads, and how it drains (--drain). A supernode that listens is alive; see `admin.ready`."""

from __future__ import annotations

import asyncio

from dfengine.supernode.supernode_state import SupernodeState
from dfengine.supernode.swarm._state import Download
from dfengine.supernode.time_slices import spread

FULL = 64 << 20
"""Bytes of free space below which the disk counts as full, if no copy can be removed."""

PERIOD = 0.1
"""Seconds between two checks whether the last download has ended."""

LOST = 5.0
"""Seconds of silence after which a native download without a connection does not delay draining: its client has ended, or is at another
supernode, because it cannot register here again."""

SILENT = 60.0
"""The same with a connection, and for 1.x, which holds none. A native client sends a request at least every 30 s
(`client/pull_timing.py`), one of 1.x with each piece."""


def unready_reason(state: SupernodeState) -> str:
    """Return the reason why the supernode accepts no downloads, "" if it accepts them."""
    if state.draining:
        return "it is draining"
    free = state.cache.free_bytes()
    if free < FULL and state.fetches.room.exhausted:
        return f"the disk is full: {free} bytes are free, and no copy can be removed"
    return ""


def _client_runs(state: SupernodeState, download: Download, now: float) -> bool:
    """Whether the download's client still runs, as far as known."""
    member = state.members.get((download.task.id, download.cid))
    lost = member is None or (member.native > 0 and member.connection is None)
    return now - download.seen < (LOST if lost else SILENT)


async def busy(state: SupernodeState) -> int:
    """Return the number of unfinished downloads and running pieces, of clients that still run."""
    swarm, found = state.swarm, 0
    if not swarm.leases and not any(task.unfinished for task in swarm.tasks.values()):
        return 0

    def count(download: Download) -> None:
        nonlocal found
        under_way = len(download.running) + sum(lease is not None for lease in (download.arrived or {}).values())
        left = under_way + (not download.task.finished(download))
        if left and _client_runs(state, download, state.now()):
            found += left

    await spread(count, [download for task in swarm.tasks.values() for download in task.downloads.values()])
    return found


async def drain(state: SupernodeState, seconds: float) -> int:
    """Admit no new downloads, and wait up to `seconds` for the running ones to end. Return `busy` at the end."""
    state.draining = True
    end = state.now() + seconds
    while (left := await busy(state)) and state.now() < end:
        await asyncio.sleep(PERIOD)
    return left
