"""The figures of all tasks, origins and hosts, sampled periodically and shared by all requests.

Tasks are sampled periodically, so that their rates are known when a client requests them. Hosts, which need a walk over all downloads, are
sampled only within ACTIVE seconds of the last request for them. A request beyond the budget does not wait: it receives the previous
figures.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar

from dfengine.supernode.console.api_types import HostRow, OriginRow, TaskRow
from dfengine.supernode.console.budget import Budget
from dfengine.supernode.console.hosts import HostFigures
from dfengine.supernode.console.origins import OriginFigures
from dfengine.supernode.console.rates import Rates
from dfengine.supernode.console.tasks import row
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.supernode_state import SupernodeState

PERIOD, IDLE_PERIOD = 5.0, 30.0
"""Seconds between two samples of all tasks, within ACTIVE seconds of the last request and later."""

FRESH = 0.25
"""Seconds for which figures are not sampled again for a request."""

ACTIVE = 30.0
"""Seconds after a request for which hosts are sampled, and tasks are sampled every PERIOD."""

Row = TypeVar("Row", TaskRow, HostRow, OriginRow)


class Sampler:
    """The figures of one supernode. Lists are replaced, never changed. at: when they were gathered, Unix seconds; 0: not yet."""

    def __init__(self, state: SupernodeState, budget: Budget | None = None) -> None:
        self.tasks: list[TaskRow] = []
        self.origins: list[OriginRow] = []
        self.hosts: list[HostRow] = []
        self.at = self.hosts_at = 0.0
        self.delivered = 0
        """Bytes that the supernode and peers sent to downloads since the start."""
        self.origin_requests = self.origin_bytes = 0
        self.rate: float | None = None
        self.origin_rate: float | None = None
        self.budget = budget or Budget(client_share=state.settings.client_share)
        self._state = state
        self._rates, self._host_rates = Rates(), Rates()
        self._delivered: dict[str, int] = {}
        self._requested_at = self._hosts_requested_at = -ACTIVE
        self._walked_at = self._hosts_walked_at = -ACTIVE
        self._walk_task: asyncio.Task[None] | None = None
        self._timer = state.loop.call_later(PERIOD, self._tick)

    def _tick(self) -> None:
        if self._walk_task is None and not self.budget.delay():
            self._start_walk(self._hosts_wanted())
        often = self._state.now() - self._requested_at < ACTIVE
        self._timer = self._state.loop.call_later(PERIOD if often else IDLE_PERIOD, self._tick)

    def _hosts_wanted(self) -> bool:
        """Whether a client has requested hosts lately."""
        return self._state.now() - self._hosts_requested_at < ACTIVE

    async def refresh(self, hosts: bool = False) -> None:
        """Sample the figures, unless they are FRESH or the budget is used up."""
        now = self._state.now()
        self._requested_at = now
        if hosts:
            self._hosts_requested_at = now
        known = self.hosts_at if hosts else self.at
        old = now - (self._hosts_walked_at if hosts else self._walked_at) >= FRESH
        if self._walk_task is None and old and not (known and self.budget.delay()):
            self._start_walk(self._hosts_wanted())
        if self._walk_task is not None:
            await asyncio.shield(self._walk_task)
        if hosts and not self.hosts_at:  # the walk in progress had started without hosts
            await asyncio.shield(self._walk_task or self._start_walk(True))

    def _start_walk(self, hosts: bool) -> asyncio.Task[None]:
        self._walk_task = walk = self._state.loop.create_task(self._walk(hosts))
        return walk

    async def _walk(self, hosts: bool) -> None:
        try:
            await self._walk_tasks()
            if hosts:
                await self._walk_hosts()
        finally:
            self._walk_task = None

    async def _walk_tasks(self) -> None:
        state, now = self._state, self._state.now()
        self._walked_at = now
        rows: list[TaskRow] = []
        origins = OriginFigures(state.fetches.origin_counts.origins, self._rates)
        delivered: dict[str, int] = {}
        requests, count = state.fetch_pool.past_requests, state.fetch_pool.past_bytes

        def add(fetch: Fetch) -> None:
            nonlocal requests, count
            found = row(state, fetch, self._rates, now)
            rows.append(found)
            origins.add(fetch)
            requests += fetch.origin_requests
            count += fetch.origin_bytes
            self.delivered += max(0, found.delivered_bytes - self._delivered.get(fetch.task, 0))
            delivered[fetch.task] = found.delivered_bytes

        await self.budget.spread(add, list(state.fetch_pool.fetches.values()))
        self._delivered = delivered
        self.origin_requests, self.origin_bytes = requests, count
        self.rate = self._rates.rate("delivered", self.delivered, now)
        self.origin_rate = self._rates.rate("origin", count, now)
        self.origins = origins.rows(now, state.origins.leases.held(), state.fetch_pool.pauses.current(now))
        self._rates.end()
        self.tasks, self.at = rows, time.time()

    async def _walk_hosts(self) -> None:
        state, now = self._state, self._state.now()
        self._hosts_walked_at = now
        figures = HostFigures(state)
        await self.budget.spread(figures.add, list(state.members.values()))
        rows: list[HostRow] = []
        await self.budget.spread(lambda item: rows.append(figures.row(*item, self._host_rates, now)), list(figures.hosts.items()))
        self._host_rates.end()
        self.hosts, self.hosts_at = rows, time.time()

    def close(self) -> None:
        """Stop at the end of the process."""
        self._timer.cancel()
        if self._walk_task is not None:
            self._walk_task.cancel()


async def select_page(budget: Budget, items: list[Row], matches: Callable[[Row], bool], query: Any) -> tuple[list[Row], int]:
    """Return the items for which `matches` is true, in the order and within the bounds of a list's query, and their number in total."""

    def choose() -> tuple[list[Row], int]:
        found = [item for item in items if matches(item)]
        # None, a rate that is not known yet, is last in either order.
        known = [item for item in found if getattr(item, query.sort) is not None]
        known.sort(key=attrgetter(query.sort), reverse=query.order == "desc")
        if len(known) < len(found):
            known += [item for item in found if getattr(item, query.sort) is None]
        return known[query.offset : query.offset + query.limit], len(known)

    return await budget.make_list(choose, len(items))
