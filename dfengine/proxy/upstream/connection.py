"""One connection to a registry or another server, for one exchange at a time and reused while possible.

It is reused after a complete response, unless
* one side asked to close;
* more bytes than the response were received: these would be taken for the next response;
* the response began before all of the request was sent: the server would take the next request for the missing part of the body;
* the request authenticated the connection itself (NTLM, Negotiate): other clients would get that user's access.

It is read only while the receiver of its response keeps up.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from typing import TYPE_CHECKING, Any, cast

import httptools

from dfengine.errors import DfengineError
from dfengine.net.http import BadRequest
from dfengine.proxy.header_fields import CHUNKED, UNTIL_CLOSE, Fields, bodiless, framing, head

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Exchange(Protocol):
        """Receiver of a response."""

        def interim(self, status: int) -> None: ...
        def answer(self, status: int, reason: bytes, fields: Fields, length: int) -> None: ...
        def body_part(self, data: bytes) -> None: ...
        def end(self) -> None: ...
        def flush(self) -> None: ...
        def lost(self, error: Exception) -> None: ...
        def hold(self, held: bool) -> None: ...


MAX_HEAD = 64 << 10
"""Maximum number of bytes of a response's head."""

HIGH_WATER = 256 << 10
"""Bytes of a request's body waiting to be sent at which reading from its client stops."""


SCHEMES = frozenset((b"ntlm", b"negotiate"))
"""Authentication schemes that may authenticate a connection instead of a request (RFC 4559 section 6)."""


class BadAnswer(DfengineError):
    """The registry's response is not HTTP that can be passed on."""


