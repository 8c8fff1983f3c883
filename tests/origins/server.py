"""A scripted origin on 127.0.0.1: a thread per connection; the script decides on every byte and every cut."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

STEP = 64 << 10
"""Bytes of a body that are sent at once."""

STILL = 0.3
"""Seconds without a byte sent after which a client counts as not reading."""

QUIET = 20.0
"""Seconds after which an idle connection is closed."""


class Gone(Exception):
    """The client, the script or the server ended this connection."""


@dataclass(frozen=True)
class Request:
    """A request of a client. headers: in order, names as received, values as bytes. body_sent: body bytes sent in response."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, bytes], ...]

    def all(self, name: str) -> list[bytes]:
        """The values of each line with that name, which is case-insensitive."""
        return [value for each, value in self.headers if each.lower() == name.lower()]

    def get(self, name: str) -> str:
        """The first value of that name, "" if there is none."""
        return next((value.decode("latin-1") for value in self.all(name)), "")

    @property
    def path(self) -> str:
        """The target without scheme, authority and query."""
        return re.sub(r"^http://[^/?]*", "", self.target).partition("?")[0]

    def range(self, length: int) -> tuple[int, int] | None:
        """(first, last) byte of `bytes=A-B`, `A-`, `-N` within `length` bytes; None without one; (-1, -1) if it cannot be satisfied."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.get("range").replace(" ", ""))
        if match is None or match[0] == "bytes=-":
            return None
        if not match[1]:
            first, last = max(0, length - int(match[2])), length - 1
        else:
            first, last = int(match[1]), min(int(match[2] or length - 1), length - 1)
        return (first, last) if first <= last else (-1, -1)


class Gate:
    """Blocks bodies in the middle until it is opened: the moment to kill a download.

    The first body continues for `first` bytes, so that a whole piece arrives where the file has several; each other body for `others`.
    `reached` is set when a body is blocked and the first one has sent its bytes, has ended, or its client reads no more.
    """

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.opened.set()
        self._lock = threading.Lock()
        self._first = self._others = 0
        self._sent: dict[Exchange, int] = {}
        self._leader: Exchange | None = None
        self._over = False
        self._moved = 0.0

    def close(self, first: int, others: int) -> None:
        """Block bodies from now on."""
        self._first, self._others = first, others
        self.opened.clear()

    def take(self, x: Exchange, wanted: int) -> int:
        """The number of bytes of `wanted` that may be sent now; 0: wait."""
        if self.opened.is_set():
            return wanted
        with self._lock:
            if self._leader is None:
                self._leader = x
            sent = self._sent.get(x, 0)
            wanted = max(0, min(wanted, (self._first if x is self._leader else self._others) - sent))
            self._sent[x] = sent + wanted
            now = time.monotonic()
            if wanted:
                self._moved = now
            elif self._over or x is self._leader or now > self._moved + STILL:
                self._over = True
                self.reached.set()
            return wanted

    def left(self, x: Exchange) -> None:
        """Register that this exchange is over."""
        with self._lock:
            self._over = self._over or x is self._leader

    def open(self) -> None:
        """Release all bodies."""
        self.opened.set()


class Exchange:
    """One request and its connection. n: number of earlier requests to the server."""

    def __init__(self, server: Server, sock: socket.socket, request: Request, n: int) -> None:
        self.server = server
        self.sock = sock
        self.request = request
        self.n = n
        self.keep = request.version == "HTTP/1.1" and "close" not in request.get("connection").lower()

    @property
    def file(self) -> bytes:
        """The version that the server has now."""
        return self.server.versions[self.server.now]

    def claim(self, limit: int = 1) -> bool:
        """Take one of the server's `limit` places until the end of this exchange; False if none is free."""
        with self.server.lock:
            if len(self.server.claims) >= limit:
                return False
            self.server.claims.add(self)
            return True

    def send(self, data: bytes | memoryview) -> None:
        """Send exactly these bytes. Raises Gone."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone from error

    def body(self, data: bytes, rate: float = 0.0) -> None:
        """Send bytes of a body, past the gate. `rate`: bytes per second, 0 = unlimited. Raises Gone.

        Its place (`claim`) is released before the last bytes are sent: a client that has them may send its next request at once.
        """
        at, began = 0, time.monotonic()
        view = memoryview(data)
        most = min(STEP, int(rate / 20) + 1) if rate else STEP
        while at < len(data):
            step = self.server.gate.take(self, min(most, len(data) - at))
            if not step:
                self._look()
                continue
            if at + step == len(data):
                with self.server.lock:
                    self.server.claims.discard(self)
            self.send(view[at : at + step])
            at += step
            if rate and at < len(data):
                self.pause(began + at / rate - time.monotonic())

    def _look(self) -> None:
        """Wait a moment for the gate. Raises Gone when the client has left."""
        if self.server.gate.opened.wait(0.02):
            return
        if select.select([self.sock], [], [], 0)[0]:
            try:
                gone = not self.sock.recv(1, socket.MSG_PEEK)
            except ConnectionError as error:
                raise Gone from error
            if gone:
                raise Gone

    def pause(self, seconds: float) -> None:
        """Send nothing for a while. Raises Gone when the server ends."""
        if seconds > 0 and self.server.stopped.wait(seconds):
            raise Gone

    def silence(self) -> None:
        """Send nothing until the client or the server ends the connection. Raises Gone."""
        self.sock.settimeout(0.2)
        while not self.server.stopped.is_set():
            try:
                if not self.sock.recv(1024):
                    break
            except TimeoutError:
                continue
        raise Gone

    def fin(self) -> None:
        """Close in good order. Raises Gone."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(1.0)
            while self.sock.recv(4096):
                pass
        raise Gone

    def rst(self) -> None:
        """Reset the connection; bytes in the socket's buffers are lost. Raises Gone."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone


Script = Callable[[Exchange], None]
"""Responds to one request. It may raise Gone. When it returns, the connection is kept if `keep` is still true."""


class Server:
    """A scripted server, used as a context. versions: the file's successive versions; now: index of the present one.

    late: seconds for which connections are refused. other: a second server, a target of redirects.
    """

    def __init__(self, script: Script, versions: tuple[bytes, ...], *, late: float = 0.0, other: Server | None = None) -> None:
        self.script = script
        self.versions = versions
        self.other = other
        self.now = 0
        self.gate = Gate()
        self.lock = threading.Lock()
        self.log: list[Request] = []
        self.failures: list[str] = []
        self.busy = 0
        self.claims: set[Exchange] = set()
        self.began = 0.0
        self.stopped = threading.Event()
        self._late = late
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self) -> Server:
        self.began = time.monotonic()
        if not self._late:
            self._listener.listen(256)
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.gate.open()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self.lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            threads = list(self._threads)
        for thread in threads:
            thread.join(10.0)

    def since(self) -> float:
        """Seconds since the server started."""
        return time.monotonic() - self.began

    def asked(self, path: str) -> int:
        """Number of requests for that path, including the present one."""
        with self.lock:
            return sum(request.path == path for request in self.log)

    def _run(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        with self.lock:
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        if self._late:
            if self.stopped.wait(self._late):
                return
            self._listener.listen(256)
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self.lock:
                self._open.add(sock)
            self._run(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(QUIET)
        try:
            with sock, contextlib.suppress(Gone, OSError):
                while self._one(sock):
                    pass
        finally:
            with self.lock:
                self._open.discard(sock)

    def _one(self, sock: socket.socket) -> bool:
        """Read one request and respond. Return whether the connection is kept."""
        request = _read(sock)
        if request is None:
            return False
        with self.lock:
            n = len(self.log)
            self.log.append(request)
            self.busy += 1
        exchange = Exchange(self, sock, request, n)
        try:
            self.script(exchange)
            if not exchange.keep:
                exchange.fin()
        except (Gone, OSError):
            raise
        except Exception as error:
            with self.lock:
                self.failures.append(f"{type(error).__name__}: {error}")
            return False
        finally:
            with self.lock:
                self.busy -= 1
                self.claims.discard(exchange)
            self.gate.left(exchange)
        return True


def _read(sock: socket.socket) -> Request | None:
    """Read one request's head. None at the end of the connection."""
    head = b""
    while b"\r\n\r\n" not in head:
        block = sock.recv(65536)
        if not block:
            return None
        head += block
    first, *lines = head.partition(b"\r\n\r\n")[0].split(b"\r\n")
    method, target, version = first.decode("latin-1").split(" ", 2)
    headers = []
    for line in lines:
        name, _, value = line.partition(b":")
        headers.append((name.decode("latin-1"), value.strip(b" \t")))
    return Request(method, target, version, tuple(headers))
