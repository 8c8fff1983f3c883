"""The endpoints for administrators: /api/v1, version, metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from itertools import islice
from typing import Any

import msgspec

from dfengine import wire
from dfengine._piece import Geometry
from dfengine.about import VERSION
from dfengine.net.http import TEXT, BadRequest, Request, Response
from dfengine.supernode.api_v1 import refused
from dfengine.supernode.copies.cache import TASK_ID
from dfengine.supernode.metrics import Scrapes
from dfengine.supernode.sliced_work import spread
from dfengine.supernode.state import SupernodeState
from dfengine.supernode.swarm.members import Key, Member
from dfengine.task import Peer

METRICS = "text/plain; version=0.0.4; charset=utf-8"
PAGE = 1000
"""Peers in one answer."""


def _json(value: Any, status: int = 200) -> Response:
    return Response(status, msgspec.json.encode(value) + b"\n")


def ping(state: SupernodeState, request: Request) -> Response:
    return Response(200, b"OK", TEXT)


def version(state: SupernodeState, request: Request) -> Response:
    """GET /version: 1.x's fields."""
    fields = {"Arch": "amd64", "BuildDate": "", "GoVersion": "", "OS": "linux", "Version": VERSION}
    return Response(200, msgspec.json.encode(fields), TEXT)


def metrics(scrapes: Scrapes, state: SupernodeState, request: Request) -> Response | Coroutine[Any, Any, Response]:
    found = scrapes.answer()
    return Response(200, found, METRICS) if isinstance(found, bytes) else _scraped(found)


async def _scraped(found: asyncio.Future[bytes]) -> Response:
    return Response(200, await asyncio.shield(found), METRICS)  # a client that goes away does not cancel it for the others


def _last(request: Request) -> str:
    return request.path.rpartition("/")[2]


def task(state: SupernodeState, request: Request) -> Response:
    name = _last(request)
    fetch = state.cdn.fetches.get(name)
    if fetch is None:
        return refused(f"task {name[:64]}: not found", 404, 404)
    geometry = fetch.file.geometry if fetch.file is not None else Geometry(-1)
    return _json({
        "ID": name, "cdnStatus": fetch.state, "fileLength": geometry.framed_length, "httpFileLength": geometry.length,
        "pieceSize": geometry.piece_size, "pieceTotal": geometry.count, "rawURL": fetch.wanted.url, "realMd5": fetch.md5,
        "taskURL": fetch.wanted.url,
    })


def drop_task(state: SupernodeState, request: Request) -> Response:
    """DELETE /api/v1/tasks/{id}: the task and its copy go, downloads of it register again."""
    name = _last(request)
    if name not in state.cdn.fetches:
        return refused(f"task {name[:64]}: not found", 404, 404)
    state.cdn.fetches[name].stop()
    state.fetches.forget(name)
    if TASK_ID.fullmatch(name):
        state.fetches.remove(name)
    return Response(200, b"true\n")


def _as_object(peer: Peer) -> dict[str, Any]:
    return {"ID": peer.id, "IP": peer.ip, "hostName": peer.host, "port": peer.port, "version": peer.version}


def peers(state: SupernodeState, request: Request) -> Response:
    """GET /api/v1/peers: pageSize (at most PAGE) of them, pageNum such pages left out."""
    number, size = page(request, "pageNum", 0), min(page(request, "pageSize", PAGE), PAGE)
    first = number * size
    return _json([_as_object(member.peer) for member in islice(state.members.values(), first, first + size)])


def page(request: Request, name: str, default: int) -> int:
    """A number of a list's query. Raises BadRequest."""
    value = request.query.get(name, "")
    if not value:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise BadRequest(400, f"{name} is not a number: {value[:40]!r}")
    return int(value)


def new_peer(state: SupernodeState, request: Request) -> Response:
    """POST /api/v1/peers: an id for a peer; it is known once it registers for a task."""
    fields = wire.folded(request.body)
    host, ip = fields.get("hostname"), fields.get("ip")
    if not (isinstance(host, str) and isinstance(ip, str) and host and ip):
        return refused('hostName, IP: {"Code":1,"Msg":"empty value"}', 400, 400)
    return _json({"ID": f"{host}-{ip}-{time.time_ns()}"}, 201)


async def _keys(state: SupernodeState, name: str) -> list[Key]:
    """The downloads of the peer of that id."""
    found: list[Key] = []

    def look(key: Key, member: Member) -> None:
        if member.peer.id == name:
            found.append(key)

    await spread(lambda item: look(*item), list(state.members.items()))
    return found


async def peer(state: SupernodeState, request: Request) -> Response:
    name = _last(request)
    found = next((state.members[key].peer for key in await _keys(state, name) if key in state.members), None)
    return refused(f"peer {name[:128]}: not found", 404, 404) if found is None else _json(_as_object(found))


async def drop_peer(state: SupernodeState, request: Request) -> Response:
    """DELETE /api/v1/peers/{id}: all its downloads leave their swarms."""
    name = _last(request)
    keys = await _keys(state, name)
    if not keys:
        return refused(f"peer {name[:128]}: not found", 404, 404)
    await spread(state.registry.leave, keys)
    state.wake()
    return Response(200, b"true\n")
