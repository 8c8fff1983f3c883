"""CONNECT: a tunnel to the server that it names, or interception of that server's https (RFC 9110 section 9.3.6)."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from dfengine.errors import DfengineError, OriginForbidden
from dfengine.net.http import BadRequest
from dfengine.proxy import targets
from dfengine.proxy.forward.relay import Relay, Tunnel
from dfengine.proxy.forward.splice import Spliced, detached, is_plain

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from dfengine.proxy.forward.forward_settings import Forwarding
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.registries import Registry
    from dfengine.proxy.upstream.upstreams import Upstreams, Waiting

OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
HANDSHAKE_SECONDS = 20.0


class ConnectHandler:
    """The exchange of a CONNECT until the tunnel is open. add, remove: add the tunnel to the server's connections, or remove it."""

    def __init__(
        self, client: ClientConnection, server: Registry, upstreams: Upstreams,
        add: Callable[[Tunnel], None], remove: Callable[[Tunnel], None],
    ) -> None:
        self._client = client
        self._server = server
        self._upstreams = upstreams
        self._add, self._remove = add, remove
        self._task: asyncio.Task[None] | None = None

    def start(self) -> ConnectHandler:
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    def body(self, data: bytes) -> None: ...
    def complete(self) -> None: ...
    def pause(self, paused: bool) -> None: ...

    def gone(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def expired(self) -> None:
        self.gone()
        self._client.send_error(504, f"{self._server.authority} did not answer in time")

    async def _run(self) -> None:
        try:
            upstream = await self._upstreams.tunnel(self._server)
        except DfengineError as error:
            self._client.send_error(403 if isinstance(error, OriginForbidden) else 502, str(error))
            return
        taken = self._client.detach()
        if taken is None:
            upstream.transport.abort()
            return
        client_transport, first = taken
        try:
            self._join(client_transport, upstream, first)
        except OSError:  # no descriptor is left
            client_transport.abort()
            upstream.transport.abort()

    def _join(self, client_transport: asyncio.Transport, upstream: Waiting, first: bytes) -> None:
        if is_plain(client_transport) and is_plain(upstream.transport):
            spliced = Spliced(detached(client_transport), detached(upstream.transport), first, OPEN + upstream.early, self._remove)
            self._add(spliced)
            spliced.start()
            return
        relay = Relay(self._remove)
        self._add(relay)
        client_transport.write(OPEN)
        relay.begin(client_transport, upstream.transport, first, upstream.early)


class Handshake(Tunnel):
    """A connection during its TLS handshake."""

    def __init__(self, transport: asyncio.Transport, ended: Callable[[Tunnel], None]) -> None:
        super().__init__(ended)
        self._transport = transport
        self.deadline = monotonic() + 2 * HANDSHAKE_SECONDS

    def cut(self) -> None:
        self._transport.abort()
        self.closed()


class InterceptHandler(ConnectHandler):
    """A CONNECT whose https is intercepted. contexts: provides the TLS context; new_connection: creates the connection inside TLS."""

    def __init__(
        self, client: ClientConnection, server: Registry, upstreams: Upstreams,
        add: Callable[[Tunnel], None], remove: Callable[[Tunnel], None],
        contexts: Callable[[Registry], Awaitable[ssl.SSLContext]], new_connection: Callable[[], ClientConnection],
    ) -> None:
        super().__init__(client, server, upstreams, add, remove)
        self._contexts = contexts
        self._new_connection = new_connection

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            context = await self._contexts(self._server)
        except DfengineError as error:
            self._client.send_error(502, str(error))
            return
        # A client sends its first TLS bytes after the response: bytes that it sent before do not belong to TLS.
        if self._client.has_pipelined_data:
            self._client.send_error(400, "bytes were sent after CONNECT before the response to it")
            return
        taken = self._client.detach()
        if taken is None:
            return
        client_transport, _ = taken
        inner, handshake = self._new_connection(), Handshake(client_transport, self._remove)
        self._add(handshake)
        client_transport.write(OPEN)
        try:
            started = await loop.start_tls(client_transport, inner, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS)
        except (OSError, asyncio.CancelledError):
            # For example a client that does not trust the authority.
            handshake.cut()
            return
        handshake.closed()
        if started is not None:
            inner.connection_made(started)


def connect_handler(
    client: ClientConnection, head: Head, settings: Forwarding, upstreams: Upstreams,
    add: Callable[[Tunnel], None], remove: Callable[[Tunnel], None],
    contexts: Callable[[Registry], Awaitable[ssl.SSLContext]], new_connection: Callable[[Registry], ClientConnection],
) -> ConnectHandler:
    """The exchange that answers a CONNECT. Raises BadRequest."""
    server = targets.parse_connect(head.target)
    found = settings.intercepts(server)
    if found is None:
        if server.port not in settings.ports:
            raise BadRequest(403, f"CONNECT to port {server.port} is not served: start with --connect-port {server.port}")
        return ConnectHandler(client, server, upstreams, add, remove).start()
    server = server.replace(insecure=found.insecure)
    return InterceptHandler(client, server, upstreams, add, remove, contexts, lambda: new_connection(server)).start()
