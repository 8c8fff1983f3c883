"""Looks up one copy on the disk for a request, in few threads: a name that no copy has is compared with the names of all copies."""

from __future__ import annotations

from functools import partial

from dfengine.supernode.copies.cache import Cache
from dfengine.supernode.task_names import TaskNames
from dfengine.supernode.thread_calls import ThreadCalls

MAX_AT_ONCE = 4
"""Requests that read copies on the disk at the same time; one more may search all copies for a name."""

MAX_WAITING = 64
"""Requests that wait to read copies on the disk, and as many that wait to search them; further ones are refused."""

Described = tuple[str, int, int, int, str, str, bool]


class CopyLookups:
    """The lookups of one supernode."""

    def __init__(self, cache: Cache, names: TaskNames) -> None:
        self._cache, self._names = cache, names
        self._reads = ThreadCalls(MAX_AT_ONCE, MAX_WAITING)
        self._searches = ThreadCalls(1, MAX_WAITING)

    async def describe(self, task: str) -> tuple[tuple[float, str, int] | None, Described | None]:
        """Return the last use and the description of a task's copy. Raises BadRequest if too many requests wait."""
        return await self._reads.run(lambda: (self._cache.copy(task), self._cache.summary(task)))

    async def task_of(self, name: str) -> str:
        """Return the id of the task whose copy has this public name, or `name` itself. Raises BadRequest if too many requests wait."""
        if await self._reads.run(partial(self._cache.has, name)):
            return name
        return await self._searches.run(partial(self._search, name))

    def _search(self, name: str) -> str:
        return next((task for task in self._cache.tasks() if self._names.alias(task) == name), name)
