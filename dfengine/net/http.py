"""Requests and responses of the servers, and the one parser of request heads (httptools).

Limits: 16 KiB of head with at most MAX_FIELDS fields, a body only where the server accepts one, one Content-Length, no transfer codings.
A request that exceeds them is answered with a 4xx and the connection is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

import httptools

from dfengine.net._request import plain
from dfengine.net._sendfile import FileSlice
from dfengine.net.token_bucket import TokenBucket

MAX_HEAD = 16 << 10
MAX_FIELDS = 128
"""Maximum number of header fields of a request: each takes memory beyond its bytes, which are what is counted."""

MAX_BODY = 1 << 20
MAX_PIPELINED = 64
"""Maximum number of waiting requests of one connection."""

HEAD_SECONDS = 10.0
"""Seconds within which a client must send a request's head."""

IDLE_SECONDS = 75.0
"""Seconds after which a connection without a request is closed."""

STALL_SECONDS = 60.0
"""Seconds for which a client may read no byte of a response, or send none of a body, before it is disconnected."""

FIELD = 150
"""Bytes of memory that a kept header field takes beyond its characters."""

SINGLE = frozenset({"dfengine-auth", "content-length", "transfer-encoding", "host", "range", "piecenum", "piecesize"})
"""Headers that would be ambiguous if they occurred twice."""

_NAMES = {
    spelling.encode(): name
    for name in ("host", "content-length", "content-type", "user-agent", "range", "accept", "piecenum", "piecesize")
    for spelling in (name, name.title())
}
"""Names in their usual spellings, so that most need no decoding."""

TOO_LARGE = "request head is larger than 16 KiB"
TOO_MANY = f"more than {MAX_FIELDS} header fields"
REASONS = {status.value: status.phrase for status in HTTPStatus}
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
BYTES = "application/octet-stream"


class BadRequest(Exception):
    """The request is not one that the server handles: answer `status` with `reason`, then close."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class ConnectionState:
    """A connection as handlers see it. member: the download that it belongs to, set by a handler; reported when the connection closes."""

    __slots__ = ("member",)

    def __init__(self) -> None:
        self.member: Any = None


class CloseConnection(Exception):
    """Raised by a handler to close the connection without an answer."""


class Request:
    """One request. Header names are lower case; a repeated header has its last value, except those in SINGLE, which are refused."""

    __slots__ = ("_query", "body", "client", "connection", "headers", "keep_alive", "method", "path", "query_string", "target")

    def __init__(self, method: str, target: bytes, headers: dict[str, str], body: bytes, client: str, keep_alive: bool = True) -> None:
        """target: as received. Raises BadRequest when its path cannot be decoded."""
        path, _, query = target.partition(b"?")
        if not path.startswith(b"/") or b"\0" in path:
            raise BadRequest(400, "bad path")
        try:
            self.path = unquote_to_bytes(path).decode() if b"%" in path else path.decode("ascii")
        except UnicodeDecodeError:
            raise BadRequest(400, "path is not UTF-8") from None
        self.method = method
        self.target = target
        self.query_string = query
        self._query: dict[str, str] | None = None
        self.headers = headers
        self.body = body
        self.client = client
        self.keep_alive = keep_alive
        self.connection: ConnectionState | None = None
        """The connection of the request, so that a handler can set its `member`; None where handlers may not."""

    @property
    def memory(self) -> int:
        """Bytes that the request takes while it waits for its response: of its target, its path and query string are kept as well."""
        return len(self.body) + 2 * len(self.target) + sum(len(name) + len(value) + FIELD for name, value in self.headers.items())

    @property
    def query(self) -> dict[str, str]:
        """Decoded parameters, first value of each name. Raises BadRequest for bytes that are not UTF-8."""
        if self._query is None:
            found: dict[str, str] = {}
            try:
                for part in self.query_string.decode().split("&"):
                    name, _, value = part.partition("=")
                    if "%" in part or "+" in part:
                        name, value = _decoded(name), _decoded(value)
                    if name and name not in found:
                        found[name] = value
            except UnicodeDecodeError:
                raise BadRequest(400, "query is not UTF-8") from None
            self._query = found
        return self._query


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode()


class Response:
    """A whole response. headers: further (name, value) pairs."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(self, status: int, body: bytes = b"", content_type: str = JSON, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers

    def encode(self, keep_alive: bool = True, bodiless: bool = False) -> bytes:
        """Encode head and body; `bodiless` for a response to HEAD."""
        if self.status == 200 and keep_alive and not self.headers and self.content_type is JSON and not bodiless:
            return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(self.body), self.body)
        return head(self.status, self.content_type, len(self.body), self.headers, keep_alive) + (b"" if bodiless else self.body)


