"""`POST /swarm/reading`: how a supernode reads the origin of a task that another one takes from it. Pure."""

from __future__ import annotations

import msgspec

from dfengine.errors import ProtocolViolation
from dfengine.wire import UNREADABLE, Name


class ReadingAsk(msgspec.Struct):
    """task, cid: as the follower is registered there."""

    task: Name
    cid: Name


class Reading(msgspec.Struct, omit_defaults=True):
    """The answer. code: SUCCESS, or NOT_FOUND for who is not registered. read: bytes that the origin has sent it so far.

    last: a piece that it comes to late, of those that it reads; -1: it reads nothing.
    """

    code: int
    read: int = 0
    last: int = -1


_ask = msgspec.json.Decoder(ReadingAsk)
_answer = msgspec.json.Decoder(Reading)


def decode_ask(body: bytes) -> ReadingAsk:
    """Raises ProtocolViolation."""
    try:
        return _ask.decode(body)
    except UNREADABLE as error:
        raise ProtocolViolation(f"question cannot be read: {error}") from None


def decode_answer(body: bytes) -> Reading:
    """Raises ProtocolViolation."""
    try:
        return _answer.decode(body)
    except UNREADABLE:
        raise ProtocolViolation("the leader does not say how it reads") from None
