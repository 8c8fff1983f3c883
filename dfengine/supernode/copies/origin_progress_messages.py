"""`POST /swarm/reading`: how a leader reads a task's origin, for a supernode that fetches the task from it. Pure."""

from __future__ import annotations

import msgspec

from dfengine.errors import ProtocolViolation
from dfengine.wire import UNREADABLE, Name


class ReadingRequest(msgspec.Struct):
    """The follower's request. task, cid: as the follower is registered at the leader."""

    task: Name
    cid: Name


class Reading(msgspec.Struct, omit_defaults=True):
    """The leader's answer. code: SUCCESS, or NOT_FOUND if the follower is not registered. read: bytes received from the origin so far.

    last: a piece that the leader will read late, of those it is to read; -1: it is reading none.
    """

    code: int
    read: int = 0
    last: int = -1


_request = msgspec.json.Decoder(ReadingRequest)
_answer = msgspec.json.Decoder(Reading)


def decode_request(body: bytes) -> ReadingRequest:
    """Decode a request. Raises ProtocolViolation."""
    try:
        return _request.decode(body)
    except UNREADABLE as error:
        raise ProtocolViolation(f"request cannot be read: {error}") from None


def decode_answer(body: bytes) -> Reading:
    """Decode an answer. Raises ProtocolViolation."""
    try:
        return _answer.decode(body)
    except UNREADABLE:
        raise ProtocolViolation("the leader does not report its reading") from None
