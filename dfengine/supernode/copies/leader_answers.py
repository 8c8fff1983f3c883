"""Answers of a task's leader to the registration and the pulls of a follower. Pure."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from dfengine import wire
from dfengine.errors import ProtocolViolation, SourceGone, SupernodeError
from dfengine.settings import SupernodeAddress

Message = TypeVar("Message")


class RegistrationAnswer(msgspec.Struct):
    """Answer to a registration."""

    code: int
    data: wire.Registered | None = None
    msg: str = ""
    message: str = ""


_registered = msgspec.json.Decoder(RegistrationAnswer)
_pulled = msgspec.json.Decoder(wire.Pulled)


def decode_registration(body: bytes, status: int) -> RegistrationAnswer:
    """Decode the answer to a registration. status: of HTTP. Raises ProtocolViolation."""
    return _decoded(_registered, body, status)


def decode_offers(node: SupernodeAddress, status: int, body: bytes) -> list[wire.Offer]:
    """Return the offers in the answer of `node` to a pull. Raises RemoteError."""
    answer = _decoded(_pulled, body, status)
    if answer.code not in (wire.CONTINUE, wire.WAIT, wire.FINISHED, wire.LIMITED, wire.REPORTED):
        kind = SourceGone if answer.code == wire.NOT_FOUND else SupernodeError
        raise kind(f"supernode {node} ends the download: {answer.msg[:200]}")
    return answer.offers


def _decoded(decoder: msgspec.json.Decoder[Message], body: bytes, status: int) -> Message:
    """Decode an answer. Raises ProtocolViolation."""
    try:
        return decoder.decode(body)
    except wire.UNREADABLE:
        raise ProtocolViolation(f"the leader does not answer as a supernode does (HTTP {status})") from None
