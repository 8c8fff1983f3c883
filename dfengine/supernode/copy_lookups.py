"""Looks up one copy on the disk for a request, in few threads: a name that no copy has is compared with the names of all copies."""

from __future__ import annotations

from functools import partial

from dfengine.net.client_quota import SHARE
from dfengine.supernode.copies.cache import Cache
from dfengine.supernode.request_limits import Caller
from dfengine.supernode.task_names import TaskNames
from dfengine.supernode.thread_calls import ThreadCalls

MAX_AT_ONCE = 4
"""Requests that read copies on the disk at the same time; one more may search all copies for a name."""

MAX_WAITING = 64
"""Requests that wait to read copies on the disk, and as many that wait to search them, see RequestLimits; further ones are refused."""

Described = tuple[str, int, int, int, str, str, bool]


class CopyLookups:
    """The lookups of one supernode. share: percent of the waiting requests for one client."""

    def __init__(self, cache: Cache, names: TaskNames, share: int = SHARE) -> None:
        self._cache, self._names = cache, names
        self._reads = ThreadCalls(MAX_AT_ONCE, MAX_WAITING, share)
        self._searches = ThreadCalls(1, MAX_WAITING, share)

    async def describe(self, task: str, caller: Caller) -> tuple[tuple[float, str, int] | None, Described | None]:
        """Return the last use and the description of a task's copy. Raises BadRequest if too many requests wait."""
        return await self._reads.run(lambda: (self._cache.copy(task), self._cache.summary(task)), caller)

    async def task_of(self, name: str, caller: Caller) -> str:
        """Return the id of the task whose copy has this public name, or `name` itself. Raises BadRequest if too many requests wait."""
        if await self._reads.run(partial(self._cache.has, name), caller):
            return name
        return await self._searches.run(partial(self._search, name), caller)

    def _search(self, name: str) -> str:
        return next((task for task in self._cache.tasks() if self._names.alias(task) == name), name)
