"""Interfaces that a client's connection requires of the object that answers a request, and of its server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dfengine.proxy.front.client_connection import ClientConnection
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

    def admit(self, client: ClientConnection) -> bool: ...
    def answered(self, status: int) -> None: ...
    def remove(self, client: ClientConnection) -> None: ...
    def route(self, client: ClientConnection, head: Head) -> Exchange | None: ...
