"""Endpoints for peers as in 1.x: /api/v1/peers. They list the peers of registered downloads and those added by a POST."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import chain, islice
from typing import Any

from dfengine import wire
from dfengine.codes import INVALID
from dfengine.errors import BadValue
from dfengine.net.http import BadRequest, Request, Response
from dfengine.supernode.admin import PAGE, as_json, last, page
from dfengine.supernode.api_preheat import rfc3339
from dfengine.supernode.api_v1 import refusal
from dfengine.supernode.registered_downloads import RegisteredDownload
from dfengine.supernode.registration_check import EMPTY, within
from dfengine.supernode.supernode_state import SupernodeState
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
    members, posted = state.members, state.posted_peers
    # A generator of the downloads' peers would be skipped several times as slowly as the dict.
    found: Iterable[RegisteredDownload | Peer]
    found = chain(reversed(posted), reversed(members.values())) if DIRECTIONS[direction] else chain(members.values(), posted)
    chosen = islice(found, number * size, (number + 1) * size)
    return as_json([_as_object(each.peer if isinstance(each, RegisteredDownload) else each) for each in chosen])


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


def _missing(name: str) -> Response:
    return refusal(f"peer {name[:128]}: not found", 404, 404)


def peer(state: SupernodeState, request: Request) -> Response:
    """GET /api/v1/peers/{id}."""
    name = last(request)
    found = state.posted_peers.get(name)
    if found is None:
        found = next((state.members[key].peer for key in state.members.of_peer(name)), None)
    return _missing(name) if found is None else as_json(_as_object(found))


def drop_peer(state: SupernodeState, request: Request) -> Response:
    """DELETE /api/v1/peers/{id}: remove all downloads of the peer from their swarms."""
    name = last(request)
    posted, keys = state.posted_peers.remove(name), list(state.members.of_peer(name))
    if not posted and not keys:
        return _missing(name)
    state.events.info("peer_removed", peer=name, client=request.client, downloads=len(keys))
    for key in keys:
        state.registry.leave(key)
    state.wake()
    return Response(200, b"true\n")
