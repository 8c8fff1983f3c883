"""The control plane's HTTP server: a protocol on the event loop's transports, answers in the order of the requests.

A handler answers at once or with a future (a parked pull). When the client goes away its parked futures are cancelled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from dfengine.net.http import MAX_BODY, MAX_PIPELINED, BadRequest, Request, RequestReader, Response, text

HEAD_SECONDS = 10.0
IDLE_SECONDS = 75.0
SWEEP_SECONDS = 1.0
HIGH_WATER = 1 << 20

Answer = Response | asyncio.Future[Response]
Handler = Callable[[Request], Answer]


class ControlProtocol(asyncio.Protocol):
    """One client."""

    def __init__(self, server: ControlServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._reader: RequestReader | None = None
        self._answers: deque[tuple[Answer, bool, bool]] = deque()
        """Answers not sent yet, in the order of their requests: (answer, keep alive, without a body)."""
        self._client = ""
        self._stopped = False
        self.deadline = server.loop.time() + server.head_seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's callback."""
        # uvloop's transports are no asyncio.Transport by class.
        self._transport = cast(asyncio.Transport, transport)
        self._client = transport.get_extra_info("peername")[0]
        if not self._server.admit(self):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's callback: whatever is parked for this client is cancelled."""
        self._stopped = True
        self._server.connections.discard(self)
        for answer, _, _ in self._answers:
            if not isinstance(answer, Response):
                answer.cancel()
        self._answers.clear()

    def data_received(self, data: bytes) -> None:
        """asyncio's callback."""
        if self._stopped:
            return
        if self._reader is None:
            self._reader = RequestReader(self._client, self._serve, self._server.max_body)
        fresh = not self._reader.started
        try:
            self._reader.feed(data)
        except BadRequest as error:
            self._stopped = True
            self._put(text(error.status, error.reason), False, False)
            return
        if self._reader.started:
            if fresh:
                self.deadline = self._server.loop.time() + self._server.head_seconds
        elif not self._answers:
            self.deadline = self._server.loop.time() + self._server.idle_seconds

    def eof_received(self) -> bool:
        """asyncio's callback: a client that sends no more is answered no more."""
        return False

    def _serve(self, request: Request) -> None:
        if self._stopped:
            return
        if len(self._answers) >= MAX_PIPELINED:
            raise BadRequest(429, "too many requests wait on this connection")
        server = self._server
        server.requests += 1
        try:
            answer = server.handler(request)
        except BadRequest as error:
            answer = text(error.status, error.reason)
        except Exception:
            server.report(request)
            answer = text(500, "internal error")
        if not request.keep_alive:
            self._stopped = True
        self._put(answer, request.keep_alive, request.method == "HEAD")

    def _put(self, answer: Answer, keep_alive: bool, bodiless: bool) -> None:
        if not self._answers and isinstance(answer, Response):
            self._send(answer, keep_alive, bodiless)
            return
        self._answers.append((answer, keep_alive, bodiless))
        if not isinstance(answer, Response):
            answer.add_done_callback(self._flush)
            self.deadline = float("inf")  # the handler's own deadline holds while something is parked

    def _flush(self, _: object = None) -> None:
        """Send the answers that are ready, up to the first that is not."""
        while self._answers:
            answer, keep_alive, bodiless = self._answers[0]
            if not isinstance(answer, Response):
                if not answer.done():
                    return
                if answer.cancelled():
                    answer = text(503, "the supernode is going away")
                elif answer.exception() is not None:
                    self._server.report(None)
                    answer = text(500, "internal error")
                else:
                    answer = answer.result()
            self._answers.popleft()
            self._send(answer, keep_alive, bodiless)
        self.deadline = self._server.loop.time() + self._server.idle_seconds

    def _send(self, answer: Response, keep_alive: bool, bodiless: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(answer.encode(keep_alive, bodiless))
        if not keep_alive:
            transport.close()
        elif transport.get_write_buffer_size() > HIGH_WATER:
            transport.abort()  # it asks without reading the answers

    def close(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()


class ControlServer:
    """Listens with `handler`; counters: requests, connections. `report` is told of a handler's own failure."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handler: Handler,
        *,
        report: Callable[[Request | None], None] = lambda request: None,
        max_connections: int = 16384,
        max_body: int = MAX_BODY,
        head_seconds: float = HEAD_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.loop = loop
        self.handler = handler
        self.report = report
        self.max_body = max_body
        self.head_seconds, self.idle_seconds = head_seconds, idle_seconds
        self.requests = 0
        self.connections: set[ControlProtocol] = set()
        self._max = max_connections
        self._server: asyncio.AbstractServer | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen on host:port, port 0 for any free one. Raises OSError."""
        server = await self.loop.create_server(lambda: ControlProtocol(self), host, port, backlog=4096)
        self._server = server
        self.port = server.sockets[0].getsockname()[1]
        self._sweep()

    def admit(self, connection: ControlProtocol) -> bool:
        """False when there are too many connections."""
        if len(self.connections) >= self._max:
            return False
        self.connections.add(connection)
        return True

    def _sweep(self) -> None:
        now = self.loop.time()
        for connection in [connection for connection in self.connections if connection.deadline < now]:
            connection.close()
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close()
