from asyncio import Future
from collections.abc import Callable
from typing import final

from dfengine.net.http import ConnectionState, Response
from dfengine.supernode.state import SupernodeState

@final
class CachedReply:
    """What the answers of a task say of its copy."""

@final
class Pulls:
    """Plain pulls of a state. answered: so many, at once."""

    def __init__(self, state: SupernodeState, park: Callable[[str, str, int, float], Future[Response]]) -> None:
        """park(task, CID, pieces, seconds): what becomes of a pull that must wait."""
    @property
    def answered(self) -> int: ...
    def answer(self, data: bytes, connection: ConnectionState, client: str) -> bytes | Future[Response] | None:
        """The whole answer to the request that `data` is, or a later one; None: no plain pull, nothing was done, ask the router.

        client: address that it came from.
        """
