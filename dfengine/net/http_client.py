"""A small strict HTTP/1.1 client over one blocking keep-alive connection; every wait has a deadline.

Small because start-up time counts: it imports only `socket`. Strict because sources are not trusted: a head has at most 16 KiB and one
Content-Length of digits, which excludes a Transfer-Encoding; header lines cannot be folded.
Requests may be pipelined: call `send` several times, then read the responses in the same order.
"""

from __future__ import annotations

import contextlib
import socket
import time

from dfengine.errors import ProtocolViolation, Silent, SourceGone
from dfengine.net._receive import Receiver
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from typing import Any

    from dfengine.net.secret import Signer
    from dfengine.net.tls import TlsReceiver, WrapTls

JSON_HEADERS = {"Content-Type": "application/json;charset=utf-8"}
"""For a body in JSON. 1.x's client sends the same."""

CONNECT = 5.0
"""Default seconds to connect."""

SEND = 10.0
"""Timeout in seconds for sending a request through TLS; a plain socket uses its own."""

BODY_LIMIT = 8 << 20
"""Longest body of a control response that is read, in bytes."""

# Tables for bytes.translate: compiling patterns would add some milliseconds to the start of a small download.
_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CONTROL = bytes(range(9)) + bytes(range(10, 32)) + b"\x7f"


def _plain(text: bytes) -> bool:
    """Whether `text` has no control character except tab."""
    return len(text.translate(None, _CONTROL)) == len(text)


class Head(Value):
    """Head of a response. Names of `headers` are lower case; `length` is the body's length in bytes, -1 when it is not announced."""

    status: int
    headers: Mapping[str, str]
    length: int
    chunked: bool
    keep_alive: bool