class UpstreamConnection(asyncio.Protocol):
    """One connection. `idle_since`: when its last exchange ended. `used`: it has carried an exchange before.

    origin: `http://HOST:PORT` if a proxy requires absolute URLs, else "". more: fields for that proxy.
    """

    def __init__(self, forget: Callable[[UpstreamConnection], None], origin: str = "", more: Fields | None = None) -> None:
        self._forget = forget
        self._origin = origin
        self._more = more or []
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._parser: Any = None
        self._method = ""
        self._fields: Fields = []
        self._reason = b""
        self._head = 0
        self._answered = self._over = self._paused = self._more_came = False
        self._closes = False
        self._length = 0
        self._sending = False
        """Whether a part of the request's body is still to be written."""
        self._once = False
        """Whether to close it after this exchange, because of its credentials."""
        self.used = False
        self.idle_since = 0.0

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(HIGH_WATER)

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        by_its_end = exc is None and self._answered and self._length == UNTIL_CLOSE
        cut = by_its_end and not self._closed_in_order()
        self._transport, self._parser = None, None
        self._forget(self)
        if exchange is None:
            return
        if by_its_end and not cut:
            exchange.end()
            exchange.flush()
        else:
            where = "in the middle of its answer" if self._answered else "without an answer"
            how = "without TLS's close_notify: its answer may have been cut" if cut else where
            exchange.lost(exc or ConnectionResetError(f"closed {how}"))

    def _closed_in_order(self) -> bool:
        """Whether the other side closed the connection in order: over TLS, with close_notify (RFC 9112 section 9.8)."""
        tls: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        if tls is None:
            return True
        try:
            return not tls.read(1)
        except ssl.SSLError as error:
            return isinstance(error, ssl.SSLZeroReturnError)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.hold(True)

    def resume_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.hold(False)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.cut()  # bytes without a request
            return
        try:
            self._parser.feed_data(data)
            if not self._answered:
                self._count(len(data))  # the parser does not report the bytes of an unfinished line
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self._over:
                self._more_came = True
            elif self._exchange is not None:
                self._failed(BadAnswer(f"sent invalid HTTP: {error.__context__ or error}"))
                return
            else:
                return
        if self._over:
            self._ended()
        exchange.flush()

    # Methods for an exchange.

    def begin(self, exchange: Exchange, method: str, target: str, fields: Fields, body: bool = False) -> None:
        """Send a request's head. body: a body follows by `write`, and its end by `complete`."""
        assert self._transport is not None
        self._exchange, self._method, self._sending = exchange, method, body
        self._once = any(name.lower() == b"authorization" and value.strip().split(b" ")[0].lower() in SCHEMES for name, value in fields)
        self._parser = self._parser or httptools.HttpResponseParser(self)
        self._answered = self._over = self._more_came = False
        self._head = 0
        target = self._origin + ("" if self._origin and target == "*" else target)
        self._transport.write(head(f"{method} {target} HTTP/1.1".encode(), [*fields, *self._more] if self._more else fields))

    def write(self, data: bytes) -> None:
        """Send more of the request."""
        if self._transport is not None:
            self._transport.write(data)

    def complete(self) -> None:
        """End the request's body, all of which is written."""
        self._sending = False

    def read(self, wanted: bool) -> None:
        """Read the response, or stop reading it."""
        if self._transport is not None and wanted == self._paused and not self._transport.is_closing():
            self._paused = not wanted
            (self._transport.resume_reading() if wanted else self._transport.pause_reading())

    def cut(self) -> None:
        """Close at once, without a callback."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    @property
    def open(self) -> bool:
        """Whether a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def quiet(self) -> bool:
        """Whether an idle connection has nothing to read: neither its end nor unexpected bytes."""
        assert self._transport is not None
        waiting = select.poll()
        waiting.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not waiting.poll(0)

    # httptools' callbacks

    def on_message_begin(self) -> None:
        if self._over:
            self._more_came = True  # a second response to one request
        self._fields, self._reason, self._head = [], b"", 0

    def on_status(self, status: bytes) -> None:
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._answered:
            self._fields.append((name, value))
        self._count(len(name) + len(value))

    def _count(self, more: int) -> None:
        self._head += more
        if self._head > MAX_HEAD:
            raise httptools.HttpParserError("the head of its answer is too large")

    def on_headers_complete(self) -> None:
        exchange, status = self._exchange, self._parser.get_status_code()
        if exchange is None or self._over:
            return
        if 100 <= status < 200:
            if status == 101:
                raise httptools.HttpParserError("it changes the protocol")
            exchange.interim(status)
            return
        if status == 407 and self._origin:
            raise httptools.HttpParserError("the proxy that the environment names refuses the user")
        try:
            length = framing(self._fields, self._parser.get_http_version(), request=False)
        except BadRequest as error:
            raise httptools.HttpParserError(str(error)) from None
        self._answered, self._length, self._head = True, length, 0
        early = self._sending or (self._transport is not None and self._transport.get_write_buffer_size() > 0)
        self._closes = early or not self._parser.should_keep_alive()
        exchange.answer(status, self._reason, self._fields, length)
        if bodiless(self._method, status):
            self._over = True

    def on_body(self, body: bytes) -> None:
        if self._over:
            self._more_came = True  # after a response without a body
        elif self._exchange is not None:
            self._exchange.body_part(body)

    def on_message_complete(self) -> None:
        if self._answered:
            self._over = True

    def _ended(self) -> None:
        """Handle the end of the response."""
        exchange, self._exchange = self._exchange, None
        if bodiless(self._method, 0) or self._more_came:
            self._parser = None  # it would wait for a body, which a response to HEAD does not have
            # The parser does not report bytes that it takes for a part of a chunk's head.
            self._closes = self._closes or self._length == CHUNKED
        closes = self._closes or self._once or self._more_came or self._length == UNTIL_CLOSE
        self.used = True
        self.read(True)
        if closes or not self.open:
            self.cut()
        self.idle_since = asyncio.get_running_loop().time()
        self._forget(self)
        if exchange is not None:
            exchange.end()

    def _failed(self, error: Exception) -> None:
        exchange = self._exchange
        self.cut()
        if exchange is not None:
            exchange.lost(error)
