"""One client's connection: consecutive requests, the response to each, and their deadlines.

Laws:
* One request at a time. Further bytes wait until its response is complete and mostly read; beyond BACKLOG bytes the socket is not read.
* A response starts once. An error before its first byte becomes a status. Later the connection is cut by a reset, so that the client
  cannot mistake a part for the whole.
* The end of a body is always marked: by its length, by the last chunk, or, in HTTP/1.0 alone, by an orderly close.
* A connection is always in one of these phases, each with a deadline: receiving a head, waiting for the other side (the registry, or the
  rest of a body), sending a response that the client does not read, idle.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import socket
import struct
from time import monotonic
from typing import TYPE_CHECKING, cast

from dfengine.net.http import HEAD_SECONDS, IDLE_SECONDS, REASONS, STALL_SECONDS, BadRequest
from dfengine.proxy.front.requests import Head, Requests
from dfengine.proxy.header_fields import UNTIL_CLOSE, Fields, bodiless, head

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.proxy.front.interfaces import Exchange, Server
    from dfengine.proxy.registries import Registry

LINGER_SECONDS = 2.0
"""Time for a client to read a response that precedes the end of its request."""

BACKLOG = 64 << 10
"""Bytes buffered beyond the current request."""

HIGH_WATER = 256 << 10
"""Unsent bytes of a response at which reading from the registry stops."""

CODES = {400: "NAME_INVALID", 401: "UNAUTHORIZED", 403: "DENIED", 404: "NAME_UNKNOWN", 429: "TOOMANYREQUESTS"}
"""Status -> error code of the OCI distribution specification."""


class ClientConnection(asyncio.Protocol):
    """client: its address, "" by a unix socket. intercepted: the destination server of the client's https, if this proxy intercepts it.

    encrypted: the connection is TLS. arrived: when the current request was received, monotonic seconds.
    """

    __slots__ = ("_answer_started", "_backlog", "_chunked", "_closing", "_exchange", "_fileno", "_head", "_held", "_left", "_out",
                 "_requests", "_server", "_then", "_transport", "_unread", "_watched", "_whole", "_writer", "address", "arrived",
                 "deadline", "encrypted", "intercepted")  # fmt: skip

    def __init__(self, server: Server, intercepted: Registry | None = None) -> None:
        self._server = server
        self.intercepted = intercepted
        self.encrypted = False
        self._transport: asyncio.Transport | None = None
        self._requests = Requests(self)
        self._exchange: Exchange | None = None
        self._head: Head | None = None
        """The current request."""
        self._backlog = b""
        self._out: list[bytes] = []
        """Bytes for the next flush."""
        self._whole = self._answer_started = self._chunked = self._closing = self._unread = self._held = self._watched = False
        self._fileno = self._writer = -1
        self._then: Callable[[], None] | None = None
        self._left = 0
        """Bytes of the response's body that are announced and not written yet; negative if the length is not announced."""
        self.address = ""
        self.arrived = monotonic()
        self.deadline = self.arrived + HEAD_SECONDS

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else ""
        self._transport.set_write_buffer_limits(HIGH_WATER)
        self._fileno = transport.get_extra_info("socket").fileno()
        self.encrypted = transport.get_extra_info("sslcontext") is not None
        if not self._server.admit(self):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.remove(self)
        self._requests.close()
        self._unwatch()
        self._fileno = -1
        if self._writer >= 0:
            os.close(self._writer)
        exchange, self._exchange, self._transport = self._exchange, None, None
        self._backlog = b""
        if exchange is not None:
            exchange.gone()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._backlog:
            data = self._backlog + data
            self._backlog = b""
        self._feed(data)

    def pause_writing(self) -> None:
        self._unread = True
        self.deadline = monotonic() + STALL_SECONDS
        if self._exchange is not None:
            self._exchange.pause(True)

    def resume_writing(self) -> None:
        self._unread = False
        self.extend_deadline()
        if self._exchange is not None:
            self._exchange.pause(False)
        elif self._head is None and not self._closing:
            self._next()

    # Requests.

    def _feed(self, data: bytes) -> None:
        at = 0
        while at < len(data) and not self._closing:
            if self._whole if self._head is not None else self._unread:
                # A response must be complete and not wait for its client: an exchange that begins now would not be paused.
                self._backlog = data[at:] if at else data
                break
            try:
                at = self._requests.feed(data, at)
            except BadRequest as error:
                self._refused(error)
                break
        self._wait()

    def _wait(self) -> None:
        """Read the socket or pause it; set the deadline of an idle connection or of a head."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        unread = self._held or len(self._backlog) >= BACKLOG
        if unread == transport.is_reading():
            (transport.pause_reading() if unread else transport.resume_reading())
        if self._head is None and not self._closing and not self._unread:
            if not self._requests.started:
                self.deadline = monotonic() + IDLE_SECONDS
            elif self.deadline - monotonic() > HEAD_SECONDS:
                self.deadline = monotonic() + HEAD_SECONDS

    def pause_request(self, held: bool) -> None:
        """Pause or resume the request's body. The end of the response resumes it."""
        self._held = held
        self._wait()

    def _refused(self, error: BadRequest) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.gone()
        self._closing = True
        if self._answer_started:
            self.cut()
            return
        self._head = self._head or Head("GET", b"/", [(b"Host", b"")], "1.1", False)
        self.send_error(error.status, error.reason)

    # Callbacks of `requests`.

    def request(self, head: Head) -> None:
        self._head, self._whole, self._answer_started, self.arrived = head, False, False, monotonic()
        self.extend_deadline()
        self._exchange = self._server.route(self, head)

    def body(self, data: bytes) -> None:
        self.extend_deadline()
        if self._exchange is not None:
            self._exchange.body(data)

    def complete(self) -> None:
        self._whole = True
        if self._exchange is not None:
            self._exchange.complete()
        elif self._answer_started and self._head is not None:
            self._next()

    # The response.

    @property
    def answer_started(self) -> bool:
        """Whether the response's head is sent, or about to be."""
        return self._answer_started

    def extend_deadline(self) -> None:
        """Extend the deadline after any progress."""
        self.deadline = monotonic() + STALL_SECONDS

    def interim(self, status: int) -> None:
        """Send an interim status (100 to 199), if the client supports it."""
        if self._head is not None and self._head.version == "1.1" and not self._answer_started:
            self._out.append(f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\n\r\n".encode())
            self.flush()

    def begin(self, status: int, reason: bytes, fields: Fields, length: int) -> None:
        """Begin the response. fields: end-to-end ones. length: of the body, or UNTIL_CLOSE or CHUNKED if it is unknown."""
        request = self._head
        assert request is not None
        assert not self._answer_started
        self._answer_started = True
        self._server.answered(status)
        if bodiless(request.method, status):
            if length >= 0 and status != 204:
                fields.append((b"Content-Length", b"%d" % length))
            self._left = 0
        elif length >= 0:
            fields.append((b"Content-Length", b"%d" % length))
            self._left = length
        elif request.version == "1.1":
            fields.append((b"Transfer-Encoding", b"chunked"))
            self._left = UNTIL_CLOSE
        else:
            self._closing, self._left = True, UNTIL_CLOSE
        self._chunked = self._left < 0 and request.version == "1.1"
        if not request.keep_alive or not self._whole:
            # The rest of the request may never arrive, and a response that precedes its end makes it useless.
            self._closing = self._closing or not request.keep_alive or request.length != 0
        if self._closing:
            fields.append((b"Connection", b"close"))
        elif request.version == "1.0":
            fields.append((b"Connection", b"keep-alive"))
        self._out.append(head(b"HTTP/1.1 %d %b" % (status, reason or REASONS.get(status, "").encode()), fields))

    def write(self, data: bytes) -> None:
        """Add a part of the body, which `flush` sends."""
        if self._left >= 0:
            data = data[: self._left]
            self._left -= len(data)
        self._out.append(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data)

    @property
    def unsent(self) -> int:
        """Bytes that were flushed and are not yet in the socket's buffer."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def flush(self) -> None:
        """Send the bytes written so far."""
        if self._out and self._transport is not None:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._transport.write(data)
            if not self._unread:
                self.extend_deadline()

    @property
    def has_pipelined_data(self) -> bool:
        """Whether the client has sent more than the current request."""
        return bool(self._backlog)

    def detach(self) -> tuple[asyncio.Transport, bytes] | None:
        """Detach and return the connection and the bytes that were read ahead; None if it is closed."""
        transport, data = self._transport, self._backlog
        if transport is None or transport.is_closing():
            return None
        if transport.is_reading():
            transport.pause_reading()
        self._exchange, self._backlog = None, b""
        self.connection_lost(None)
        return transport, data

    def hand_over(self, exchange: Exchange) -> None:
        """Let another exchange answer the request from now on."""
        if self._head is not None and self._transport is not None:
            self._exchange = exchange
        else:
            exchange.gone()

    # For an exchange that sends to the socket itself.

    def take_unsent(self) -> bytes:
        """Take the unsent bytes: the exchange sends them and all of the body, then calls `response_sent`."""
        data, self._left = b"".join(self._out), 0
        self._out.clear()
        return data

    @property
    def fileno(self) -> int:
        """The socket, for which this object has no unsent bytes. Raises BrokenPipeError if it is closed."""
        if self._fileno < 0:
            raise BrokenPipeError("the client is gone")
        return self._fileno

    def await_writable(self, then: Callable[[], None]) -> None:
        """Call `then` once, when the socket is writable."""
        if self._transport is None:
            return
        self._then = then
        if self._writer < 0:
            # The loop does not allow a writer on a transport's socket, so this is a duplicate descriptor.
            self._writer = os.dup(self._fileno)
        if not self._watched:
            self._watched = True
            asyncio.get_running_loop().add_writer(self._writer, self._writable)

    def _writable(self) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()
        if self._then is None and self._watched:
            self._unwatch()

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            asyncio.get_running_loop().remove_writer(self._writer)

    def set_deadline(self, seconds: float) -> None:
        """Cut the connection unless the response continues within `seconds`."""
        self.deadline = monotonic() + seconds

    def response_sent(self) -> None:
        """Finish a response that is sent."""
        self._exchange = None
        if self._closing or self._whole:
            self._next()

    def end(self) -> None:
        """Finish the response. If bytes of it are missing, the connection is cut."""
        if self._left > 0:
            self.cut()
            return
        if self._chunked:
            self._out.append(b"0\r\n\r\n")
        self.flush()
        self.response_sent()

    def send_error(self, status: int, message: str, fields: Fields | None = None) -> None:
        """Send a complete error response of this proxy in the form of a registry's errors."""
        if self._answer_started:
            self.cut()
            return
        code = CODES.get(status, "UNSUPPORTED" if status < 500 else "UNAVAILABLE")
        body = json.dumps({"errors": [{"code": code, "message": f"dfengine proxy: {message}"}]}).encode() + b"\n"
        self.send_response(status, body, [(b"Content-Type", b"application/json"), *(fields or [])])

    def send_response(self, status: int, body: bytes, fields: Fields) -> None:
        """Send a complete response."""
        self.begin(status, b"", fields, len(body))
        if self._left:
            self.write(body)
        self.end()

    def _next(self) -> None:
        """Continue after the response: close, or read the next request."""
        self._head, self._chunked, self._held = None, False, False
        transport = self._transport
        if transport is None:
            return
        if self._closing and self._whole:
            transport.close()
        elif self._closing:
            # Closing with unread bytes would reset the connection, and the client could lose the response.
            self.deadline = monotonic() + LINGER_SECONDS
            if not transport.can_write_eof():  # TLS has no half-close
                transport.close()
                return
            transport.write_eof()
            transport.resume_reading()
        elif self._backlog:
            # By the loop, so that a long pipeline of requests does not block other connections.
            asyncio.get_running_loop().call_soon(self._resume)
        else:
            self._wait()

    def _resume(self) -> None:
        backlog, self._backlog = self._backlog, b""
        if self._transport is not None and backlog:
            self._feed(backlog)

    def expire(self) -> None:
        """Handle the end of the deadline."""
        exchange = self._exchange
        if exchange is not None and not self._unread and self._head is not None:
            self.deadline = math.inf
            exchange.expired()
        else:
            self.cut()

    def cut(self) -> None:
        """Close at once by a reset, which no client takes for the end of a body."""
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            if sock is not None and self._answer_started:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
