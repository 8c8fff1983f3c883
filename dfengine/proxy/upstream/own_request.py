"""A request of the proxy's own to a registry, with a small response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfengine.errors import DfengineError, OriginUnreachable
from dfengine.value import Value

if TYPE_CHECKING:
    import asyncio

    from dfengine.proxy.header_fields import Fields
    from dfengine.proxy.registries import Registry
    from dfengine.proxy.upstream.upstreams import Upstreams

MAX_BODY = 64 << 10
"""Maximum number of bytes of a response's body."""


class OwnResponse(Value):
    """A response. length: as its fields state, bytes; -1 if they do not."""

    status: int
    fields: Fields
    length: int
    body: bytes


async def ask(
    loop: asyncio.AbstractEventLoop, upstreams: Upstreams, registry: Registry, method: str, target: str, fields: Fields
) -> OwnResponse:
    """Send a request; redirects are not followed. Raises OriginUnreachable or a related error if there is no response, or one of more than
    MAX_BODY bytes.
    """
    connection = upstreams.idle_connection(registry)
    while True:
        used = connection is not None
        connection = connection or await upstreams.connect(registry)
        asked = _OwnExchange(loop)
        connection.begin(asked, method, target, fields)
        try:
            return await asked.answered
        except ConnectionError as error:
            connection.cut()
            if not used:
                raise OriginUnreachable(f"{registry.authority}: {error}") from None
            connection = None  # the reused connection was closed by the server
        except BaseException:
            if not asked.ended:
                connection.cut()  # otherwise it may carry another exchange by now
            raise


class _OwnExchange:
    """The exchange of `ask`. ended: the response is complete."""

    ended = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answered: asyncio.Future[OwnResponse] = loop.create_future()
        self._head: tuple[int, Fields, int] = 0, [], -1
        self._body = b""

    def interim(self, status: int) -> None: ...
    def flush(self) -> None: ...
    def hold(self, held: bool) -> None: ...

    def answer(self, status: int, reason: bytes, fields: Fields, length: int) -> None:
        self._head = status, fields, max(length, -1)

    def body_part(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > MAX_BODY:
            self.lost(OriginUnreachable(f"an answer of more than {MAX_BODY} bytes"))

    def end(self) -> None:
        self.ended = True
        if not self.answered.done():
            self.answered.set_result(OwnResponse(*self._head, self._body))

    def lost(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error if isinstance(error, ConnectionError | DfengineError) else ConnectionError(str(error)))
