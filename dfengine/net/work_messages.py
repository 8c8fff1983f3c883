"""Messages of `POST /swarm/work`, by which a supernode assigns blobs that proxies fetch into their caches ahead of any client."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dfengine.errors import ProtocolViolation
from dfengine.wire import MAX_WAIT, UNREADABLE

Name = Annotated[str, Meta(max_length=255)]
Number = Annotated[int, Meta(ge=0, le=1 << 53)]

MAX_LIST = 64
"""Maximum length of each list."""


class WorkResult(msgspec.Struct, frozen=True):
    """Finished work. error: why it failed, "" if it succeeded."""

    number: Number
    error: Annotated[str, Meta(max_length=1000)] = ""


class WorkRequest(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A proxy's request for up to `want` items, with the results of earlier ones. Repeated as a keep-alive.

    worker: 32 hex digits, drawn by each proxy process. ip: its host's address for others, "": the address it connects from. wait: seconds.
    """

    worker: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    host_name: Name = ""
    ip: Name = ""
    want: Annotated[int, Meta(ge=0, le=MAX_LIST)] = 0
    wait: Annotated[float, Meta(ge=0.0, le=MAX_WAIT)] = 0.0
    under_way: Annotated[list[Number], Meta(max_length=MAX_LIST)] = []
    done: Annotated[list[WorkResult], Meta(max_length=MAX_LIST)] = []


class WorkItem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A blob to fetch. url: at a registry. digest: `sha256:HEX`. headers: credentials for it. pinned: it stays cached until unpinned."""

    number: Number
    url: Annotated[str, Meta(max_length=16 << 10)]
    digest: Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]
    headers: Annotated[list[tuple[str, str]], Meta(max_length=1024)] = msgspec.field(default_factory=list)
    pinned: bool = False

    def __repr__(self) -> str:
        return f"Item({self.number}, {self.digest})"  # without the credentials


class WorkResponse(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The supernode's answer. over: numbers of assigned items whose results are not needed any more."""

    work: Annotated[list[WorkItem], Meta(max_length=MAX_LIST)] = []
    over: Annotated[list[Number], Meta(max_length=MAX_LIST)] = []


_request = msgspec.json.Decoder(WorkRequest)
_response = msgspec.json.Decoder(WorkResponse)


def decode_request(body: bytes) -> WorkRequest:
    """Decode a request. Raises ProtocolViolation."""
    try:
        return _request.decode(body)
    except UNREADABLE as error:
        raise ProtocolViolation(f"request for work cannot be read: {error}") from None


def decode_response(body: bytes) -> WorkResponse:
    """Decode an answer. Raises ProtocolViolation."""
    try:
        return _response.decode(body)
    except UNREADABLE as error:
        raise ProtocolViolation(f"answer with work cannot be read: {error}") from None
