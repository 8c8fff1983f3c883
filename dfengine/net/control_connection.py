"""One connection of a control server: bytes in, answers out in the order of their requests.

Laws:
* One request of a connection is handled at a time. Further requests received with it wait for the client's next turn (`fair_queue`); until
  then the socket is not read.
* The socket is not read either while MAX_PIPELINED answers are not ready, or HIGH_WATER bytes of answers are unread. A client that does
  not read for stall_seconds is disconnected.
* All bytes buffered for a client are counted: unfinished requests, requests whose answer is not ready (what their handlers left of them),
  and answers that are not sent or not read. A connection that makes them exceed the client's share is closed.
* A connection is always in one of four phases, each with a deadline: a request is arriving (head_seconds from its first byte), a request
  waits for a turn or an answer (no deadline), answers are unread (stall_seconds), idle (idle_seconds).
* An answer without an end (`EventStream`) is the last of its connection: no request is read after it. It has a deadline only while
  it is unread.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, cast

from dfengine.net.event_stream import EventStream
from dfengine.net.http import MAX_PIPELINED, BadRequest, CloseConnection, ConnectionState, Request, RequestReader, Response, text
from dfengine.net.response_writing import write

if TYPE_CHECKING:
    from dfengine.net.control_server import ControlServer

HIGH_WATER = 16 << 10
"""Unread bytes of answers at which reading from the connection stops."""

Answer = Response | asyncio.Future[Response]
FastPath = Callable[[bytes, ConnectionState, str], bytes | asyncio.Future[Response] | None]
READY = (bytes, Response)
"""Types of answers that are ready."""


class ControlProtocol(asyncio.Protocol):
    """The connection of one client. client: its address."""

    __slots__ = ("_answers", "_at", "_backlog", "_connection", "_held", "_joined", "_paused", "_reader", "_requests", "_server",
                 "_started", "_stopped", "_stream", "_transport", "_unread", "client", "deadline")  # fmt: skip

    def __init__(self, server: ControlServer, client: str = "") -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        # Created with the first byte, or (the reader) with the first request that is not plain: silent connections must cost little.
        self._reader: RequestReader | None = None
        self._answers: deque[tuple[Answer | bytes, bool, bool, int]] | None = None
        """Unsent answers in the order of their requests: (answer, keep alive, without a body, bytes of the request while it waits).
        Bytes are a response with its head."""
        self._requests: deque[Request | BadRequest] | None = None
        """Complete requests that wait for a turn."""
        self._backlog = b""
        self._at = 0
        """Start of the received bytes that are not parsed yet: `_backlog` from `_at` on."""
        self.client = client
        self._connection: ConnectionState | None = None
        self._stream: EventStream | None = None
        self._stopped = self._unread = self._paused = self._joined = False
        self._started = False
        """Whether a part of a request was received; its deadline is then set."""
        self._held = 0
        self.deadline = monotonic() + server.head_seconds

    @property
    def established(self) -> bool:
        """Whether the connection is established, including the TLS handshake."""
        return self._transport is not None

    @property
    def idle(self) -> bool:
        """Whether no request and no answer of the connection is in progress."""
        if self._answers or self._requests or self._backlog or self._started or self._unread or self._stream:
            return False
        return self._transport is None or not self._transport.get_write_buffer_size()

    @property
    def is_new(self) -> bool:
        """Whether nothing was received: the first request may be under way."""
        return self._connection is None

    @property
    def is_of_download(self) -> bool:
        """Whether the connection belongs to a download, which loses its leases when the connection is closed."""
        return self._connection is not None and self._connection.member is not None

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's transport is not derived from it
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if peer else self.client
        transport.set_write_buffer_limits(HIGH_WATER)
        if not self._server.admit(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the closed connection's resources; parked answers are cancelled."""
        self._stopped, self._unread = True, False
        self._server.dismiss(self)
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.end()
        for answer, _, _, _ in self._answers or ():
            if not isinstance(answer, READY):
                answer.cancel()
        connection, self._connection = self._connection, None
        if self._reader is not None:
            self._reader.close()
        self._answers = self._reader = self._requests = None
        self._backlog = b""
        self._server.memory.release(self.client, self._held)
        self._held = 0
        if connection is not None and connection.member is not None:
            self._server.on_closed(connection)

    def data_received(self, data: bytes) -> None:
        if self._stopped:
            return
        server = self._server
        if self._backlog:
            self._backlog, self._at = self._backlog[self._at :] + data, 0  # TLS had these bytes already when reading was paused
            self._update_waiting()
            return
        turns = server.turns
        if self._joined or not turns.open or self._blocked():
            self._backlog = data
            self._update_waiting()
            return
        now = monotonic()
        if self._answer_plain(data):
            after = monotonic()
            if not self._answers and not self._unread:
                self.deadline = after + server.idle_seconds
        else:
            self._backlog = data
            self._handle_request()
            after = monotonic()
            self._update_waiting()
        turns.spent(after - now)

    def eof_received(self) -> bool:
        """Close the connection: a client that has closed its sending side receives no more answers."""
        return False

    def pause_writing(self) -> None:
        """Stop reading: the client does not read its answers."""
        self._unread = True
        self.deadline = monotonic() + self._server.stall_seconds
        self._update_waiting()

    def resume_writing(self) -> None:
        """Resume: the client has read its answers."""
        self._unread = False
        if self._stream is not None:
            self.deadline = math.inf
        self._update_waiting()

    # REQUESTS

    def handle_next(self) -> None:
        self._joined = False
        if not self._stopped and not self._blocked():
            self._handle_request()
        self._update_waiting()

    def _blocked(self) -> bool:
        return self._unread or (self._answers is not None and len(self._answers) >= MAX_PIPELINED)

    def _answer_plain(self, data: bytes) -> bool:
        """Answer `data` if it is exactly one plain request; return whether it is."""
        server, reader, answers, connection = self._server, self._reader, self._answers, self._connection
        if answers is None or connection is None:
            answers = self._answers = deque()
            connection = self._connection = ConnectionState()
        if server.fast_path is None or (reader is not None and reader.started):
            return False
        answer: Answer | bytes | None
        try:
            answer = server.fast_path(data, connection, self.client)
        except Exception:
            answer = server.failed(None)
        if answer is None:
            return False
        server.requests += 1
        self._queue_answer(answer, True, False)
        return True

    def _handle_request(self) -> None:
        """Handle one received request, or parse a part of one."""
        if not self._requests and self._backlog:
            data, at = self._backlog, self._at
            if at == 0 and self._answer_plain(data):
                self._backlog = b""
                return
            if self._reader is None or self._requests is None:
                self._requests = deque()
                self._reader = RequestReader(self.client, self._requests.append, self._server.max_body, self._proceed)
            reader = self._reader
            try:
                if at == 0 and not reader.started and reader.deliver_plain(data):
                    end = len(data)
                else:
                    end = reader.extent(data, at)
                    reader.feed(data[at:end])
            except BadRequest as error:
                self._requests.append(error)
                end = len(data)
            self._backlog, self._at = (data, end) if end < len(data) else (b"", 0)
            if reader.started and not self._started:
                self.deadline = monotonic() + self._server.head_seconds
            self._started = reader.started
        if self._requests:
            self._serve(self._requests.popleft())

    def _update_waiting(self) -> None:
        """Update what the connection waits for (a turn, answers, the client's reading, more bytes), its deadline, and what it buffers."""
        self._count_buffered()  # also on a connection that reads no further request: its answers may be unread
        if self._stopped or self._transport is None or self._transport.is_closing():
            return
        waits, blocked = bool(self._requests or self._backlog), self._blocked()
        if waits and not blocked and not self._joined:
            self._joined = True
            self._server.turns.join(self)
        paused = waits or blocked
        if paused != self._paused:
            self._paused = paused
            (self._transport.pause_reading() if paused else self._transport.resume_reading())
        if not self._unread:
            if waits or self._answers:
                self.deadline = math.inf
            elif not self._started:
                self.deadline = monotonic() + self._server.idle_seconds
            elif self.deadline == math.inf:
                self.deadline = monotonic() + self._server.head_seconds

    def _count_buffered(self) -> None:
        """Count the bytes buffered for this client; disconnect a client that exceeds its share."""
        held = len(self._backlog) + (self._reader.buffered if self._reader is not None else 0)
        if self._answers:
            held += sum(_size(answer, request) for answer, _, _, request in self._answers)
        if self._unread and self._transport is not None:
            held += self._transport.get_write_buffer_size()
        if held != self._held:
            self._held = self._server.memory.replace(self.client, self._held, held)
            if held and not self._held:
                self.close()

    def _proceed(self) -> None:
        if self._transport is not None and not self._answers and not self._requests:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _serve(self, request: Request | BadRequest) -> None:
        server = self._server
        if isinstance(request, BadRequest):
            # The start of the next request is unknown.
            self._stopped = True
            self._queue_answer(text(request.status, request.reason), False, False)
            return
        server.requests += 1
        if request.keep_alive:
            request.connection = self._connection
        answer: Answer
        try:
            answer = server.handler(request)
        except BadRequest as error:
            answer = text(error.status, error.reason)
        except CloseConnection:
            self.close()
            return
        except Exception:
            answer = server.failed(request)
        keep_alive = request.keep_alive
        if not keep_alive:
            self._stopped = True
        self._queue_answer(answer, keep_alive, request.method == "HEAD", 0 if isinstance(answer, READY) else request.memory)

    # ANSWERS

    def _queue_answer(self, answer: Answer | bytes, keep_alive: bool, bodiless: bool, request: int = 0) -> None:
        if not self._answers and isinstance(answer, READY):
            self._send(answer, keep_alive, bodiless)
        elif self._answers is not None:
            self._answers.append((answer, keep_alive, bodiless, request))
            if isinstance(answer, READY):
                self._count_buffered()
            else:
                self.deadline = math.inf
                answer.add_done_callback(self._flush)

    def _flush(self, _: object = None) -> None:
        """Send the answers that are ready, up to the first that is not."""
        while self._answers:
            answer, keep_alive, bodiless, _ = self._answers[0]
            if not isinstance(answer, READY):
                if not answer.done():
                    break
                answer = self._outcome(answer)
            self._answers.popleft()
            self._send(answer, keep_alive, bodiless)
        self._update_waiting()

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
        write(transport, answer if isinstance(answer, bytes) else answer.encode(keep_alive, bodiless))
        if not keep_alive and isinstance(answer, EventStream) and not bodiless:
            self._stream, self.deadline = answer, math.inf
            answer.begin(transport)
        elif not keep_alive:
            transport.close()
            # Limits how long a client that does not read keeps the connection open.
            self.deadline = monotonic() + self._server.stall_seconds

    def close(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()


def _size(answer: Answer | bytes, request: int) -> int:
    """Size in bytes of an answer that waits for an earlier one; while it is not ready, of its request."""
    if isinstance(answer, bytes):
        return len(answer)
    if not isinstance(answer, Response):
        if not answer.done():
            return request
        if answer.cancelled() or answer.exception() is not None:
            return 0
        answer = answer.result()
    return len(answer.body)
