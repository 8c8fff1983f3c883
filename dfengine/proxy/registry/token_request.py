"""A request without credentials to a registry for which the proxy has a user: it continues when that user's token is available."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfengine.proxy.blobs.request_handler import RequestHandler

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.interfaces import Exchange
    from dfengine.proxy.header_fields import Fields
    from dfengine.proxy.registries import Registry


class TokenRequest(RequestHandler):
    """resume: makes the exchange that answers the request with these fields; None if it is answered already."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, client: ClientConnection, registry: Registry, fields: Awaitable[Fields],
        resume: Callable[[Fields], Exchange | None],
    ) -> None:
        super().__init__(loop, client, registry.authority, self._never)
        self._fields = fields
        self._resume = resume

    async def _answer(self) -> bool:
        exchange = self._resume(await self._fields)
        if exchange is not None:
            self._client.hand_over(exchange)
        return True

    def _never(self) -> Exchange:
        raise AssertionError("_answer never returns False")
