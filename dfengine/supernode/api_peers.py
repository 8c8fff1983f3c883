"""Endpoints for peers as in 1.x: /api/v1/peers. They list the peers of registered downloads and those added by a POST."""

from __future__ import annotations

import time
from itertools import chain, islice
from typing import Any

from dfengine import wire
from dfengine.errors import BadValue
from dfengine.net.http import BadRequest, Request, Response
from dfengine.supernode.admin import PAGE, as_json, last, page
from dfengine.supernode.api_preheat import rfc3339
from dfengine.supernode.api_v1 import refusal
from dfengine.supernode.registration_check import EMPTY, INVALID, within
from dfengine.supernode.state import SupernodeState
from dfengine.supernode.swarm.registered_downloads import Key, RegisteredDownload
from dfengine.supernode.time_slices import spread
from dfengine.task import MAX_TEXT, PEER_PORTS, Peer

DIRECTIONS = {"": False, "ASC": False, "DESC": True}
"""Value of `sortDirect` -> whether the newest peer is first."""


def _as_object(peer: Peer) -> dict[str, Any]:
    fields = {"ID": peer.id, "IP": peer.ip, "hostName": peer.host, "port": peer.port, "version": peer.version}
    made = peer.id.rpartition("-")[2]
    return fields | {"created": rfc3339(int(made) / 1e9)} if made.isascii() and made.isdigit() and len(made) < 20 else fields


def peers(state: SupernodeState, request: Request) -> Response:
    """GET /api/v1/peers: pageSize peers (at most PAGE; 0: PAGE), after skipping pageNum such pages, in the order of sortDirect."""
    number, size = page(request, "pageNum", 0), min(page(request, "pageSize", 0) or PAGE, PAGE)
    direction = request.query.get("sortDirect", "").upper()
    if direction not in DIRECTIONS:
        raise BadRequest(400, f"sortDirect is ASC or DESC, not {direction[:40]!r}")
    if DIRECTIONS[direction]:
        registered = (member.peer for member in reversed(state.members.values()))
        found = chain(reversed(state.posted_peers), registered)
    else:
        found = chain((member.peer for member in state.members.values()), state.posted_peers)
    return as_json([_as_object(peer) for peer in islice(found, number * size, (number + 1) * size)])


def new_peer(state: SupernodeState, request: Request) -> Response:
    """POST /api/v1/peers: list a peer under a new id. The peer serves no pieces before it registers for a task."""
    fields = wire.folded(request.body)
    host, ip, version, port = (fields.get(name, "") for name in ("hostname", "ip", "version", "port"))
    port = port or 0
    if not (isinstance(host, str) and isinstance(ip, str) and host and ip):
        return refusal(f"hostName, IP: {EMPTY}", 400, 400)
    try:
        for name, value in (("hostName", host), ("IP", ip), ("version", version)):
            if not isinstance(value, str) or not (value.isprintable() or not value):
                raise BadValue(f"{name}: {INVALID}")
            within(name, len(value), MAX_TEXT)
        if type(port) is not int or (port and port not in PEER_PORTS):
            raise BadValue(f"port: {INVALID}")
    except BadValue as error:
        return refusal(str(error), 400, 400)
    peer = Peer(ip, port, "", host, f"{host}-{ip}-{time.time_ns()}", version)
    state.posted_peers.add(peer, request.client, state.now())
    return as_json({"ID": peer.id}, 201)


async def _keys(state: SupernodeState, name: str) -> list[Key]:
    """Return the downloads of the peer with this id."""
    found: list[Key] = []

    def collect(key: Key, member: RegisteredDownload) -> None:
        if member.peer.id == name:
            found.append(key)

    await spread(lambda item: collect(*item), list(state.members.items()))
    return found


def _missing(name: str) -> Response:
    return refusal(f"peer {name[:128]}: not found", 404, 404)


async def peer(state: SupernodeState, request: Request) -> Response:
    """GET /api/v1/peers/{id}."""
    name = last(request)
    found = state.posted_peers.get(name)
    if found is None:
        found = next((state.members[key].peer for key in await _keys(state, name) if key in state.members), None)
    return _missing(name) if found is None else as_json(_as_object(found))


async def drop_peer(state: SupernodeState, request: Request) -> Response:
    """DELETE /api/v1/peers/{id}: remove all downloads of the peer from their swarms."""
    name = last(request)
    posted, keys = state.posted_peers.remove(name), await _keys(state, name)
    if not posted and not keys:
        return _missing(name)
    state.events.info("peer_removed", peer=name, client=request.client, downloads=len(keys))
    await spread(state.registry.leave, keys)
    state.wake()
    return Response(200, b"true\n")
