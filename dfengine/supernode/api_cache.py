"""Endpoints to list, pin and remove the supernode's copies: /api/v1/cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from dfengine import wire
from dfengine.errors import ProtocolViolation
from dfengine.net.client_quota import SHARE
from dfengine.net.http import BadRequest, Request, Response
from dfengine.supernode.admin import PAGE, last, page
from dfengine.supernode.api_v1 import refusal
from dfengine.supernode.copies.cache import TASK_ID, Cache
from dfengine.supernode.copy_lookups import MAX_WAITING, Described
from dfengine.supernode.request_limits import Caller, RequestLimits
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.supernode.thread_calls import TOO_MANY_WAITING
from dfengine.task import redacted_url

AT_ONCE = 4
"""Lists that are made at the same time: each reads the descriptions of all copies from the disk."""


def _json(value: Any) -> Response:
    return Response(200, msgspec.json.encode(value) + b"\n")


class CacheRoutes:
    """The cache endpoints of one supernode. may_change: see ConsoleToken.changes. share: percent of the requests for one client."""

    def __init__(self, may_change: Callable[[Request], bool] = lambda request: False, share: int = SHARE) -> None:
        self._may_change = may_change
        self._lists = RequestLimits(AT_ONCE + MAX_WAITING, TOO_MANY_WAITING, share)
        """Requests for lists in progress."""
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def list_all(self, state: SupernodeState, request: Request) -> Response:
        """GET /api/v1/cache: pageSize copies (at most PAGE) in the order of their last use, after skipping pageNum such pages."""
        number, size = page(request, "pageNum", 0), min(page(request, "pageSize", PAGE), PAGE)
        with self._lists.place(self._caller(request)):
            return _json((await self.copies(state, number * size, size))[0])

    def _caller(self, request: Request) -> Caller:
        return Caller(request.client, self._may_change(request))

    async def copies(self, state: SupernodeState, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        """Return up to `limit` copies in the order of their last use, skipping the first `offset`, and the number of all copies."""
        state.shares.copies.expire()
        await self._turns.acquire()
        try:
            reading = state.loop.run_in_executor(None, _read_copies, state.cache, offset, limit)
        except BaseException:
            self._turns.release()
            raise
        # The thread has the turn: it reads on when the client disconnects, and the turn is over when it ends.
        reading.add_done_callback(lambda _: self._turns.release())
        chosen, count = await asyncio.shield(reading)
        found = [_object(state, *copy, description) for copy, description in chosen]
        return [each for each in found if each is not None], count

    async def get(self, state: SupernodeState, request: Request) -> Response:
        """GET /api/v1/cache/{task}."""
        found = await find(state, last(request), self._caller(request))
        return _missing(request) if found is None else _json(found)

    def change(self, state: SupernodeState, request: Request) -> Response | Coroutine[Any, Any, Response]:
        """POST /api/v1/cache/{task} {"pinned": true or false}: a pinned copy is not evicted for space, nor removed when it expires."""
        try:
            pinned = wire.folded(request.body).get("pinned")
        except ProtocolViolation as error:
            return refusal(str(error), 400, 400)
        if not isinstance(pinned, bool):
            return refusal('pinned: {"Code":2,"Msg":"invalid value"}', 400, 400)
        request.body = b""  # it may be large, and the request may wait for its turn
        return self._pin(state, request, pinned)

    async def _pin(self, state: SupernodeState, request: Request, pinned: bool) -> Response:
        found = await pin(state, last(request), pinned, self._caller(request))
        return _missing(request) if found is None else _json(found)

    async def remove(self, state: SupernodeState, request: Request) -> Response:
        """DELETE /api/v1/cache/{task}: remove the copy from memory and disk; its downloads register again."""
        return Response(200, b"true\n") if await evict(state, last(request), self._caller(request)) else _missing(request)


async def pin(state: SupernodeState, task: str, pinned: bool, caller: Caller) -> dict[str, Any] | None:
    """Pin or unpin a task's copy, and return its description as `find` does."""
    task = await named(state, task, caller)
    found = await find(state, task, caller)
    if found is not None:
        state.fetches.kept.pin(task, found["url"], pinned, open=found["task"] == task)
        found["pinned"] = pinned
    return found


async def evict(state: SupernodeState, task: str, caller: Caller) -> bool:
    """Remove a copy from memory and disk; its downloads register again. Return False if there is no copy. Raises BadRequest."""
    task = await named(state, task, caller)
    if await find(state, task, caller) is None:
        return False
    if task in state.fetch_pool.fetches:
        state.fetches.forget(task)
    state.fetches.remove(task)
    state.wake()
    return True


async def find(state: SupernodeState, task: str, caller: Caller) -> dict[str, Any] | None:
    """Return the description of a task's copy, None without a copy. Raises BadRequest when `task` is not a task id, or too many wait."""
    state.shares.copies.expire()
    task = await named(state, task, caller)
    copy, description = await state.copy_lookups.describe(task, caller)
    return _object(state, *copy, description) if copy is not None else None


async def named(state: SupernodeState, name: str, caller: Caller) -> str:
    """Return the id of the task with this public name, or `name` itself without a copy. Raises BadRequest when `name` is malformed."""
    if not TASK_ID.fullmatch(name):
        raise BadRequest(400, "a task is 64 hex digits")
    task = state.names.find(name)
    if task != name or name in state.fetch_pool.fetches:
        return task
    return await state.copy_lookups.task_of(name, caller)


def _read_copies(cache: Cache, offset: int, limit: int) -> tuple[list[tuple[tuple[float, str, int], Described | None]], int]:
    """Return the chosen copies with their descriptions on disk, and the number of all copies. In a thread."""
    copies = sorted(cache.copies(), reverse=True)
    return [(copy, cache.summary(copy[1])) for copy in copies[offset : offset + limit]], len(copies)


def _missing(request: Request) -> Response:
    return refusal(f"copy of task {last(request)[:64]}: not found", 404, 404)


def _object(state: SupernodeState, used: float, task: str, taken: int, described: Described | None) -> dict[str, Any] | None:
    """Describe a copy in bytes, pieces and Unix seconds. The state in memory is newer than the description on disk."""
    if described is None:
        return None
    url, length, pieces, here, tree, base, opened = described
    fetch, keep = state.fetch_pool.fetches.get(task), state.fetches.kept.get(task)
    return {
        "task": state.names.public_name_of(task, opened), "url": redacted_url(url), "length": length, "pieces": pieces, "here": here,
        "taken": taken, "used": used,
        "state": fetch.state if fetch is not None else "IDLE", "pinned": keep is not None and keep.pinned,
        "until": keep.until if keep is not None else 0.0, "tree": tree,
        "base": base,
    }  # fmt: skip
