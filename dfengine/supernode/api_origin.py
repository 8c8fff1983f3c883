"""`POST /swarm/origin`: request a lease to fetch from an origin directly. Parked until it is granted, or until its wait has expired."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from dfengine import wire
from dfengine.errors import ProtocolViolation
from dfengine.net.http import Request, Response
from dfengine.supernode.copies.origin_queue import LeaseRequest
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.wire import MAX_WAIT

MAX_ORIGIN = 300
"""Characters of an origin's host and port."""


def origin(state: SupernodeState, request: Request) -> Response | Coroutine[Any, Any, Response]:
    """200: granted for the lease's term; 602: not yet; 611: released."""
    try:
        asked = wire.decode_origin_ask(request.body)
    except ProtocolViolation as error:
        return Response(400, wire.encode(wire.Answer(wire.BAD_PARAMETER, msg=str(error))))
    request.body = b""  # it may be large, and the request may wait for long
    asker = LeaseRequest(asked.origin[:MAX_ORIGIN], request.client, asked.task[:128], asked.cid[:1024])
    if asked.release:
        state.origins.release(asker)
        return _answer(wire.REPORTED)
    return _acquire(state, asker, min(asked.wait, MAX_WAIT))


async def _acquire(state: SupernodeState, asker: LeaseRequest, seconds: float) -> Response:
    return _answer(wire.SUCCESS if await state.origins.acquire(asker, seconds) else wire.WAIT)


def _answer(code: int) -> Response:
    return Response(200, wire.encode(wire.Answer(code)))
