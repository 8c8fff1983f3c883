"""The operations of `/api/v2`, by their names in the table. Each returns its response's value, or raises BadRequest."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dfengine.errors import RemoteError
from dfengine.events import LEVELS
from dfengine.net.http import BadRequest, Request
from dfengine.supernode import api_cache
from dfengine.supernode.api_preheat import ListTexts
from dfengine.supernode.console import hosts, origins, preheats, tasks
from dfengine.supernode.console.api_types import (
    CachePage,
    ClusterPage,
    CopyRow,
    Done,
    EventPage,
    EventRow,
    HostPage,
    OriginPage,
    Overview,
    Preheat,
    PreheatPage,
    PreheatRow,
    Room,
    Swarm,
    TaskPage,
    TaskRow,
)  # fmt: skip
from dfengine.supernode.console.cluster import cluster
from dfengine.supernode.console.overview import overview
from dfengine.supernode.console.sampler import Sampler, select_page
from dfengine.supernode.console.swarm_watch import SwarmWatch
from dfengine.supernode.preheat_request import parse_v1
from dfengine.supernode.request_limits import Caller

if TYPE_CHECKING:
    from dfengine.net.event_ring import Event
    from dfengine.supernode.fastpath import Pulls
    from dfengine.supernode.preheat_job import Job
    from dfengine.supernode.preheats import Preheats
    from dfengine.supernode.remote_preheats import RemoteJob
    from dfengine.supernode.supernode_state import SupernodeState


@dataclass(slots=True)
class Call:
    """An admitted request. ids: of its path. query, body: as the operation describes them. may_change: see ConsoleToken."""

    request: Request
    ids: dict[str, str]
    query: Any
    body: Any = None
    may_change: bool = False

    @property
    def caller(self) -> Caller:
        """Who sent the request."""
        return Caller(self.request.client, self.may_change)


class Handlers:
    """The operations of one supernode. plain: source of the number of pulls that were answered at once."""

    def __init__(self, state: SupernodeState, jobs: Preheats, cache: api_cache.CacheRoutes, plain: Pulls) -> None:
        self.sampler = Sampler(state)
        self.viewers = 0
        """Number of open streams."""
        self._state, self._jobs, self._cache, self._plain = state, jobs, cache, plain
        self._started = time.time()
        self._swarms = asyncio.Semaphore(1)

    async def overview(self, call: Call) -> Overview:
        await self.sampler.refresh()
        with self.sampler.budget.work():
            return overview(self._state, self.sampler, self._plain, self._started, self.viewers, call.may_change)

    async def tasks(self, call: Call) -> TaskPage:
        await self.sampler.refresh()
        query = call.query
        text = self._state.names.public_name(query.q.lower())
        items, total = await select_page(self.sampler.budget, self.sampler.tasks, partial(tasks.matches, query, text), query)
        return TaskPage(items=items, total=total, offset=query.offset, at=self.sampler.at)

    async def task(self, call: Call) -> TaskRow:
        await self.sampler.refresh()
        name = self._state.names.public_name(call.ids["task"])
        with self.sampler.budget.work():
            found = next((row for row in self.sampler.tasks if row.task == name), None)
        if found is None:
            raise _missing(call)
        return found

    async def swarm(self, call: Call) -> Swarm:
        if self._state.names.find(call.ids["task"]) not in self._state.swarm.tasks:
            raise _missing(call)
        async with self._swarms:
            watch = SwarmWatch(self._state, call.ids["task"], self.sampler.budget, call.query.limit)
            await watch.refresh()
            found = await watch.snapshot()
        if found is None:
            raise _missing(call)
        return found

    async def hosts(self, call: Call) -> HostPage:
        await self.sampler.refresh(hosts=True)
        query = call.query
        items, total = await select_page(self.sampler.budget, self.sampler.hosts, partial(hosts.matches, query), query)
        return HostPage(items=items, total=total, offset=query.offset, at=self.sampler.hosts_at)

    async def origins(self, call: Call) -> OriginPage:
        await self.sampler.refresh()
        query = call.query
        items, total = await select_page(self.sampler.budget, self.sampler.origins, partial(origins.matches, query), query)
        return OriginPage(items=items, total=total, offset=query.offset, at=self.sampler.at)

    async def cluster(self, call: Call) -> ClusterPage:
        return cluster(self._state)

    # PREHEATS

    async def preheats(self, call: Call) -> PreheatPage:
        query = call.query
        found = [job for job in reversed(self._jobs.all()) if query.state in ("", job.state)]
        items: list[PreheatRow] = []
        texts = ListTexts()
        chosen = found[query.offset : query.offset + query.limit]
        await self.sampler.budget.spread(lambda job: items.append(preheats.row(self._state, job, texts)), chosen)
        return PreheatPage(items=items, total=len(found), offset=query.offset, at=time.time())

    async def preheat(self, call: Call) -> Preheat:
        with self.sampler.budget.work():
            return preheats.preheat(self._state, self._job(call))

    async def new_preheat(self, call: Call) -> Preheat:
        parsed = parse_v1(call.request.body)
        job = self._jobs.begin(parsed, call.request.client)
        if job is None:
            raise BadRequest(429, "too many preheats are under way: try again when some have ended")
        return preheats.preheat(self._state, job)

    async def drop_preheat(self, call: Call) -> Done:
        try:
            self._jobs.cancel(self._job(call))
        except RemoteError as error:
            raise BadRequest(503, str(error)) from None
        self._state.wake()
        return Done()

    def _job(self, call: Call) -> Job | RemoteJob:
        job = self._jobs.find(call.ids["preheat"])
        if job is None:
            raise BadRequest(404, f"preheat {call.ids['preheat']}: not found")
        return job

    # CACHE

    async def cache(self, call: Call) -> CachePage:
        state, query = self._state, call.query
        found, total = await self._cache.copies(state, query.offset, query.limit)
        room = state.fetches.room
        room_fields = Room(free=state.cache.free_bytes(), low=room.low, high=room.high, full=room.exhausted, evictions=room.evictions,
                    evicted_at=room.evicted_at)  # fmt: skip
        return CachePage(items=[CopyRow(**each) for each in found], total=total, offset=query.offset, at=time.time(), room=room_fields)

    async def copy(self, call: Call) -> CopyRow:
        return _copy(call, await api_cache.find(self._state, call.ids["task"], call.caller))

    async def pin(self, call: Call) -> CopyRow:
        return _copy(call, await api_cache.pin(self._state, call.ids["task"], call.body.pinned, call.caller))

    async def evict(self, call: Call) -> Done:
        if not await api_cache.evict(self._state, call.ids["task"], call.caller):
            raise BadRequest(404, f"copy of task {call.ids['task']}: not found")
        return Done()

    # EVENTS

    async def events(self, call: Call) -> EventPage:
        query, log = call.query, self._state.events
        least = LEVELS.index(query.level)
        with self.sampler.budget.work():
            found = log.newest() if query.after < 0 else log.after(query.after, 1 << 20)
            found = [event for event in found if LEVELS.index(event[2]) >= least and query.event in ("", event[3])]
            items = [event_row(event) for event in found[: query.limit]]
        return EventPage(items=items, total=len(found), offset=0, at=time.time(), last=log.newest_id)


def event_row(event: Event) -> EventRow:
    """Convert an event to a row."""
    return EventRow(id=event[0], time=event[1], level=event[2], event=event[3], fields=event[4])


def _missing(call: Call) -> BadRequest:
    return BadRequest(404, f"task {call.ids['task']}: not found")


def _copy(call: Call, found: dict[str, Any] | None) -> CopyRow:
    if found is None:
        raise BadRequest(404, f"copy of task {call.ids['task']}: not found")
    return CopyRow(**found)
