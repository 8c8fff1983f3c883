"""TLS between the swarm's members: contexts, and receiving through TLS. Imported only where TLS is configured.

TLS 1.3 only: both ends are dfengine's. Session tickets are disabled, so bytes from the other side always belong to a response. A server
sends its certificate, and with a CA requires one of that CA from clients. A client requires a certificate of the CA. A supernode's
certificate must be for the name or address connected to; a peer's need not, because peers' addresses change and their bytes are verified by
digest.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterable

from dfengine.errors import BadValue, ProtocolViolation, Silent, SourceGone, TooSlow
from dfengine.net._receive import HEAD_LIMIT
from dfengine.net.private_files import check_private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Buffer

CLOSED = "connection was closed before the answer was whole"
STOPPED = "connection was stopped"
_SHORT = {CLOSED: "closed", STOPPED: "stopped"}

TICK = 0.5
"""Seconds between a receive's checks for being stopped, silent or too slow."""

SUSPENDED = 1.0
"""Seconds of one receive beyond which this process did not run, so that the time does not count."""


class TlsReceiver:
    """The TLS counterpart of `_receive.Receiver`, with the same methods, limits and errors; `sock` has finished its handshake."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self.fd = sock.fileno()
        self.total = 0
        self._buffer = bytearray(HEAD_LIMIT)
        self._start = self._end = 0
        self._stopped = False

    @property
    def buffered(self) -> int:
        """Received bytes that are not taken yet: a poll of the socket does not show them."""
        return self._end - self._start + self._sock.pending()

    def has_bytes(self) -> bool:
        """Whether received bytes are available; does not wait."""
        with contextlib.suppress(SourceGone):
            if not self.buffered:
                self._receive_more(0.0)
        return bool(self.buffered)

    def stop(self) -> None:
        """Stop from any thread: a receive in progress ends with SourceGone at once, and so does every later one."""
        self._stopped = True
        with contextlib.suppress(OSError):
            # SSLSocket's own method would remove the session that the reading thread uses.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def _receive(self, view: memoryview, seconds: float) -> int:
        """Return the number of bytes received, 0 when none arrived in time. Raises SourceGone."""
        if self._stopped:
            raise SourceGone(STOPPED)
        try:
            self._sock.settimeout(max(seconds, 0.0))
            got = self._sock.recv_into(view)
        except (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except (OSError, ValueError) as error:
            raise SourceGone(STOPPED if self._stopped else f"connection failed: {reason(error)}") from None
        if not got:
            raise SourceGone(CLOSED)
        self.total += got
        return got

    def _receive_more(self, deadline: float) -> None:
        if self._start:
            self._buffer[: self._end - self._start] = self._buffer[self._start : self._end]
            self._start, self._end = 0, self._end - self._start
        while True:
            left = deadline - time.monotonic()
            got = self._receive(memoryview(self._buffer)[self._end :], min(left, TICK))
            if got:
                self._end += got
                return
            if left <= 0:
                raise Silent("no answer in time")

    def _consume(self, count: int) -> bytes:
        taken = bytes(self._buffer[self._start : self._start + count])
        self._start += count
        if self._start == self._end:
            self._start = self._end = 0
        return taken

    def _until(self, ends: Callable[[int], int], what: str, deadline: float) -> bytes:
        while (past := ends(self._start)) < 0:
            if self._end - self._start == HEAD_LIMIT:
                raise ProtocolViolation(f"{what} of the answer is longer than {HEAD_LIMIT} bytes")
            self._receive_more(deadline)
        return self._consume(past - self._start)

    def _line_end(self, start: int) -> int:
        return self._buffer.find(b"\n", start, self._end) + 1 or -1

    def _head_end(self, start: int) -> int:
        past = start
        while (past := self._line_end(past)) > 0:
            if self._buffer.endswith((b"\n\n", b"\n\r\n"), start, past):
                return past
        return -1

    def head(self, deadline: float) -> bytes:
        return self._until(self._head_end, "the head", deadline)

    def line(self, deadline: float) -> bytes:
        return self._until(self._line_end, "a line", deadline)

    def read(self, length: int, deadline: float) -> bytes:
        parts = []
        while length > 0:
            if self._start == self._end:
                self._receive_more(deadline)
            parts.append(self._consume(min(length, self._end - self._start)))
            length -= len(parts[-1])
        return b"".join(parts)

    def into(
        self, buffer: Buffer, offset: int, length: int, *, silence: float = 10.0, floor: float = 0.0, grace: float = 10.0,
        started: float = 0.0, before: int = 0, after: int = 0,
    ) -> float:
        with memoryview(buffer) as whole:
            if offset < 0 or length < 0 or offset > whole.nbytes - length:
                raise ValueError("the content does not fit the buffer")
            view = whole.cast("B")[offset : offset + length]
            now = last_received = time.monotonic()
            began = started = started if started > 0 else now
            got = min(length, self._end - self._start)
            view[:got] = self._consume(got)
            while got < length:
                try:
                    count = self._receive(view[got:], TICK)
                except SourceGone as error:
                    short = _SHORT.get(str(error), str(error))
                    raise SourceGone(f"{short} after {got} of {length} bytes") from None
                called_at, now = now, time.monotonic()
                if now - called_at > SUSPENDED:
                    started += now - called_at - TICK
                    last_received += now - called_at - TICK
                got += count
                if count:
                    last_received = now
                elif now - last_received > silence:
                    raise Silent(f"silent for {silence:g} s after {got} of {length} bytes")
                if before + got < floor * (now - started - grace) and got < length:
                    raise TooSlow(f"slower than {int(floor)} bytes per second after {got} of {length} bytes")
            return started - began


def reason(error: BaseException) -> str:
    """Describe the error in OpenSSL's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    text = getattr(error, "reason", None)
    if isinstance(text, str):
        return text.lower().replace("_", " ")
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def client(cert: str, key: str, ca: str, named: bool) -> ssl.SSLContext:
    """Context for clients. named: the certificate must be for the name or address connected to. Raises BadValue."""
    if not ca:
        raise BadValue("--tls-cert needs --tls-ca, the certificates to trust")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = named
    return _load_files(context, cert, key, ca)


