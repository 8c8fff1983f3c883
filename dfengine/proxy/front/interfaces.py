"""Interfaces that a client's connection (`front`) requires of the object that answers a request, and of its server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dfengine.proxy.front.front import Front
    from dfengine.proxy.front.requests import Head


class Exchange(Protocol):
    """Answers one request. body, complete: of the request. pause: the client does not read the response. gone: the client disconnected.
    expired: nothing moved until the deadline.
    """

    def body(self, data: bytes) -> None: ...
    def complete(self) -> None: ...
    def pause(self, paused: bool) -> None: ...
    def gone(self) -> None: ...
    def expired(self) -> None: ...


class Server(Protocol):
    """The server of connections. answered: called when a response with that HTTP status begins."""

    def admit(self, front: Front) -> bool: ...
    def answered(self, status: int) -> None: ...
    def dismiss(self, front: Front) -> None: ...
    def route(self, front: Front, head: Head) -> Exchange | None: ...
