"""The origin: a file behind http or https, read by blocking calls in a thread of its own.

http.client and `readinto` put the bytes straight into the caller's buffer with the GIL released; asyncio's stream
readers make Python objects of every chunk and cost several times the CPU per byte. Imported where it is used, since a `get` that is
fed by the swarm needs none of it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urljoin, urlsplit

from dfengine.errors import BadValue, OriginChanged, OriginError, OriginSlow, OriginTruncated, OriginUnreachable
from dfengine.net.origin_head import NOT_FORWARDED, ascii_host, basic, is_private, place, proxied, target
from dfengine.net.patience import patience
from dfengine.net.proxy import Proxy, proxy_for
from dfengine.settings import VERSION
from dfengine.task import check_url

if TYPE_CHECKING:
    import http.client

    from dfengine.net.access import Access

REDIRECTS = 10
PORTS = {"http": 80, "https": 443}
TIMEOUT = 30.0
"""Seconds without a byte after which an origin counts as gone; for its head in all."""

STEP = 1 << 20
"""Bytes that are waited for at once."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_ASKED_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")


class OriginBody:
    """An answer of the origin and its bytes.

    start: offset in the task's file of its first byte. length: bytes of the whole file, -1 unknown. ranged: further
    requests may ask for parts. not_modified: the validators still hold and there are no bytes.
    """

    def __init__(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, sock: socket.socket | None,
        timeout: float = TIMEOUT, floor: float = 0.0,
    ) -> None:
        self._connection = connection
        self._response = response
        self._sock = sock
        self._timeout = timeout
        self._floor = floor
        self.status = response.status
        self.not_modified = response.status == 304
        self.etag = response.headers.get("ETag", "")
        self.last_modified = response.headers.get("Last-Modified", "")
        self.ranged = response.status == 206 or response.headers.get("Accept-Ranges", "").lower() == "bytes"
        self.start = 0
        self.length = -1
        self.remaining = -1
        """Bytes that are still to come, -1 unknown."""

    def read_into(self, buffer: memoryview) -> int:
        """Fill `buffer` as far as bytes come, a megabyte at most; returns how many, 0 at the proper end.

        Raises OriginTruncated when the body ends early, OriginUnreachable when nothing comes for the timeout, OriginSlow when
        these bytes take longer than the timeout and their time at the least rate together.
        """
        if not self._floor or self._sock is None:
            return self._read(buffer[:STEP])
        patience.begin(self._sock, self._timeout + min(len(buffer), STEP) / self._floor)
        try:
            return self._read(buffer[:STEP])
        finally:
            # What it brought before it was cut is of no use: the next read would say no more than that the connection is gone.
            if patience.end(self._sock):
                raise OriginSlow(f"the origin sends less than {self._floor:.0f} bytes per second")

    def _read(self, buffer: memoryview) -> int:
        import http.client

        try:
            count = self._response.readinto(buffer) if len(buffer) else 0
        except http.client.IncompleteRead as error:
            raise OriginTruncated("the origin's answer ends in the middle") from error
        except TimeoutError as error:
            raise OriginUnreachable("the origin sends nothing any more") from error
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            raise OriginTruncated(f"the origin's answer broke off: {error}") from error
        if self.remaining >= 0:
            self.remaining -= count
            if count == 0 and len(buffer) and self.remaining > 0:
                raise OriginTruncated(f"the origin's answer ends {self.remaining} bytes early")
        return count

    def abort(self) -> None:
        """From another thread: whoever reads is woken with an error."""
        with contextlib.suppress(OSError):
            if self._sock is not None:
                self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the connection."""
        self._response.close()
        self._connection.close()
        if self._sock is not None:
            self._sock.close()


class Origin:
    """One URL and what goes with a request for it, by the proxy that the environment names. Raises BadValue for a URL or header that
    cannot be sent.

    headers: (name, value) pairs; a Range among them makes the task that part of the file. cacerts: PEM texts or paths to them.
    timeout: seconds without a byte, and for a head in all. floor: least bytes per second of one answer, 0 = any. access: where
    connections may go, None: anywhere.
    """

    def __init__(
        self,
        url: str,
        headers: Iterable[tuple[str, str]] = (),
        *,
        insecure: bool = False,
        cacerts: Iterable[str | bytes] = (),
        timeout: float = TIMEOUT,
        floor: float = 0.0,
        access: Access | None = None,
    ) -> None:
        self.url = check_url(url)
        self.headers = [(name, value) for name, value in headers if name.lower() not in NOT_FORWARDED]
        for name, value in self.headers:
            if re.search(r"[\r\n\0]", name + value) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise BadValue(f"header {name!r} cannot be sent")
        self._insecure = insecure
        self._cacerts = tuple(cacerts)
        self._timeout = timeout
        self._floor = floor
        self._access = access
        self._base, self._limit = 0, -1
        self._asked = ""
        for name, value in self.headers:
            if name.lower() == "range":
                match = _ASKED_RANGE.fullmatch(value.replace(" ", ""))
                if match is None or (match[2] and int(match[2]) < int(match[1])):
                    raise BadValue(f"Range {value!r} is not bytes=A-B or bytes=A-")
                self._base, self._limit = int(match[1]), int(match[2]) if match[2] else -1
                self._asked = f"bytes={match[1]}-{match[2]}"
        self.headers = [(name, value) for name, value in self.headers if name.lower() != "range"]

    def open(
        self, start: int = 0, end: int | None = None, *, etag: str = "", last_modified: str = "", unless_changed: bool = False
    ) -> OriginBody:
        """GET the file from byte `start` to before byte `end` (None: to its end).

        etag, last_modified: validators of what is here. With start > 0 they go as If-Range, and a changed file is answered from
        its start (`body.start` 0) or raises OriginChanged when `end` was given. `unless_changed`: If-None-Match, If-Modified-Since.
        Raises OriginError (status), OriginUnreachable.
        """
        headers = dict(self.headers)
        headers.setdefault("User-Agent", f"dfengine/{VERSION}")
        headers["Accept-Encoding"] = "identity"
        if start or end is not None or self._asked:
            last = self._limit if end is None else self._base + end - 1
            headers["Range"] = f"bytes={self._base + start}-{last if last >= 0 else ''}"
            strong = etag if etag and not etag.startswith("W/") else last_modified
            if strong and not unless_changed:
                headers["If-Range"] = strong
        if unless_changed:
            if etag:
                headers["If-None-Match"] = etag
            if last_modified:
                headers["If-Modified-Since"] = last_modified
        body = self._follow(headers)
        try:
            self._place(body, start, end)
        except OriginError:
            body.close()
            raise
        return body

    def _place(self, body: OriginBody, start: int, end: int | None) -> None:
        """Find out which bytes of the file this answer holds."""
        given = body._response.headers
        length = given.get("Content-Length", "")
        chunked = "chunked" in given.get("Transfer-Encoding", "").lower()
        body.remaining = int(length) if length.isascii() and length.isdigit() and not chunked else -1
        if body.not_modified:
            return
        if body.status == 200:
            if self._asked:
                raise OriginError("the origin does not serve the range that was asked for", 200)
            body.length = body.remaining
            if end is not None and (start or body.length != end):
                raise OriginChanged("the origin answers a range with the whole file")
            return
        if body.status == 416 and end is None and start == 0 and not self._asked:
            raise OriginError("the origin refuses the file", 416)
        if body.status != 206:
            raise OriginError(f"the origin answers {body.status} {body._response.reason}".rstrip(), body.status)
        match = _CONTENT_RANGE.fullmatch(given.get("Content-Range", "").strip())
        if match is None or int(match[1]) != self._base + start:
            raise OriginError("the origin answers with another range than was asked for", 206)
        body.start = start
        if end is not None and int(match[2]) != self._base + end - 1:
            raise OriginChanged("the origin answers with another range than was asked for")
        if match[3] != "*":
            whole = int(match[3])
            body.length = (min(self._limit + 1, whole) if self._limit >= 0 else whole) - self._base

    def _follow(self, headers: dict[str, str]) -> OriginBody:
        """One GET, through redirects."""
        import http.client

        url = self.url
        given = {name.lower() for name, _ in self.headers}
        for _ in range(REDIRECTS + 1):
            parts = urlsplit(url)
            scheme = parts.scheme.lower()
            proxy = proxy_for(scheme, parts.hostname or "", parts.port or PORTS[scheme], os.environ)
            guards: list[socket.socket] = []
            connection = self._connection(parts, proxy, guards)
            try:
                connection.request("GET", target(parts, proxy), headers=headers | basic(parts, headers) | proxied(parts, proxy))
                sock = connection.sock
                response = connection.getresponse()
            except TimeoutError as error:
                connection.close()
                raise OriginUnreachable(f"{place(parts, proxy)} does not answer") from error
            except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
                from dfengine.net.tls import reason

                connection.close()
                why = "does not answer" if any(map(patience.end, guards)) else f"cannot be reached: {reason(error)}"
                raise OriginUnreachable(f"{place(parts, proxy)} {why}") from error
            finally:
                for guard in guards:
                    patience.end(guard)
                    guard.close()
            if response.status in (200, 206, 304, 416):
                return OriginBody(connection, response, sock, self._timeout, self._floor)
            location = response.headers.get("Location")
            response.close()
            connection.close()
            if response.status not in (301, 302, 303, 307, 308) or not location:
                raise OriginError(f"the origin answers {response.status} {response.reason}".rstrip(), response.status)
            there = urljoin(url, location.strip())
            try:
                check_url(there)
            except BadValue:
                raise OriginError("the origin redirects to what is no http or https URL", response.status) from None
            other = urlsplit(there)
            if (other.scheme, other.netloc) != (parts.scheme, parts.netloc):
                headers = {name: value for name, value in headers.items() if not (is_private(name) and name.lower() in given)}
            url = there
        raise OriginError(f"the origin redirects more than {REDIRECTS} times", 310)

    def _connection(self, parts: Any, proxy: Proxy | None, guards: list[socket.socket]) -> http.client.HTTPConnection:
        """Not yet connected. guards: by each, `patience` will cut the connection unless a head is there in time."""
        import http.client

        connection: http.client.HTTPConnection
        host, port = (parts.hostname, parts.port) if proxy is None else (proxy.host, proxy.port)
        if parts.scheme.lower() == "http":
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        else:
            connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._tls())
            if proxy is not None:
                connection.set_tunnel(ascii_host(parts.hostname), parts.port or PORTS["https"], proxy.headers)
        connection.response_class = _whole_heads()
        connect: Any = socket.create_connection
        if self._access is not None and proxy is None:
            connect = self._access.connect
        elif self._access is not None:
            self._access.check_name(parts.hostname)

        def dial(*where: Any) -> socket.socket:
            sock: socket.socket = connect(*where)
            # http.client's timeout starts again with each byte of a proxy's answer and of a head. Only another descriptor of this
            # connection is still one after TLS has taken the socket over.
            guards.append(sock.dup())
            patience.begin(guards[-1], self._timeout)
            return sock

        # The place where http.client lets its connecting be replaced; TLS, and the name it verifies, stay its business.
        cast("Any", connection)._create_connection = dial
        return connection

    def _tls(self) -> Any:
        import ssl

        from dfengine.net.tls import reason

        context = ssl.create_default_context()
        for pem in self._cacerts:
            text = pem.decode("ascii", "replace") if isinstance(pem, bytes) else pem
            given = isinstance(pem, bytes) or "-----BEGIN" in pem
            try:
                context.load_verify_locations(**{"cadata" if given else "cafile": text})
            except OSError as error:
                raise BadValue(f"the certificates {'that were sent' if given else text} cannot be read: {reason(error)}") from None
        if self._insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _Lines:
    """A file's lines, and the last one that was read."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self._file.readline(limit)
        return bytes(self.last)

    def close(self) -> None:
        self._file.close()


@functools.cache
def _whole_heads() -> Any:
    """http.client's answer, but a head that ends without its empty line is none.

    http.client takes the end of the connection for the end of the head: an answer cut before its Content-Length is a whole empty file.
    """
    import http.client

    class Answer(http.client.HTTPResponse):
        def begin(self) -> None:
            file, lines = self.fp, _Lines(self.fp)
            self.fp = lines  # type: ignore[assignment]
            super().begin()
            self.fp = file
            if lines.last not in (b"\r\n", b"\n"):
                raise http.client.HTTPException("its answer ends within the head")

    return Answer