def server(cert: str, key: str, ca: str) -> ssl.SSLContext:
    """Context for servers; with a CA, clients must send a certificate of it. Raises BadValue."""
    if not cert:
        raise BadValue("--tls-ca needs --tls-cert: a server shows a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    if ca:
        context.verify_mode = ssl.CERT_REQUIRED
    return _load_files(context, cert, key, ca)


def reload(contexts: Iterable[ssl.SSLContext], cert: str, key: str, ca: str) -> None:
    """Use the files' current content for new handshakes; a CA that was removed from the files stays trusted until the process ends.

    Raises BadValue; nothing is changed then.
    """
    _load_files(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert, key, ca)
    for context in contexts:
        _load_files(context, cert, key, ca)


def _load_files(context: ssl.SSLContext, cert: str, key: str, ca: str) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if key and not cert:
        raise BadValue("--tls-key needs --tls-cert")
    try:
        if cert:
            check_private(key or cert, os.stat(os.path.expanduser(key or cert)))
        if ca:
            context.load_verify_locations(os.path.expanduser(ca))
        if cert:
            context.load_cert_chain(os.path.expanduser(cert), os.path.expanduser(key) if key else None, password=lambda: b"")
    except OSError as error:
        files = " or ".join(filter(None, (ca, cert, key)))
        raise BadValue(f"{files} cannot be used for TLS: {reason(error)}") from None
    return context


WrapTls = Callable[[socket.socket, str, bool | str, float], tuple[ssl.SSLSocket, TlsReceiver]]


def tls_wrapper(cert: str, key: str, ca: str) -> WrapTls:
    """Return a function that starts TLS on a connected socket. Raises BadValue.

    Its arguments: socket, host, whether the certificate must be for `host`, or the name that it must be for, seconds. It raises OSError,
    and the socket is closed then.
    """
    contexts = {named: client(cert, key, ca, named) for named in (False, True)}

    def wrap(sock: socket.socket, host: str, named: bool | str, seconds: float) -> tuple[ssl.SSLSocket, TlsReceiver]:
        sock.settimeout(seconds)
        wrapped = contexts[bool(named)].wrap_socket(sock, server_hostname=(host if named is True else named) or None)
        return wrapped, TlsReceiver(wrapped)

    return wrap
