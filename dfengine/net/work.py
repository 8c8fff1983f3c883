"""Work that a supernode has for proxies, as messages of `POST /swarm/work`: blobs that they bring into their caches ahead of any client."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dfengine.errors import ProtocolViolation
from dfengine.wire import UNREADABLE

Name = Annotated[str, Meta(max_length=255)]
Number = Annotated[int, Meta(ge=0, le=1 << 53)]

MOST = 64
"""Of each list."""

LONGEST = 30.0
"""Seconds that a request may be parked."""


class Done(msgspec.Struct, frozen=True):
    """Work that has ended. error: why it failed, "" if it did not."""

    number: Number
    error: Annotated[str, Meta(max_length=1000)] = ""


class Asking(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A proxy asks for work, up to `want` items, and says what became of earlier ones. Sent again as a sign of life.

    worker: 32 hex digits that one process of a proxy drew. ip: of its host for others, "": where it is seen. wait: seconds.
    """

    worker: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    host_name: Name = ""
    ip: Name = ""
    want: Annotated[int, Meta(ge=0, le=MOST)] = 0
    wait: Annotated[float, Meta(ge=0.0, le=LONGEST)] = 0.0
    under_way: Annotated[list[Number], Meta(max_length=MOST)] = []
    done: Annotated[list[Done], Meta(max_length=MOST)] = []


class Item(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A blob to bring. url: of a registry. digest: `sha256:HEX`. headers: what opens it there. pinned: it stays until it is unpinned."""

    number: Number
    url: Annotated[str, Meta(max_length=16 << 10)]
    digest: Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]
    headers: Annotated[list[tuple[str, str]], Meta(max_length=1024)] = msgspec.field(default_factory=list)
    pinned: bool = False

    def __repr__(self) -> str:
        return f"Item({self.number}, {self.digest})"  # without what opens it


class Given(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The answer. over: numbers of work under way whose result is not wanted any more."""

    work: Annotated[list[Item], Meta(max_length=MOST)] = []
    over: Annotated[list[Number], Meta(max_length=MOST)] = []


_asking = msgspec.json.Decoder(Asking)
_given = msgspec.json.Decoder(Given)


def decode_asking(body: bytes) -> Asking:
    """Raises ProtocolViolation."""
    try:
        return _asking.decode(body)
    except UNREADABLE as error:
        raise ProtocolViolation(f"request for work cannot be read: {error}") from None


def decode_given(body: bytes) -> Given:
    """Raises ProtocolViolation."""
    try:
        return _given.decode(body)
    except UNREADABLE as error:
        raise ProtocolViolation(f"answer with work cannot be read: {error}") from None
