"""HTTP server of the control plane, on the event loop's transports. `control_connection` has the rules of one connection.

A handler answers at once or with a future (a parked pull). When the client disconnects, its parked futures are cancelled.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from time import monotonic
from typing import TYPE_CHECKING

from dfengine.net.admission import RESERVE, Admission, ConnectionQuota
from dfengine.net.client_quota import SHARE, BoundedQuota
from dfengine.net.control_connection import Answer, ControlProtocol, FastPath
from dfengine.net.event_log import NO_EVENTS, EventLog
from dfengine.net.fair_queue import Turns
from dfengine.net.http import HEAD_SECONDS, IDLE_SECONDS, MAX_BODY, STALL_SECONDS, ConnectionState, Request, Response, text
from dfengine.net.listener import BACKLOG, Listener, listen_on
from dfengine.task import client_of

if TYPE_CHECKING:
    import socket
    import ssl

SWEEP_SECONDS = 1.0
MEMORY = 128 << 20
"""Bytes buffered for all clients together: unfinished and waiting requests, and answers that are not sent or not read."""

UNSENT = 64 << 10
"""Bytes of unsent answers that the kernel buffers for one connection."""

Handler = Callable[[Request], Answer]


class ControlServer:
    """HTTP server that calls `handler`, which may raise BadRequest. Counters: requests, failures (of handlers).

    on_closed: called with the state of a closed connection whose `member` a handler has set.
    fast_path: called with the received bytes, the connection's state and the client's address; returns the answer (bytes with their head,
    or a future), or None, and then the handler is called.
    report: called while a handler's failure is the current exception, with the request (None: the request was parked, or on the fast path).
    head_seconds: to send a request. idle_seconds: between requests. stall_seconds: without reading a byte of an answer. max_body: bytes.
    share: percent of the connections, and of MEMORY, for one client. admission: the process's, if it has other ports or few descriptors.
    turns: the loop's.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handler: Handler,
        *,
        fast_path: FastPath | None = None,
        on_closed: Callable[[ConnectionState], None] = lambda connection: None,
        report: Callable[[Request | None], None] = lambda request: traceback.print_exc(),
        max_connections: int = 16384,
        share: int = SHARE,
        admission: Admission | None = None,
        turns: Turns | None = None,
        max_body: int = MAX_BODY,
        head_seconds: float = HEAD_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        stall_seconds: float = STALL_SECONDS,
        events: EventLog = NO_EVENTS,
    ) -> None:
        self._events = events
        self.loop = loop
        self.handler = handler
        self.fast_path = fast_path
        self.max_body = max_body
        self.head_seconds, self.idle_seconds, self.stall_seconds = head_seconds, idle_seconds, stall_seconds
        self.requests = self.failures = 0
        self.turns = turns or Turns(loop.call_soon, monotonic)
        self.memory = BoundedQuota(MEMORY, share)
        self.connections: set[ControlProtocol] = set()
        self.on_closed = on_closed
        self._report = report
        self._limit = ConnectionQuota(max_connections, share)
        self._admission = admission or Admission(max_connections + RESERVE, 100)
        for limit in (self._limit, self._admission):
            limit.idle_closers.append(self._close_idle)
        self._listener: Listener | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._server: asyncio.AbstractServer | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self.port = 0

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Listen on host:port, port 0 for any free one; with `tls` for every connection. Raises OSError."""
        # Bound here because the loop would use `::` for IPv6 only.
        sock = listen_on(host, port, UNSENT)
        self.port = sock.getsockname()[1]
        if tls is None:
            self._server = await self.loop.create_server(lambda: ControlProtocol(self), sock=sock, backlog=BACKLOG)
        else:
            # The loop reports a connection only after its handshake: a connection whose handshake never ends would not be counted.
            self._listener = Listener(self.loop, sock, partial(self._accept, tls), self._limit, self._admission)
        self._sweep()

    def _accept(self, tls: ssl.SSLContext, sock: socket.socket, address: str) -> None:
        task = self.loop.create_task(self._handshake(tls, sock, address))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _handshake(self, tls: ssl.SSLContext, sock: socket.socket, address: str) -> None:
        protocol = ControlProtocol(self, address)
        try:
            await self.loop.connect_accepted_socket(lambda: protocol, sock, ssl=tls, ssl_handshake_timeout=self.head_seconds)
        except (OSError, asyncio.CancelledError) as error:
            if isinstance(error, OSError):
                self._events.warning("tls_refused", client=address, reason=str(error))
            sock.close()
            if not protocol.established and self._listener is not None:
                self._listener.release(address)

    def admit(self, connection: ControlProtocol) -> bool:
        """Count a new connection. False: too many connections are open, in total or of this client."""
        if self._listener is None:
            if not self._limit.acquire(connection.client):
                return False
            if not self._admission.acquire(connection.client):
                self._limit.release(connection.client)
                return False
        self.connections.add(connection)
        return True

    def dismiss(self, connection: ControlProtocol) -> None:
        """Uncount a closed connection, whether it was admitted or not."""
        if connection in self.connections:
            self.connections.remove(connection)
            if self._listener is None:
                self._limit.release(connection.client)
                self._admission.release(connection.client)
            else:
                self._listener.release(connection.client)

    def _close_idle(self, client: str, most: int) -> int:
        idle = [connection for connection in self.connections if connection.idle and client_of(connection.client) == client]
        chosen = sorted(idle, key=attrgetter("is_of_download", "is_new", "deadline"))[:most]
        for connection in chosen:
            self.dismiss(connection)  # connection_lost is called later, but the place is needed now
            connection.close()
        return len(chosen)

    def failed(self, request: Request | None) -> Response:
        """Report a handler's failure, the current exception; the client only learns that an internal error occurred."""
        self.failures += 1
        self._report(request)
        return text(500, "internal error")

    def _sweep(self) -> None:
        now = monotonic()
        for connection in [connection for connection in self.connections if connection.deadline < now]:
            connection.close()
        if self._listener is not None:
            self._listener.resume()
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def close(self) -> None:
        """Stop listening and close every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._server is not None:
            self._server.close()
        if self._listener is not None:
            self._listener.close()
        for task in list(self._handshakes):
            task.cancel()
        for connection in list(self.connections):
            connection.close()
