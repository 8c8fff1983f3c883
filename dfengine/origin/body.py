"""One request to an origin: the response's head, then its body into the caller's buffers."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pycurl

from dfengine.errors import (
    OriginError,
    OriginForbidden,
    OriginSlow,
    OriginTruncated,
    OriginUnreachable,
    OriginUntrusted,
    SourceGone,
)
from dfengine.net.origin_access import OriginAccess
from dfengine.origin.cancel import Cancel
from dfengine.origin.curl_transfers import TICK, CurlTransfers
from dfengine.origin.head import Head
from dfengine.origin.retry import SUSPENDED, TRANSIENT
from dfengine.origin.version import Version

SILENCE = 30.0
"""Seconds without a byte of the body after which an origin counts as unreachable; also the limit for connecting."""

STEP = 1 << 20
"""Bytes over which the minimum rate is measured."""

RECEIVE = 512 << 10
"""Bytes that libcurl receives at once: the fastest of 16 KiB to 4 MiB, at 0.4 CPU s/GB with libcurl's one copy."""

# Codes of libcurl that pycurl has no names for: CURLE_WEIRD_SERVER_REPLY, CURLE_HTTP2_STREAM, CURLE_PROXY, CURLE_TOO_LARGE.
_WEIRD_REPLY, _HTTP2_STREAM, _PROXY, _TOO_LARGE = 8, 92, 97, 100
_SUPPRESS_CONNECT_HEADERS = 265
_SOCKS_REFUSAL = frozenset((7, 8, 9, 10, 11, 12, 23, 33))
"""CURLPX_ codes by which a SOCKS proxy refuses the user, or refuses this user the origin: a retry would fail as well."""
_SOCKS_REPLY = {19: "the connection was refused", 20: "it failed", 21: "the host is unreachable", 22: "the network is unreachable",
                23: "it does not allow this", 24: "the time to live is over"}
"""Meaning of a SOCKS5 proxy's reply (RFC 1928 section 6), by CURLPX_ code: libcurl reports the code alone."""
_CUT = frozenset((pycurl.E_PARTIAL_FILE, pycurl.E_RECV_ERROR, pycurl.E_HTTP2, _HTTP2_STREAM, pycurl.E_GOT_NOTHING))
_CERTIFICATE = frozenset((pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE, pycurl.E_SSL_CERTPROBLEM))
_NONSENSE = frozenset((pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_URL_MALFORMAT, _WEIRD_REPLY, _TOO_LARGE))


class _OwnedSocket(socket.socket):
    """pycurl duplicates this socket's descriptor and drops the socket, which `__del__` then closes without a ResourceWarning."""

    def __del__(self) -> None:
        self.close()


def _set_close_on_exec(fd: int, purpose: int) -> int:
    """Set close-on-exec on the duplicate, which lacks it: processes that this one starts must not inherit the descriptor."""
    os.set_inheritable(fd, False)
    return int(pycurl.SOCKOPT_OK)


@contextlib.contextmanager
def naming(place: str) -> Iterator[None]:
    """Prefix OriginError with the server that sent the invalid head."""
    try:
        yield
    except OriginError as error:
        error.args = (f"{place}: {error}", *error.args[1:])
        raise


