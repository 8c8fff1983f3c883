from asyncio import Future
from collections.abc import Callable
from typing import final

from dfengine.net.http import ConnectionState, Response
from dfengine.supernode.supernode_state import SupernodeState

@final
class CachedReply:
    """The part of a task's responses that describes its copy."""

@final
class Pulls:
    """Plain pulls of a state. answered: number of pulls answered at once."""

    def __init__(self, state: SupernodeState, park: Callable[[str, str, int, float], Future[Response]]) -> None:
        """park(task, CID, pieces, seconds): called for a pull that must wait; returns the future of its response."""
    @property
    def answered(self) -> int: ...
    def answer(self, data: bytes, connection: ConnectionState, client: str) -> bytes | Future[Response] | None:
        """Return the response to the request in `data`, or its future; None: no plain pull, nothing was changed, pass it to the router.

        client: the address that it came from.
        """
