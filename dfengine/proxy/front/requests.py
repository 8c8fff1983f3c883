"""A parser of clients' requests (httptools), with limits against slow and hostile clients.

Law: a request with ambiguous framing is refused: several lengths, a length together with a coding, a chunked body in HTTP/1.0. Exceeding
a limit raises BadRequest; where the next request begins is then unknown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httptools

from dfengine.net.http import MAX_FIELDS, TOO_MANY, BadRequest, refusal
from dfengine.proxy.header_fields import SINGLE, Fields, connection_options, framing
from dfengine.proxy.targets import is_absolute

if TYPE_CHECKING:
    from typing import Protocol

    class RequestListener(Protocol):
        """Receives requests: a head, the parts of its body, its end."""

        def request(self, head: Head) -> None: ...
        def body(self, data: bytes) -> None: ...
        def complete(self) -> None: ...


MAX_HEAD = 32 << 10
"""Maximum number of bytes of a request's head: registry tokens take up to 16 KiB."""

EMPTY_LINE = b"\r\n\r\n"

_HOST = re.compile(rb"[A-Za-z0-9._\[\]:-]{0,261}")


class Head:
    """The head of one request. length: of its body, or fields.CHUNKED. first: the first value of each field, by lower-case name."""

    __slots__ = ("fields", "first", "keep_alive", "length", "method", "target", "version")

    def __init__(self, method: str, target: bytes, fields: Fields, version: str, keep_alive: bool) -> None:
        """Raises BadRequest."""
        self.method = method
        self.target = target
        self.fields = fields
        self.version = version
        self.keep_alive = keep_alive and method != "CONNECT"
        if len(fields) > MAX_FIELDS:
            raise BadRequest(431, TOO_MANY)
        seen: dict[bytes, bytes] = {}
        for name, value in fields:
            lower = name.lower()
            if lower not in seen:
                seen[lower] = value
            elif lower in SINGLE:
                raise BadRequest(400, f"{lower.decode('latin-1')} is given twice")
        self.first = seen
        if version not in ("1.0", "1.1"):
            raise BadRequest(505, "HTTP/1.0 and HTTP/1.1 are served")
        if version == "1.1" and b"host" not in seen:
            raise BadRequest(400, "no Host is given")
        if not _HOST.fullmatch(seen.get(b"host", b"").strip()):
            raise BadRequest(400, "bad Host")
        framed = b"content-length" in seen or b"transfer-encoding" in seen
        self.length = framing(fields, version, request=True) if framed else 0
        if method == "CONNECT" and self.length:
            raise BadRequest(400, "CONNECT has no body")
        if b"upgrade" in seen and b"upgrade" in connection_options(fields):
            raise BadRequest(501, "upgrades are not passed on: use HTTP/1.1")
        if not (target.startswith(b"/") or method == "CONNECT" or is_absolute(target) or (method == "OPTIONS" and target == b"*")):
            raise BadRequest(400, "the target of a request begins with /, or is a whole URL")
        if version == "1.1" and b"expect" in seen and seen[b"expect"].strip().lower() != b"100-continue":
            raise BadRequest(417, "the only supported expectation is 100-continue")


class Requests:
    """The requests of one connection."""

    def __init__(self, taker: RequestListener) -> None:
        self._taker = taker
        self._parser: Any = httptools.HttpRequestParser(self)
        self._target = b""
        self._fields: Fields = []
        self._unfinished = self._heads = self._trailers = 0
        self._left = 0
        self._tail = b""
        """The last bytes of an unfinished head."""
        self._in_body = self._connects = False
        self.started = False
        """Whether a request has begun and not ended."""
        self.whole = False
        """Whether `feed` has delivered the end of a request."""

    def feed(self, data: bytes, at: int = 0) -> int:
        """Read a part of `data` from `at` on, up to the end of one request; return where the next part begins. Raises BadRequest.

        Bytes of a second request are parsed only if they follow the end of a chunked body in the same data, which is refused.
        """
        end = self._extent(data, at)
        heads, self.whole = self._heads, False
        try:
            self._parser.feed_data(data if not at and end == len(data) else data[at:end])
        except httptools.HttpParserUpgrade:
            if not self._connects:
                raise BadRequest(501, "upgrades are not passed on: use HTTP/1.1") from None
        except httptools.HttpParserError as error:
            raise refusal(error) from None
        if not self.whole and not self._in_body and heads == self._heads:
            # The parser does not report the bytes of an unfinished line: count its input.
            self._unfinished += end - at
            self._tail = (self._tail + data[max(at, end - 3) : end])[-3:]
            if self._unfinished > MAX_HEAD:
                raise BadRequest(431, f"a request's head is larger than {MAX_HEAD >> 10} KiB")
        return end

    def _extent(self, data: bytes, at: int) -> int:
        if self._in_body:
            return len(data) if self._left < 0 else min(len(data), at + self._left)
        if self._tail:
            # An empty line may be split across two reads.
            found = (self._tail + data[at : at + 3]).find(EMPTY_LINE)
            if found >= 0:
                return at + found + 4 - len(self._tail)
        end = data.find(EMPTY_LINE, at, at + MAX_HEAD)
        return end + 4 if end >= 0 else min(len(data), at + MAX_HEAD)

    def close(self) -> None:
        """Release the parser, when no more bytes arrive; it and this object refer to each other."""
        self._parser = None

    # httptools' callbacks

    def on_message_begin(self) -> None:
        if self.whole:
            raise BadRequest(400, "a request follows a chunked body before its response")
        self._target, self._fields = b"", []
        self._unfinished = self._trailers = 0
        self.started = True

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            # Trailers are dropped: no server here needs them.
            self._trailers += len(name) + len(value) + 4
            if self._trailers > MAX_HEAD:
                raise BadRequest(431, "the trailers are too large")
            return
        self._fields.append((name, value))  # `feed` limits their bytes

    def on_headers_complete(self) -> None:
        parser = self._parser
        version = parser.get_http_version()
        head = Head(parser.get_method().decode("latin-1"), self._target, self._fields, version, parser.should_keep_alive())
        self._left, self._in_body, self._tail = head.length, True, b""
        self._connects = head.method == "CONNECT"
        self._heads += 1
        self._taker.request(head)

    def on_body(self, body: bytes) -> None:
        if self._left > 0:
            self._left -= len(body)
        self._taker.body(body)

    def on_message_complete(self) -> None:
        self.started = self._in_body = False
        self.whole = True
        self._taker.complete()