class Body:
    """The response to one GET. `open` waits for the head; then `http` sets `start`, `length`, `version` and `ranged`.

    start: offset in the task's file of the next byte. length: bytes of the whole file, -1 unknown. remaining: bytes of this response that
    are not read yet, -1 unknown; limit: upper limit of bytes to read, -1 none. prefix_skipped: bytes of the origin's file before the
    task's. redirect_heads: heads of the redirects before this response. ranged: a 206 that matches the request. bounded: the response ends
    before the file does. end_unknown: the response's end may or may not be the file's. not_modified: the validators still match, and there
    is no body. vary: names of request headers that this response, or a redirect to it, depends on, in lower case. proxied: the connection
    is to a proxy; proxy_by_tls: that proxy presents a certificate, too.
    """

    def __init__(
        self, place: str, cancel: Cancel, floor: float, host: str = "", access: OriginAccess | None = None,
        kept: CurlTransfers | None = None,
    ) -> None:
        """floor: minimum bytes per second, 0: none. access: addresses that `host` may resolve to, None: any. kept: the
        transfers whose connections are used and left open; None: own ones."""
        self.place = place
        self.head = Head(0)
        self.start = 0
        self.length = self.remaining = self.limit = -1
        self.prefix_skipped = 0
        self.version = Version()
        self.vary: frozenset[str] = frozenset()
        self.redirect_heads: list[Head] = []
        self.ranged = self.not_modified = self.bounded = self.end_unknown = False
        self.proxied = self.proxy_by_tls = self._tunnel = False
        self._host = host
        self._access = access
        self._denied = False
        self._floor = floor
        self._kept = kept
        self._transfers: CurlTransfers | None = kept or CurlTransfers(cancel)
        self._easy: Any = self._transfers.easy()
        self._lines: list[bytes] = []
        self._whole = self._began = self._paused = False
        self._options: dict[int, Any] = {}
        self._into = memoryview(b"")
        self._at = 0
        self._spill = memoryview(b"")
        self._quiet = self._slow = 0.0
        self._measured = 0

    # The head.

    def begin(self, options: dict[int, Any], tunnel: bool) -> None:
        """Queue the request described by `options` (libcurl's, by number) for libcurl's next step. tunnel: sent by CONNECT through a
        proxy.
        """
        easy, self._options = self._easy, options
        for option, value in options.items():
            easy.setopt(option, value)
        easy.setopt(pycurl.HEADERFUNCTION, self._header)
        easy.setopt(pycurl.WRITEFUNCTION, self._write)
        easy.setopt(pycurl.BUFFERSIZE, RECEIVE)
        # The head of a proxy's response to CONNECT does not describe the file; its Content-Length is ignored (RFC 9110 section 9.3.6).
        easy.setopt(_SUPPRESS_CONNECT_HEADERS, 1)
        self._tunnel = tunnel
        if self._access is not None:
            easy.setopt(pycurl.OPENSOCKETFUNCTION, self._socket)
            easy.setopt(pycurl.SOCKOPTFUNCTION, _set_close_on_exec)
        self._open_transfers().begin(easy)

    def open(self, seconds: float, waiting: Callable[[], None] | None = None) -> None:
        """Wait up to `seconds` for the head, 0: without limit. waiting: called every TICK; an exception that it raises ends the wait.

        Raises OriginError and its subclasses, SourceGone when cancelled.
        """
        transfers = self._open_transfers()
        until = time.monotonic() + seconds if seconds else None
        while not self._whole:
            if transfers.result(self._easy) is not None:
                if self._lines or not transfers.was_kept(self._easy):
                    raise self._failure(False)
                self._retry_on_new_connection(transfers)
            left = TICK if until is None else min(TICK, until - time.monotonic())
            if left <= 0:
                raise OriginUnreachable(f"{self.place} does not answer within {seconds:.0f} s")
            transfers.step(left)
            if waiting is not None:
                waiting()
        with naming(self.place):
            self.head = Head.parse(self._lines)
        self._lines = []

    def _retry_on_new_connection(self, transfers: CurlTransfers) -> None:
        """Repeat the request on a new connection: extra bytes on a kept connection belong to no response."""
        transfers.end(self._easy)
        self._easy = transfers.easy()
        self.begin(self._options | {pycurl.FRESH_CONNECT: 1}, self._tunnel)

    def _open_transfers(self) -> CurlTransfers:
        assert self._transfers is not None
        return self._transfers

    def _header(self, line: bytes) -> int | None:
        if self._began:
            return None  # a trailer
        if self._transfers is None or self._transfers.is_early(self._easy):
            return -1  # no caller reads it, or the line precedes the request
        if line[:5] == b"HTTP/":
            self._lines, self._whole = [], False
        if line in (b"\r\n", b"\n"):
            # An interim response is followed by another head (RFC 9110 section 15.2).
            status = self._lines[0].split()[1:2] if self._lines else []
            self._whole = bool(status) and (status[0][:1] != b"1" or status[0] == b"101")
        else:
            self._lines.append(line)
        return None

    def _socket(self, purpose: int, address: Any) -> Any:
        family, kind, protocol, place = address[:4]
        if self._access is not None and not self._access.permits(self._host, str(place[0])):
            self._denied = True
            return pycurl.SOCKET_BAD
        return _OwnedSocket(family, kind, protocol)

    # The body.

    def _write(self, data: bytes) -> int:
        self._began = True
        if self._spill:
            self._paused = True
            return int(pycurl.WRITEFUNC_PAUSE)
        count = min(len(data), len(self._into) - self._at)
        if count:
            self._into[self._at : self._at + count] = data if count == len(data) else memoryview(data)[:count]
            self._at += count
        if count < len(data):
            self._spill = memoryview(data)[count:]
        return len(data)

    def read_into(self, buffer: memoryview, waiting: Callable[[], None] | None = None) -> int:
        """Read the next bytes into `buffer`, at least one unless the body has ended; 0 is its proper end.

        waiting: called every TICK until a byte arrives; an exception that it raises ends the wait, and reading can be resumed.
        Raises OriginTruncated when the body ends early, OriginUnreachable when no byte arrives for SILENCE seconds, OriginSlow below the
        minimum rate, OriginError when the file ends before the task begins, SourceGone when cancelled. Bytes that arrived before the
        failure are returned first.
        """
        if self._floor and self._slow > SILENCE + STEP / self._floor:
            raise OriginSlow(f"{self.place} sends less than {self._floor:.0f} bytes per second")
        want = min([len(buffer), *(each for each in (self.remaining, self.limit) if each >= 0)])
        if not want:
            return 0
        transfers = self._open_transfers()
        self._into, self._at = buffer[:want], 0
        if self._spill:
            count = min(len(self._spill), want)
            self._into[:count] = self._spill[:count]
            self._spill, self._at = self._spill[count:], count
        try:
            while self._at < want:
                if self._paused and not self._spill:
                    self._paused = False
                    transfers.resume(self._easy)
                    continue
                if transfers.result(self._easy) is not None:
                    break
                if self._at:
                    if not transfers.step(0.0):
                        break
                else:
                    began = time.monotonic()
                    transfers.step(TICK)
                    self._wait(time.monotonic() - began)
                    if waiting is not None and not self._at:
                        waiting()
        finally:
            got, self._into = self._at, memoryview(b"")
            self._at = 0
        if not got and (result := transfers.result(self._easy)) is not None:
            if result[0]:
                raise self._failure(True)
            if self.remaining > 0:
                raise OriginTruncated(f"{self.place} ends its answer {self.remaining} bytes early")
            if self.prefix_skipped and self.start <= 0:
                raise OriginError(f"{self.place} has no byte {self.prefix_skipped}: its file has {self.prefix_skipped + self.start}", 416)
            return 0
        self._count(got)
        return got

    def _wait(self, seconds: float) -> None:
        """Count only the time of one step in which this side waits: neither a reader that pauses nor a suspended process makes the origin
        slow.
        """
        if seconds > SUSPENDED:
            seconds = TICK
        self._slow += seconds
        self._quiet = 0.0 if self._at else self._quiet + seconds
        if self._quiet > SILENCE:
            raise OriginUnreachable(f"{self.place} sends nothing any more")

    def _count(self, got: int) -> None:
        self._measured += got
        if self._measured >= STEP:
            self._measured, self._slow = 0, 0.0
        self.start += got
        if self.remaining > 0:
            self.remaining -= got
        if self.limit > 0:
            self.limit -= got

    def _failure(self, started: bool) -> OriginError:
        """The error that ended the transfer."""
        code, reason_given = self._open_transfers().result(self._easy) or (0, "")
        if self._denied:
            return OriginForbidden(f"this supernode may not fetch from {self._host}")
        number = self._easy.getinfo(pycurl.OS_ERRNO)
        reason = reason_given
        if code == pycurl.E_COULDNT_CONNECT and number:
            reason = os.strerror(number)
        answered = self._easy.getinfo(pycurl.HTTP_CONNECTCODE) if self._tunnel else 0
        if answered and answered // 100 != 2:
            return OriginUnreachable(f"{self.place} cannot be reached: the proxy answers {answered}", final=answered not in TRANSIENT)
        if code in _CERTIFICATE:
            subject = "the proxy's" if self.proxy_by_tls and not answered and not self._lines else "its"
            return OriginUntrusted(f"{self.place.rstrip(',')}: {subject} certificate is not trusted: {reason}", final=True)
        if "certificate required" in reason:
            return OriginUnreachable(f"{self.place} requires a client certificate (--cert, --key): {reason}", final=True)
        if code == _PROXY:
            why = self._easy.getinfo(pycurl.PROXY_ERROR)
            meant = f": {_SOCKS_REPLY[why]}" if why in _SOCKS_REPLY else ""
            return OriginUnreachable(f"{self.place} cannot be reached: {reason.rstrip('.')}{meant}", final=why in _SOCKS_REFUSAL)
        if code == pycurl.E_SSL_CONNECT_ERROR and ("alert" in reason or "wrong version" in reason):
            return OriginUnreachable(f"{self.place} does not complete the TLS handshake: {reason}", final=True)
        if code in _NONSENSE and started:
            return OriginTruncated(f"{self.place} breaks off the chunks of its answer: {reason}")
        if code in _NONSENSE:
            return OriginError(f"{self.place} does not answer with HTTP: {reason}", final=True)
        if started and (code in _CUT or not code):
            return OriginTruncated(f"{self.place} breaks off its answer: {reason or 'the connection was closed'}")
        if self._lines:
            return OriginUnreachable(f"{self.place} breaks off within the head of its answer: {reason or 'the connection was closed'}")
        if code == pycurl.E_GOT_NOTHING or not code:
            return OriginUnreachable(f"{self.place} gives no answer: it closes the connection")
        tunnel = self._easy.getinfo(pycurl.HTTP_CONNECTCODE)
        found = OriginUnreachable(f"{self.place} cannot be reached: {reason}", final=tunnel >= 300 and tunnel not in TRANSIENT)
        found.unconnected = code == pycurl.E_COULDNT_CONNECT and not self.proxied
        return found

    def close(self) -> None:
        """Release the connection. Idempotent."""
        transfers, self._transfers = self._transfers, None
        self._spill = memoryview(b"")
        if transfers is None:
            return
        if self._kept is None:
            transfers.close()
            return
        if not self.remaining and transfers.result(self._easy) is None:
            with contextlib.suppress(SourceGone):
                transfers.step(0.0)  # all bytes arrived, and libcurl has not read the end yet
        transfers.end(self._easy)
