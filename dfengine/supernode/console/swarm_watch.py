"""The watched swarm of a task: each refresh finds the changes since the previous one; snapshots are made on demand.

All viewers of a task share its refreshes. They get the first downloads in the order in which these joined, up to a limit.
"""

from __future__ import annotations

import time
from collections import Counter
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING

from dfengine.copy_states import SUCCESS
from dfengine.supernode.console.api_types import HostChange, Slowest, Swarm, SwarmChange, SwarmHost
from dfengine.supernode.console.queries import PAGE
from dfengine.supernode.console.slowest import Progress, slowest
from dfengine.supernode.console.swarm_hosts import HostState, bitset_bytes, to_base64
from dfengine.task import redacted

if TYPE_CHECKING:
    from dfengine.supernode.console.budget import Budget
    from dfengine.supernode.supernode_state import SupernodeState
    from dfengine.supernode.swarm._state import Download, Task


MAX_BYTES = 1 << 20
"""Bytes of all bitsets together: of a task with very many pieces, fewer downloads are sent."""


class SwarmWatch:
    """task: its public name. most: downloads that are sent. tick: increases with each refresh that found a change."""

    def __init__(self, state: SupernodeState, task: str, budget: Budget, most: int = PAGE) -> None:
        self.task = task
        self.tick = 0
        self._state = state
        self._budget = budget
        self._most = most
        self._states: dict[Download, HostState] = {}
        self._next = 0
        self._cached = b""
        self._swarm: Task | None = None
        self._change: SwarmChange | None = None

    async def refresh(self) -> SwarmChange | None:
        """Return the changes; None: nothing changed, or the task is not in memory."""
        task = self._state.names.find(self.task)
        swarm = self._state.swarm.tasks.get(task)
        if swarm is None:
            return None
        if swarm is not self._swarm:
            self._swarm, self._states, self._cached, self._next = swarm, {}, b"", 0
            self.tick += 1  # viewers have the state of another swarm: they get a snapshot next
        now, count = self._state.now(), swarm.count
        downloads = list(islice(swarm.downloads.values(), min(self._most, max(1, MAX_BYTES * 8 // max(swarm.size, count, 1)))))
        joined: list[SwarmHost] = []
        changed: list[HostChange] = []
        unfinished: list[Progress] = []
        transfers: Counter[tuple[int, int]] = Counter()
        fresh: dict[Download, HostState] = {}
        for download in downloads:
            known = self._states.get(download)
            if known is None:
                known = HostState(self._next, download)
                self._next += 1
            fresh[download] = known

        def update(host: HostState) -> None:
            new = host.download not in self._states
            change = host.update(count, now)
            if new:
                joined.append(self._row(task, host, now))
            elif change is not None:
                changed.append(change)
            for lease in host.download.running.values():
                source = fresh.get(lease.source) if lease.source is not None else None
                if lease.source is None or source is not None:
                    transfers[source.n if source is not None else -1, host.n] += 1
            progress = host.progress(count, now)
            if progress is not None:
                unfinished.append(progress)

        await self._budget.spread(update, list(fresh.values()))
        with self._budget.work():
            return self._changed(swarm, fresh, joined, changed, unfinished, transfers)

    def _changed(
        self, swarm: Task, fresh: dict[Download, HostState], joined: list[SwarmHost], changed: list[HostChange], unfinished: list[Progress],
        transfers: Counter[tuple[int, int]],
    ) -> SwarmChange | None:
        """Finish a refresh: `fresh` are the downloads to send from now on."""
        count = swarm.count
        left = [host.n for download, host in self._states.items() if download not in fresh]
        self._states = fresh
        cached = bitset_bytes(swarm.cached, count)
        before = self._change
        change = SwarmChange(
            task=self.task, at=time.time(), tick=self.tick + 1, pieces=count, total=len(swarm.downloads),
            cached=to_base64(cached) if cached != self._cached else None, joined=joined, left=left, changed=changed,
            feeds=[(source, to, pieces) for (source, to), pieces in transfers.items()], slowest=self._slowest(unfinished),
        )  # fmt: skip
        rows_changed = joined or left or changed or change.cached is not None
        if before is not None and not rows_changed and _shared_fields(before) == _shared_fields(change):
            return None
        self._cached, self._change, self.tick = cached, change, change.tick
        return change

    def _slowest(self, unfinished: list[Progress]) -> Slowest | None:
        times = [host.download.best_piece_time for host in self._states.values() if host.download.best_piece_time > 0]
        fetch = self._state.fetch_pool.fetches.get(self._state.names.find(self.task))
        waits = self._state.names.mask_text(redacted(fetch.retry_reason))[:300] if fetch is not None else ""
        copied = fetch is not None and fetch.state == SUCCESS
        found = slowest(unfinished, median(times) if times else 0.0, waits, copied)
        return Slowest(*found) if found is not None else None

    def _row(self, task: str, host: HostState, now: float) -> SwarmHost:
        cid = host.download.cid
        return host.row(self._state.names.public_cid(task, cid), self._state.members.get((task, cid)), now)

    async def snapshot(self) -> Swarm | None:
        """Return the state at the last refresh; None: the task is not in memory, or was not refreshed."""
        change = self._change
        if change is None:
            return None
        now, rows, tick = self._state.now(), [], self.tick
        task = self._state.names.find(self.task)
        await self._budget.spread(lambda host: rows.append(self._row(task, host, now)), list(self._states.values()))
        return Swarm(task=self.task, at=change.at, tick=tick, pieces=change.pieces, total=change.total, cached=to_base64(self._cached),
                     hosts=rows, feeds=change.feeds, slowest=change.slowest)  # fmt: skip


def _shared_fields(change: SwarmChange) -> tuple[object, ...]:
    """Return the figures that may change without a row of a download."""
    return change.pieces, change.total, change.feeds, change.slowest