def head(status: int, content_type: str, length: int, headers: tuple[tuple[str, str], ...], keep_alive: bool) -> bytes:
    """Encode a response's head."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}", f"Content-Type: {content_type}", f"Content-Length: {length}"]
    lines.extend(f"{name}: {value}" for name, value in headers)
    if not keep_alive:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Parts:
    """A piece server's response: bytes and file slices in order. limit: a token bucket of this task, besides the server's.

    `sent` is called with the number of body bytes once all of them are written to the socket. `broken` is called when a file's bytes cannot
    be read (the file is truncated, or its disk fails); the connection is then closed, since the body cannot be completed. `started` is
    called before the first byte is sent, with a function that returns the number of bytes that the client has received on this connection,
    negative while this process throttles them.

    more: further parts, a batch at a time, each created once the previous one is sent; `length` is then the total in bytes.
    """

    __slots__ = ("broken", "headers", "length", "limit", "more", "parts", "sent", "started", "status")

    def __init__(
        self,
        status: int,
        parts: tuple[bytes | FileSlice, ...],
        headers: tuple[tuple[str, str], ...] = (),
        limit: TokenBucket | None = None,
        sent: Callable[[int], None] | None = None,
        broken: Callable[[], None] | None = None,
        more: Iterable[tuple[bytes | FileSlice, ...]] = (),
        length: int = -1,
        started: Callable[[Callable[[], int]], None] | None = None,
    ) -> None:
        self.status = status
        self.parts = parts
        self.more = more
        self.headers = headers
        self.limit = limit
        self.sent = sent
        self.broken = broken
        self.started = started
        self.length = length if length >= 0 else sum(part.length if isinstance(part, FileSlice) else len(part) for part in parts)


def text(status: int, message: str) -> Response:
    """Build a plain text response of one line; with nosniff, as Dragonfly 1.x sends it."""
    return Response(status, message.encode() + b"\n", TEXT, (("X-Content-Type-Options", "nosniff"),))


class RequestReader:
    """Parser of one connection's requests: bytes in, requests out.

    deliver: called with each whole request, in order. max_body: bytes of body that are accepted, 0: none.
    proceed: called when a client that announced a body expects 100 Continue before sending it.
    """

    def __init__(
        self, client: str, deliver: Callable[[Request], None], max_body: int = MAX_BODY, proceed: Callable[[], None] | None = None
    ) -> None:
        self._client = client
        self._deliver = deliver
        self._max_body = max_body
        self._proceed = proceed
        self._parser: Any = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._head = self._fields = 0
        self._unfinished = 0
        self._whole = 0
        self._left = self._got = 0
        self._in_body = False
        self.started = False
        """Whether some bytes of a request arrived, but not its end."""

    @property
    def buffered(self) -> int:
        """Buffered bytes of an unfinished request."""
        return self._head + self._unfinished + self._got if self.started else 0

    def extent(self, data: bytes, at: int) -> int:
        """Return the end in `data` of the bytes to feed next, from `at` on: one request, or two where the cut is inside an empty line."""
        if self._in_body:
            return min(len(data), at + self._left)
        end = data.find(b"\r\n\r\n", at, at + MAX_HEAD)
        return end + 4 if end >= 0 else min(len(data), at + MAX_HEAD)

    def deliver_plain(self, data: bytes) -> bool:
        """Deliver `data` if it is exactly one plain request; return whether it is. Call between two requests. Raises BadRequest."""
        request = plain(data, MAX_HEAD, self._max_body)
        if request is not None:
            method, target, headers, body = request
            self._deliver(Request(method, target, headers, body, self._client))
        return request is not None

    def feed(self, data: bytes) -> None:
        """Parse more bytes. Raises BadRequest; the connection is unusable then."""
        if not self.started and self.deliver_plain(data):
            return
        whole = self._whole
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise BadRequest(400, "no upgrade is served") from None
        except httptools.HttpParserError as error:
            raise refusal(error) from None
        if self.started and not self._in_body and whole == self._whole:
            # The parser buffers an unfinished line internally, so the bytes passed to it are counted.
            self._unfinished += len(data)
            if self._unfinished > MAX_HEAD:
                raise BadRequest(431, TOO_LARGE)

    def close(self) -> None:
        """Drop the parser. It and this reader reference each other, and would keep the connection's objects until a garbage collection."""
        self._parser = None

    # httptools' callbacks

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers = {}
        self._body = []
        self._head = self._fields = self._unfinished = self._left = self._got = 0
        self._in_body = False
        self.started = True

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._head += len(url)
        if self._head > MAX_HEAD:
            raise BadRequest(431, TOO_LARGE)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value) + 4
        if self._head > MAX_HEAD:
            raise BadRequest(431, TOO_LARGE)
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise BadRequest(431, TOO_MANY)
        key = _NAMES.get(name) or name.decode("latin-1").lower()
        if key in self._headers and key in SINGLE:
            raise BadRequest(400, f"{key} comes twice")
        self._headers[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._in_body = True
        headers = self._headers
        coding = headers.get("transfer-encoding")
        if coding is not None:
            length_wanted = coding.lower() == "chunked" and "content-length" not in headers
            raise BadRequest(411 if length_wanted else 400, "no transfer coding is taken: send a Content-Length")
        given = headers.get("content-length")
        if given is None:
            return
        if not (given.isascii() and given.isdigit()) or len(given) > 18:
            raise BadRequest(400, "bad Content-Length")
        length = int(given)
        if length > self._max_body:
            if not self._max_body:
                raise BadRequest(400, "no request body is taken")
            raise BadRequest(413, f"request body is larger than {self._max_body} bytes")
        self._left = length
        if length and self._proceed is not None and headers.get("expect", "").lower() == "100-continue":
            self._proceed()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._got += len(body)
        self._left -= len(body)

    def on_message_complete(self) -> None:
        self.started = self._in_body = False
        self._whole += 1
        parser, body, headers = self._parser, self._body, self._headers
        self._body, self._headers = [], {}  # otherwise a connection would keep them until its next request
        method = parser.get_method().decode("latin-1")
        self._deliver(
            Request(method, self._target, headers, b"".join(body) if body else b"", self._client, parser.should_keep_alive())
        )


def refusal(error: BaseException) -> BadRequest:
    """Return the BadRequest that a callback raised, or one for the parser's error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BadRequest):
            return cause
        cause = cause.__cause__ or cause.__context__
    return BadRequest(400, f"bad request: {error}")
