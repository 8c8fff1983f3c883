"""The supernode's copies, as its administrators see and steer them: /api/v1/cache."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any

import msgspec

from dfengine import wire
from dfengine.errors import ProtocolViolation
from dfengine.net.http import BadRequest, Request, Response
from dfengine.supernode.admin import PAGE, page
from dfengine.supernode.api_v1 import refused
from dfengine.supernode.copies.cache import TASK_ID
from dfengine.supernode.state import SupernodeState
from dfengine.task import bare

AT_ONCE = 4
"""Lists that are made at once: each reads every description on the disk."""


def _json(value: Any) -> Response:
    return Response(200, msgspec.json.encode(value) + b"\n")


class CacheRoutes:
    """Of one supernode."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def listed(self, state: SupernodeState, request: Request) -> Response:
        """GET /api/v1/cache: pageSize (at most PAGE) copies in the order of their last use, pageNum such pages left out."""
        state.shares.copies.expire()
        number, size = page(request, "pageNum", 0), min(page(request, "pageSize", PAGE), PAGE)
        async with self._turns:
            copies = await state.loop.run_in_executor(None, lambda: sorted(state.cache.copies(), reverse=True))
            chosen = list(islice(copies, number * size, (number + 1) * size))
            known = await state.loop.run_in_executor(None, lambda: [state.cache.describes(task) for _, task, _ in chosen])
        found = [_object(state, *copy, description) for copy, description in zip(chosen, known, strict=True)]
        return _json([each for each in found if each is not None])

    async def one(self, state: SupernodeState, request: Request) -> Response:
        """GET /api/v1/cache/{task}."""
        found = await _found(state, request)
        return _missing(request) if found is None else _json(found)

    async def change(self, state: SupernodeState, request: Request) -> Response:
        """POST /api/v1/cache/{task} {"pinned": true or false}: a pinned copy is never removed to make room, nor when its time is over."""
        try:
            pinned = wire.folded(request.body).get("pinned")
        except ProtocolViolation as error:
            return refused(str(error), 400, 400)
        if not isinstance(pinned, bool):
            return refused('pinned: {"Code":2,"Msg":"invalid value"}', 400, 400)
        found = await _found(state, request)
        if found is None:
            return _missing(request)
        state.fetches.kept.pin(found["task"], found["url"], pinned)
        return _json(found | {"pinned": pinned})

    async def remove(self, state: SupernodeState, request: Request) -> Response:
        """DELETE /api/v1/cache/{task}: the copy leaves memory and disk; downloads of it register again."""
        found = await _found(state, request)
        if found is None:
            return _missing(request)
        task = found["task"]
        if task in state.cdn.fetches:
            state.fetches.forget(task)
        state.fetches.remove(task)
        state.wake()
        return Response(200, b"true\n")


async def _found(state: SupernodeState, request: Request) -> dict[str, Any] | None:
    state.shares.copies.expire()
    task = request.path.rpartition("/")[2]
    if not TASK_ID.fullmatch(task):
        raise BadRequest(400, "a task is 64 hex digits")
    copy = await state.loop.run_in_executor(None, state.cache.copy, task)
    description = await state.loop.run_in_executor(None, state.cache.describes, task)
    return _object(state, *copy, description) if copy is not None else None


def _missing(request: Request) -> Response:
    return refused(f"copy of task {request.path.rpartition('/')[2][:64]}: not found", 404, 404)


Told = tuple[str, int, int, int, str, str]


def _object(state: SupernodeState, used: float, task: str, taken: int, described: Told | None) -> dict[str, Any] | None:
    """Bytes, pieces, unix seconds; what is in memory is newer than what is on the disk."""
    if described is None:
        return None
    url, length, pieces, here, tree, base = described
    fetch, keep = state.cdn.fetches.get(task), state.fetches.kept.get(task)
    return {
        "task": task, "url": bare(url), "length": length, "pieces": pieces, "here": here, "taken": taken, "used": used,
        "state": fetch.state if fetch is not None else "IDLE", "pinned": keep is not None and keep.pinned,
        "until": keep.until if keep is not None else 0.0, "tree": tree,
        "base": base,
    }  # fmt: skip
