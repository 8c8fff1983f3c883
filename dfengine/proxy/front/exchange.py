"""What a client's connection (`front`) asks of that which answers its requests, and of the server that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dfengine.proxy.front.front import Front
    from dfengine.proxy.front.requests import Head


class Exchange(Protocol):
    """What answers one request. body, complete: of the request. pause: the client does not take what is written. gone: it left.
    expired: nothing moved until the deadline.
    """

    def body(self, data: bytes) -> None: ...
    def complete(self) -> None: ...
    def pause(self, paused: bool) -> None: ...
    def gone(self) -> None: ...
    def expired(self) -> None: ...


class Server(Protocol):
    """What connections are of. answered: an answer with that HTTP status begins."""

    def admit(self, front: Front) -> bool: ...
    def answered(self, status: int) -> None: ...
    def dismiss(self, front: Front) -> None: ...
    def route(self, front: Front, head: Head) -> Exchange | None: ...
