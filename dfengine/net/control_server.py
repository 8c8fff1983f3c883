"""The control plane's HTTP server: a protocol on the event loop's transports, answers in the order of the requests.

A handler answers at once or with a future (a parked pull). When the client goes away its parked futures are cancelled.
A client that does not read its answers is read no further, and cut off after a while.
"""

from __future__ import annotations

import asyncio
import math
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, cast

from dfengine.net.doorway import BACKLOG, Doorway, listening
from dfengine.net.http import MAX_BODY, MAX_PIPELINED, BadRequest, Line, Request, RequestReader, Response, text
from dfengine.net.shares import SHARE, Shares

if TYPE_CHECKING:
    import socket
    import ssl

HEAD_SECONDS = 10.0
IDLE_SECONDS = 75.0
STALL_SECONDS = 60.0
SWEEP_SECONDS = 1.0
HIGH_WATER = 256 << 10
"""Bytes of answers that a client may leave unread before it is read no further."""

Answer = Response | asyncio.Future[Response]
Handler = Callable[[Request], Answer]
READY = (bytes, Response)
"""Answers that wait for nothing."""

Quick = Callable[[bytes, Line, str], bytes | asyncio.Future[Response] | None]


class ControlProtocol(asyncio.Protocol):
    """One client. Its deadline is that of its phase: sending a request, waiting for an answer, taking one, idle."""

    __slots__ = ("_answers", "_line", "_reader", "_server", "_stopped", "_transport", "_unread", "client", "deadline")

    def __init__(self, server: ControlServer, client: str = "") -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        # Queue and line come with the first byte, the reader with what is not answered quickly: silent connections must cost little.
        self._reader: RequestReader | None = None
        self._answers: deque[tuple[Answer | bytes, bool, bool]] | None = None
        """Answers not sent yet, in the order of their requests: (answer, keep alive, without a body); bytes are whole, with their head."""
        self.client = client
        self._line: Line | None = None
        self._stopped = False
        self._unread = False
        self.deadline = monotonic() + server.head_seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's callback."""
        transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if peer else self.client
        transport.set_write_buffer_limits(HIGH_WATER)
        if not self._server.admit(self):
            transport.abort()

    @property
    def made(self) -> bool:
        """The connection is, or was, there, with hands shaken."""
        return self._transport is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's callback: whatever is parked for this client is cancelled."""
        self._stopped = True
        self._server.dismiss(self)
        for answer, _, _ in self._answers or ():
            if not isinstance(answer, READY):
                answer.cancel()
        line, self._line = self._line, None
        if self._reader is not None:
            self._reader.close()
        self._answers = self._reader = None
        if line is not None and line.party is not None:
            self._server.lost(line)

    def data_received(self, data: bytes) -> None:
        """asyncio's callback."""
        if self._stopped:
            return
        server, reader, answers, line = self._server, self._reader, self._answers, self._line
        if answers is None or line is None:
            answers = self._answers = deque()
            line = self._line = Line()
        if server.quick is not None and (reader is None or not reader.started) and len(answers) < MAX_PIPELINED:
            answer: Answer | bytes | None
            try:
                answer = server.quick(data, line, self.client)
            except Exception:
                answer = server.failed(None)
            if answer is not None:
                server.requests += 1
                self._put(answer, True, False)
                if not answers and not self._unread:
                    self.deadline = monotonic() + server.idle_seconds
                return
        if reader is None:
            reader = self._reader = RequestReader(self.client, self._serve, server.max_body, self._proceed)
        fresh = not reader.started
        try:
            reader.feed(data)
        except BadRequest as error:
            self._stopped = True
            self._put(text(error.status, error.reason), False, False)
            return
        if reader.started:
            if fresh:
                self.deadline = monotonic() + server.head_seconds
        elif not self._answers and not self._unread:
            self.deadline = monotonic() + server.idle_seconds

    def eof_received(self) -> bool:
        """asyncio's callback: a client that sends no more is answered no more."""
        return False

    def pause_writing(self) -> None:
        """asyncio's callback: the client leaves its answers unread."""
        self._unread = True
        self.deadline = monotonic() + self._server.stall_seconds
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """asyncio's callback: it has read them."""
        self._unread = False
        self._settle()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _proceed(self) -> None:
        if self._transport is not None and not self._answers:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _serve(self, request: Request) -> None:
        if self._stopped or self._answers is None:
            return
        if len(self._answers) >= MAX_PIPELINED:
            raise BadRequest(429, "too many requests wait on this connection")
        server = self._server
        server.requests += 1
        if request.keep_alive:
            request.line = self._line
        try:
            answer = server.handler(request)
        except BadRequest as error:
            answer = text(error.status, error.reason)
        except Exception:
            answer = server.failed(request)
        keep_alive = request.keep_alive
        if not keep_alive:
            self._stopped = True
        self._put(answer, keep_alive, request.method == "HEAD")

    def _put(self, answer: Answer | bytes, keep_alive: bool, bodiless: bool) -> None:
        if not self._answers and isinstance(answer, READY):
            self._send(answer, keep_alive, bodiless)
        elif self._answers is not None:
            self._answers.append((answer, keep_alive, bodiless))
            if not isinstance(answer, READY):
                answer.add_done_callback(self._flush)
            self._settle()

    def _settle(self) -> None:
        """The deadline that fits what is going on; a parked answer's is the handler's business."""
        if self._unread:
            return
        self.deadline = math.inf if self._answers else monotonic() + self._server.idle_seconds

    def _flush(self, _: object = None) -> None:
        """Send the answers that are ready, up to the first that is not."""
        while self._answers:
            answer, keep_alive, bodiless = self._answers[0]
            if not isinstance(answer, READY):
                if not answer.done():
                    return
                answer = self._outcome(answer)
            self._answers.popleft()
            self._send(answer, keep_alive, bodiless)
        self._settle()

    def _outcome(self, parked: asyncio.Future[Response]) -> Response:
        try:
            return parked.result()
        except asyncio.CancelledError:
            return text(503, "the server is going away")
        except BadRequest as error:
            return text(error.status, error.reason)
        except Exception:
            return self._server.failed(None)

    def _send(self, answer: Response | bytes, keep_alive: bool, bodiless: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(answer if isinstance(answer, bytes) else answer.encode(keep_alive, bodiless))
        if not keep_alive:
            transport.close()
            # What the client does not take keeps the connection no longer than this.
            self.deadline = monotonic() + self._server.stall_seconds

    def close(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()


class ControlServer:
    """Listens with `handler`, which may raise BadRequest. Counters: requests, accepted.

    lost: called with the line of a connection that is gone, if a handler had said whom it speaks for.
    quick: called with what arrived between two requests, its connection and the client's address; None: the handler is asked; else
    the answer, bytes with their head, or a future.
    report: called with the request (None: it was parked or quick) while a handler's own failure is the current exception.
    The seconds: to send a request, between requests, without taking a byte of an answer. max_body: bytes. share: percent of the
    connections for one client.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handler: Handler,
        *,
        quick: Quick | None = None,
        lost: Callable[[Line], None] = lambda line: None,
        report: Callable[[Request | None], None] = lambda request: traceback.print_exc(),
        max_connections: int = 16384,
        share: int = SHARE,
        max_body: int = MAX_BODY,
        head_seconds: float = HEAD_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self.loop = loop
        self.handler = handler
        self.quick = quick
        self.max_body = max_body
        self.head_seconds, self.idle_seconds, self.stall_seconds = head_seconds, idle_seconds, stall_seconds
        self.requests = self.accepted = 0
        self.connections: set[ControlProtocol] = set()
        self.lost = lost
        self._report = report
        self._max = max_connections
        self._share = share
        self._shares = Shares(max_connections, share)
        self._door: Doorway | None = None
        self._shaking: set[asyncio.Task[None]] = set()
        self._server: asyncio.AbstractServer | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self.port = 0

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Listen on host:port, port 0 for any free one; `tls` for every connection. Raises OSError."""
        # Not bound by the loop: it would take `::` for IPv6 alone.
        sock = listening(host, port)
        self.port = sock.getsockname()[1]
        if tls is None:
            self._server = await self.loop.create_server(lambda: ControlProtocol(self), sock=sock, backlog=BACKLOG)
        else:
            # The loop tells of a connection when hands are shaken: who never does would not be counted.
            self._door = Doorway(self.loop, sock, partial(self._enter, tls), self._max, self._share)
        self._sweep()

    def _enter(self, tls: ssl.SSLContext, sock: socket.socket, address: str) -> None:
        task = self.loop.create_task(self._shake_hands(tls, sock, address))
        self._shaking.add(task)
        task.add_done_callback(self._shaking.discard)

    async def _shake_hands(self, tls: ssl.SSLContext, sock: socket.socket, address: str) -> None:
        protocol = ControlProtocol(self, address)
        try:
            await self.loop.connect_accepted_socket(lambda: protocol, sock, ssl=tls, ssl_handshake_timeout=self.head_seconds)
        except (OSError, asyncio.CancelledError):
            sock.close()
            if not protocol.made and self._door is not None:
                self._door.left(address)

    def admit(self, connection: ControlProtocol) -> bool:
        """False when there are too many connections, in all or of this client."""
        if self._door is None and (len(self.connections) >= self._max or not self._shares.take(connection.client)):
            return False
        self.accepted += 1
        self.connections.add(connection)
        return True

    def dismiss(self, connection: ControlProtocol) -> None:
        """It is closed, admitted or not."""
        if connection in self.connections:
            self.connections.remove(connection)
            if self._door is None:
                self._shares.give_back(connection.client)
            else:
                self._door.left(connection.client)

    def failed(self, request: Request | None) -> Response:
        """A handler failed by itself: report the current exception, and say no more than that it was so."""
        self._report(request)
        return text(500, "internal error")

    def _sweep(self) -> None:
        now = monotonic()
        for connection in [connection for connection in self.connections if connection.deadline < now]:
            connection.close()
        if self._door is not None:
            self._door.look()
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._server is not None:
            self._server.close()
        if self._door is not None:
            self._door.close()
        for task in list(self._shaking):
            task.cancel()
        for connection in list(self.connections):
            connection.close()
