"""Endpoints for administrators: tasks, version, metrics, the list of endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from dfengine._piece import Geometry
from dfengine.about import VERSION
from dfengine.net.http import TEXT, BadRequest, Request, Response, text
from dfengine.supernode.api_v1 import refusal
from dfengine.supernode.copies.cache import TASK_ID
from dfengine.supernode.legacy_metrics import handler
from dfengine.supernode.metrics import Scrapes
from dfengine.supernode.readiness import unready_reason
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.task import redacted_url

PREFIX = "/api/v1"
PAGE = 1000
"""Entries in one response."""

METRICS = "text/plain; version=0.0.4; charset=utf-8"

def as_json(value: Any, status: int = 200) -> Response:
    return Response(status, msgspec.json.encode(value) + b"\n")


def ping(state: SupernodeState, request: Request) -> Response:
    return Response(200, b"OK", TEXT)


def ready(state: SupernodeState, request: Request) -> Response:
    """GET /readyz: 503 with the reason while the supernode accepts no new downloads."""
    reason = unready_reason(state)
    return text(503, f"not ready: {reason}") if reason else text(200, "ready")


def version(state: SupernodeState, request: Request) -> Response:
    """GET /version: 1.x's fields."""
    fields = {"Arch": "amd64", "BuildDate": "", "GoVersion": "", "OS": "linux", "Version": VERSION}
    return Response(200, msgspec.json.encode(fields), TEXT)


def metrics(scrapes: Scrapes, state: SupernodeState, request: Request) -> Response | Coroutine[Any, Any, Response]:
    found = scrapes.answer()
    return Response(200, found, METRICS) if isinstance(found, bytes) else _scraped(found)


async def _scraped(found: asyncio.Future[bytes]) -> Response:
    return Response(200, await asyncio.shield(found), METRICS)  # a client that disconnects does not cancel the scrape for the others


def last(request: Request) -> str:
    """Return the last segment of the request's path, an id."""
    return request.path.rpartition("/")[2]


def task(state: SupernodeState, request: Request) -> Response:
    name = last(request)
    fetch = state.fetch_pool.fetches.get(state.names.find(name))
    if fetch is None:
        return refusal(f"task {name[:64]}: not found", 404, 404)
    geometry = fetch.file.geometry if fetch.file is not None else Geometry(-1)
    return as_json({
        "ID": name, "cdnStatus": fetch.state, "fileLength": geometry.framed_length, "httpFileLength": geometry.length,
        "pieceSize": geometry.piece_size, "pieceTotal": geometry.count, "rawURL": redacted_url(fetch.request.url), "realMd5": fetch.md5,
        "taskURL": redacted_url(fetch.request.task_url or fetch.request.url), **({"md5": fetch.request.md5} if fetch.request.md5 else {}),
    })


def drop_task(state: SupernodeState, request: Request) -> Response:
    """DELETE /api/v1/tasks/{id}: remove the task and its copy; its downloads register again."""
    name = last(request)
    task = state.names.find(name)
    if task not in state.fetch_pool.fetches:
        return refusal(f"task {name[:64]}: not found", 404, 404)
    state.events.info("task_removed", task=task, client=request.client)
    state.fetch_pool.fetches[task].stop()
    state.fetches.forget(task)
    if TASK_ID.fullmatch(task):
        state.fetches.remove(task)
    return Response(200, b"true\n")


def page(request: Request, name: str, default: int) -> int:
    """Return a number from the query of a list request, or `default`. Raises BadRequest."""
    value = request.query.get(name, "")
    if not value:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise BadRequest(400, f"{name} is not a number: {value[:40]!r}")
    return int(value)


def listing(routes: dict[str, dict[str, Any]], prefix: str) -> Callable[[SupernodeState, Request], Response]:
    """GET / and /api/v1/: the list of endpoints, as in 1.x; those below `prefix`, or all others if it is ""."""

    def listed(state: SupernodeState, request: Request) -> Response:
        found = [
            {"method": method, "path": handler(path).removeprefix(prefix)}
            for path, methods in routes.items() if path.startswith(PREFIX) == bool(prefix) for method in methods
        ]  # fmt: skip
        return as_json({"api": found, "category": "v1 api" if prefix else "legacy api", "prefix": prefix})

    return listed
