"""`POST /swarm/origin`: may this download go to the origin by itself? Parked until it may, or its wait is over."""

from __future__ import annotations

import asyncio

from dfengine import wire
from dfengine.errors import ProtocolViolation
from dfengine.net.http import Request, Response
from dfengine.supernode.node import MOST_WAITING, Node

LONGEST = 30.0
"""Seconds a question may be parked."""


async def origin(node: Node, request: Request) -> Response:
    """200: yes, for the lease's term; 602: not yet; 611: given back."""
    try:
        asked = wire.decode_origin_ask(request.body)
    except ProtocolViolation as error:
        return Response(400, wire.encode(wire.Answer(wire.BAD_PARAMETER, msg=str(error))))
    holder = f"{asked.task[:128]}@{asked.cid[:1024]}"
    if asked.release:
        node.give_back_origin(asked.origin, holder)
        return _answer(wire.REPORTED)
    until = node.now() + min(asked.wait, LONGEST)
    while not node.origins.ask(asked.origin, holder, node.now()):
        left = until - node.now()
        if left <= 0 or len(node.at_origin) >= MOST_WAITING or not node.asking.take(request.client):
            return _answer(wire.WAIT)
        turn: asyncio.Future[None] = node.loop.create_future()
        key = (asked.origin, holder)
        node.at_origin[key] = turn
        try:
            # A lease may run out without anybody's saying so.
            await asyncio.wait_for(turn, min(left, 5.0))
        except TimeoutError:
            continue
        finally:
            node.asking.give_back(request.client)
            if node.at_origin.get(key) is turn:
                del node.at_origin[key]
    return _answer(wire.SUCCESS)


def _answer(code: int) -> Response:
    return Response(200, wire.encode(wire.Answer(code)))
