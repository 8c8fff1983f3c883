"""The exchange of one request for a file, until its source is decided: this host, the swarm, or the file's own server.

Any failure before the response's first byte makes the proxy pass the request on, so that its failures do not affect clients. A file
with a wrong digest is the exception, because its server would send the same bytes again.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from dfengine.errors import DfengineError, DigestMismatch, OriginForbidden
from dfengine.net.http import BadRequest
from dfengine.proxy.upstream.timeouts import Unanswered, remaining_seconds

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Self

    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.interfaces import Exchange


class RequestHandler:
    """See interfaces.Exchange. server_name: HOST[:PORT] of the file's server. pass_on: makes the exchange that passes the request on.

    fallback: answers the request after its deadline; False: it cannot. responds_at_once: the file's server does, see
    `timeouts.remaining_seconds`.
    """

    fallback: Callable[[], bool] | None = None
    responds_at_once = True

    def __init__(
        self, loop: asyncio.AbstractEventLoop, client: ClientConnection, server_name: str, pass_on: Callable[[], Exchange]
    ) -> None:
        self._loop = loop
        self._client = client
        self._server_name = server_name
        self._pass_on = pass_on
        self._reason = ""
        """Why the request is passed on, if that is worth an event."""
        self._unanswered = False
        """Whether a request to the file's server had no response."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> Self:
        self._task = self._loop.create_task(self._run())
        return self

    async def _answer(self) -> bool:
        """Answer; False: pass the request on. Raises BadRequest, subclasses of DfengineError, OSError."""
        raise NotImplementedError

    def _record_pass_through(self, reason: str) -> None:
        """Report that the request is passed on for this reason."""

    def body(self, data: bytes) -> None: ...
    def complete(self) -> None: ...
    def pause(self, paused: bool) -> None: ...

    def gone(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def expired(self) -> None:
        self.gone()
        if self.fallback is None or not self.fallback():
            self._client.send_error(504, f"{self._server_name} did not respond in time")

    async def _run(self) -> None:
        try:
            if await self._answer():
                return
        except BadRequest as error:
            self._client.send_error(error.status, error.reason)
            return
        except OriginForbidden as error:
            self._client.send_error(403, str(error))
            return
        except DigestMismatch as error:
            # No byte of the file is passed on: the client may request it from the server, and compare it itself.
            self._client.send_error(502, f"{self._server_name} has sent another file than the one requested: {error}")
            return
        except (DfengineError, OSError) as error:
            self._reason = str(error)
            self._unanswered = isinstance(error, Unanswered)
        if self._reason:
            self._record_pass_through(self._reason)
        if self.responds_at_once:
            self._client.set_deadline(remaining_seconds(monotonic() - self._client.arrived, not self._unanswered))
        self._client.hand_over(self._pass_on())