def parse_head(raw: bytes) -> Head:
    """Parse the head of a response, with its closing empty line. Raises ProtocolViolation."""
    lines = raw.replace(b"\r\n", b"\n").split(b"\n")
    version, _, rest = lines[0].partition(b" ")
    code, space, reason = rest[:3], rest[3:4], rest[4:]
    if (
        version not in (b"HTTP/1.1", b"HTTP/1.0")
        or not (len(code) == 3 and code.isdigit() and b"1" <= code[:1] <= b"5")
        or space not in (b"", b" ")
        or not _plain(reason)
        or len(lines) < 3
        or lines[-1]
        or lines[-2]
    ):
        raise ProtocolViolation("the answer is not HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines[1:-2]:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not name or name.translate(None, _TOKEN) or not _plain(value):
            raise ProtocolViolation("a header line of the answer is malformed")
        key = name.decode().lower()
        if key in ("content-length", "transfer-encoding", "content-range") and key in headers:
            raise ProtocolViolation(f"the answer has two {name.decode()} headers")
        headers[key] = value.decode("latin-1")
    length, chunked = -1, False
    if (announced := headers.get("content-length")) is not None:
        if not (announced.isascii() and announced.isdigit() and len(announced) <= 18):
            raise ProtocolViolation("the answer's Content-Length is not a number")
        length = int(announced)
    if (coding := headers.get("transfer-encoding")) is not None:
        if coding.lower() != "chunked" or length >= 0:
            raise ProtocolViolation("the answer's length is ambiguous")
        chunked = True
    status = int(code)
    if status < 200 or status in (204, 304):
        length, chunked = 0, False
    keep_alive = headers.get("connection", "" if version == b"HTTP/1.1" else "close").lower() != "close"
    return Head(status, headers, length, chunked, keep_alive and (chunked or length >= 0))


def encode_request(method: str, target: str, host: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Encode one request. Raises ProtocolViolation for a target or header with a character that is not allowed on its line."""
    if not (target.isascii() and target.isprintable() and target.startswith("/")) or " " in target:
        raise ProtocolViolation(f"path {target!r} is not valid in a request")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    for name, value in headers.items():
        if not _plain(value.encode("latin-1", "replace")):
            raise ProtocolViolation(f"header {name} holds a control character")
        lines.append(f"{name}: {value}")
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


class Connection:
    """One connection to one address. One thread uses it; any thread may call `stop`.

    Raises SourceGone when the other side cannot be reached, closes or stays silent, ProtocolViolation when a response is not valid HTTP.
    """

    def __init__(self, host: str, port: int, *, timeout: float = CONNECT, local: str = "", named: bool | str = False,
                 opened: Callable[[socket.socket], None] | None = None, secret: bytes | None = None, wrap: WrapTls | None = None) -> None:
        """Connect within `timeout` seconds, with as long again for TLS, and for requesting the server's name when requests are signed.

        local: address to connect from; "" = the system's choice.
        named: with TLS, the other side's certificate must be for `host`, or for this name.
        opened: called with each socket before it connects; shutting the socket down ends the wait for it.
        secret: signs each request. wrap: makes TLS of the connected socket; None: plain.
        """
        self.host, self.port = host, port
        self._signer: Signer | None = None
        self.name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self._socket: socket.socket | ssl.SSLSocket = _connected(host, port, timeout, local, opened)
        except (OSError, UnicodeError) as error:
            kind = Silent if isinstance(error, TimeoutError) else SourceGone
            raise kind(f"{self.name} cannot be connected to: {_reason(error)}") from None
        self._tls: TlsReceiver | None = None
        self.receiver: Receiver | TlsReceiver
        if wrap is None:
            self._receive_plain()
        else:
            self._handshake(wrap, named, timeout)
        self.usable = True
        self.answers_read = 0
        """Answers whose heads were read."""
        if secret is not None:
            self._learn_name(secret, timeout)

    def _receive_plain(self) -> None:
        try:
            # Blocking from here on: the receiver's own timeouts bound each wait, and one call may receive a megabyte.
            self._socket.setblocking(True)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.receiver = Receiver(self._socket.fileno())
        except (OSError, SourceGone):
            self._socket.close()
            raise SourceGone(f"{self.name} closed the connection") from None

    def _learn_name(self, secret: bytes, timeout: float) -> None:
        """Request the server's name, for which requests are signed."""
        from dfengine.net.secret import SERVER_NAME, Signer, name_in

        try:
            status, _, body = self.request("GET", SERVER_NAME, timeout=timeout)
            self._signer = Signer(secret, name_in(status, body))
        except (SourceGone, ProtocolViolation):
            self.close()
            raise
        self.answers_read = 0

    def _handshake(self, wrap: WrapTls, named: bool | str, timeout: float) -> None:
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket, self.receiver = wrap(self._socket, self.host, named, timeout)
        except (OSError, ValueError) as error:
            from dfengine.net.tls import reason

            self._socket.close()
            kind = Silent if isinstance(error, TimeoutError) else SourceGone
            raise kind(f"{self.name}: no TLS: {reason(error)}") from None
        self._tls = self.receiver

    def fileno(self) -> int:
        """Return the descriptor for poll; read `receiver.buffered` first."""
        return self._socket.fileno()

    @property
    def descriptors(self) -> list[int]:
        """See fork_safety.Open."""
        return [self._socket.fileno()]

    @property
    def readable(self) -> bool:
        """Whether received bytes wait to be read."""
        if self._tls is not None:
            return self._tls.has_bytes()
        try:
            return bool(self.receiver.buffered or self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False

    @property
    def reusable(self) -> bool:
        """Whether the connection can be reused: the other side has neither sent bytes nor closed it. Call between responses only."""
        if not self.usable or self.receiver.buffered:
            return False
        import select

        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN | select.POLLRDHUP)
        return not poll.poll(0)

    @property
    def unread(self) -> int:
        """Received bytes that wait in the kernel. From any thread, until the connection is closed."""
        import fcntl
        import sys
        import termios

        waiting = bytearray(4)
        with contextlib.suppress(OSError, ValueError):
            fcntl.ioctl(self._socket.fileno(), termios.FIONREAD, waiting)
        return int.from_bytes(waiting, sys.byteorder)

    @property
    def remote_ip(self) -> str:
        """Address of the other side. Raises SourceGone."""
        try:
            return str(self._socket.getpeername()[0])
        except OSError:  # the connection was already reset
            raise SourceGone(f"{self.name} closed the connection") from None

    def send(self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """Send one whole request; at most 10 seconds without progress."""
        if self._signer is not None:
            given = headers or {}
            headers = {**given, "Dfengine-Auth": self._signer.sign(method, target, body, given.get("Range", ""))}
        request = encode_request(method, target, self.name, headers or {}, body)
        try:
            if self._tls is not None:
                self._socket.settimeout(SEND)
            self._socket.sendall(request)
        except OSError as error:
            self.usable = False
            raise SourceGone(f"{self.name}: the request cannot be sent: {_reason(error)}") from None

    def head(self, deadline: float) -> Head:
        """Read the next response's head, skipping interim responses. deadline: monotonic seconds."""
        for _ in range(8):
            try:
                head = parse_head(self.receiver.head(deadline))
            except (SourceGone, ProtocolViolation) as error:
                self.usable = False
                raise type(error)(f"{self.name}: {error}") from None
            if head.status >= 200:
                self.usable = self.usable and head.keep_alive
                self.answers_read += 1
                return head
        self.usable = False
        raise ProtocolViolation(f"{self.name} sends interim answers without end")

    def body(self, head: Head, deadline: float, limit: int = BODY_LIMIT) -> bytes:
        """Read the whole body that `head` announces. Raises ProtocolViolation if it is longer than `token_bucket` bytes."""
        try:
            if head.chunked:
                from dfengine.net.chunks import Chunks

                return Chunks(self.receiver).read_all(deadline, limit)
            if head.length > limit:
                raise ProtocolViolation(f"an answer of {head.length} bytes is longer than {limit}")
            return self.receiver.read(head.length, deadline) if head.length >= 0 else self._read_to_end(deadline, limit)
        except (SourceGone, ProtocolViolation) as error:
            self.usable = False
            raise type(error)(f"{self.name}: {error}") from None

    def _read_to_end(self, deadline: float, limit: int) -> bytes:
        """Read a body without a length, which ends with the connection, as in HTTP/1.0."""
        body = self.receiver.read(self.receiver.buffered, deadline)
        while len(body) <= limit:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                part = self._socket.recv(64 << 10)
            except OSError as error:
                raise SourceGone(f"the answer broke off: {_reason(error)}") from None
            if not part:
                return body
            body += part
        raise ProtocolViolation(f"the answer is longer than {limit} bytes")

    def answer(self, deadline: float) -> tuple[int, bytes]:
        """Read the next response to a control request: (status, body). deadline: monotonic seconds."""
        head = self.head(deadline)
        return head.status, self.body(head, deadline)

    def request(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"", *, timeout: float = 10.0
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send and read one control message: (status, headers, body). timeout: seconds for the response."""
        self.send(method, target, headers, body)
        deadline = time.monotonic() + timeout
        head = self.head(deadline)
        return head.status, head.headers, self.body(head, deadline)

    def stop(self) -> None:
        """Stop the connection from any thread; a thread that waits on it gets SourceGone at once."""
        self.usable = False
        self.receiver.stop()

    def close(self) -> None:
        """Close the connection, in the thread that uses it."""
        self.usable = False
        with contextlib.suppress(OSError):
            self._socket.close()


def _connected(host: str, port: int, timeout: float, local: str, opened: Callable[[socket.socket], None] | None) -> socket.socket:
    """Connect to the first address of the host that accepts, each within `timeout` seconds. Raises OSError, UnicodeError."""
    failure: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(_name(host), port, type=socket.SOCK_STREAM):
        made = None
        try:
            made = socket.socket(family, kind, protocol)
            made.settimeout(timeout)
            if local:
                made.bind((local, 0))
            if opened is not None:
                opened(made)
            made.connect(address)
            return made
        except OSError as error:
            failure = failure or error
            if made is not None:
                made.close()
        except BaseException:  # raised by `opened`, or by a signal's handler
            if made is not None:
                made.close()
            raise
    raise failure or OSError("it has no address")


def local_address(host: str, port: int) -> str:
    """Return this host's address on the route to `host`, "" when there is no route. Sends no packets."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(_name(host), port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except (OSError, UnicodeError):
        return ""


def _name(host: str) -> Any:
    """Return the host as the resolver accepts it. As bytes, an ASCII name does not load the codec for other names."""
    return host.encode() if host.isascii() else host


def _reason(error: BaseException) -> str:
    """Describe the error in the system's words."""
    if isinstance(error, TimeoutError):
        return "timed out"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
