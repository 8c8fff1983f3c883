"""Serves pieces: raw non-blocking sockets on an event loop, heads by httptools, bytes by sendfile.

Raw, because uvloop's transports have no sendfile; the loop only tells when a socket is readable or writable. One
connection sends one answer at a time, in the order of its requests, and reads no further while enough of them wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections import deque
from collections.abc import Callable

from dfengine.net._sendfile import Upload
from dfengine.net.http import BYTES, MAX_PIPELINED, BadRequest, Parts, Request, RequestReader, Response, head, text
from dfengine.net.limit import TokenBucket

READ = 32 << 10
HEAD_SECONDS = 10.0
IDLE_SECONDS = 75.0
STALL_SECONDS = 60.0
"""A receiver that takes nothing for so long is gone."""

SWEEP_SECONDS = 1.0
BACKLOG = 4096
LEAST_PAUSE = 0.001


class Connection:
    """One client. Its phases: reading a head, sending answers, idle between requests; each has its deadline."""

    __slots__ = ("_close", "_pause", "_reader", "_reading", "_server", "_upload", "_waiting", "_writing", "answer", "deadline", "sock")

    def __init__(self, server: PieceServer, sock: socket.socket) -> None:
        self._server = server
        self.sock = sock
        self._reader: RequestReader | None = None  # none until the first byte: silent connections cost little
        self._waiting: deque[Request | BadRequest] = deque()
        self._upload: Upload | None = None
        self.answer: Parts | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._reading = self._writing = self._close = False
        self.deadline = server.now() + server.head_seconds
        self._read(True)

    def _read(self, wanted: bool) -> None:
        if wanted != self._reading:
            self._reading = wanted
            (self._server.loop.add_reader(self.sock, self._readable) if wanted else self._server.loop.remove_reader(self.sock))

    def _write(self, wanted: bool) -> None:
        if wanted != self._writing:
            self._writing = wanted
            (self._server.loop.add_writer(self.sock, self._pump) if wanted else self._server.loop.remove_writer(self.sock))

    def _readable(self) -> None:
        try:
            data = self.sock.recv(READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        if self._reader is None:
            self._reader = RequestReader(self.sock.getpeername()[0], self._waiting.append, max_body=0)
        if not self._reader.started and self._upload is None:
            self.deadline = self._server.now() + self._server.head_seconds
        try:
            self._reader.feed(data)
        except BadRequest as error:
            self._waiting.append(error)
            self._read(False)
        if len(self._waiting) >= MAX_PIPELINED:
            self._read(False)
        if self._upload is None:
            self._pump()

    def _pump(self) -> None:
        """Go on with the answer under way, or begin the next; called when something may have become possible."""
        if self.sock.fileno() < 0:
            return
        if self._upload is None:
            if not self._waiting:
                self._idle()
                return
            self._begin(self._waiting.popleft())
        if self._push():
            if self._close:
                self.close()
            else:
                # Through the loop, so that one client's pipeline does not hold up the others.
                self._server.loop.call_soon(self._pump)

    def _idle(self) -> None:
        # A head that has begun keeps the deadline of its first byte.
        if self._reader is None or not self._reader.started:
            self.deadline = self._server.now() + self._server.idle_seconds
        self._read(True)

    def _begin(self, request: Request | BadRequest) -> None:
        bodiless = False
        answer: Response | Parts
        try:
            if isinstance(request, BadRequest):
                raise request
            bodiless = request.method == "HEAD"
            self._close = not request.keep_alive
            answer = self._server.answer(request)
        except BadRequest as error:
            answer, self._close = text(error.status, error.reason), True
        if isinstance(answer, Response):
            self._upload = Upload((answer.encode(not self._close, bodiless),))
        else:
            first = head(answer.status, BYTES, answer.length, answer.headers, not self._close)
            self._upload = Upload((first,) if bodiless else (first, *answer.parts))
            self.answer = answer

    def _push(self) -> bool:
        """Give the socket what it takes and the limits allow; True when the answer is out and the connection is alive."""
        upload, server = self._upload, self._server
        assert upload is not None
        limits = [bucket for bucket in (server.limit, self.answer.limit if self.answer else None) if bucket is not None and bucket.rate]
        now = server.now()
        allowed = upload.left
        for n, bucket in enumerate(limits):
            granted = bucket.take(allowed, now)
            for earlier in limits[:n]:
                earlier.give_back(allowed - granted)
            allowed = granted
        if not allowed and upload.left:
            self._write(False)
            self._pause = server.loop.call_later(max(LEAST_PAUSE, *(bucket.wait(now) for bucket in limits)), self._pump)
            self.deadline = now + server.stall_seconds
            return False
        before = upload.calls
        try:
            moved = upload.advance(self.sock.fileno(), allowed)
        except (OSError, EOFError):
            self.close()
            return False
        finally:
            server.calls += upload.calls - before
        server.bytes_sent += moved
        for bucket in limits:
            bucket.give_back(allowed - moved)
        if moved:
            self.deadline = now + server.stall_seconds
        if upload.left:
            # Held back by a limit, the socket may not be full: it says so at once, and the bucket is asked again.
            self._write(True)
            return False
        self._write(False)
        answer, self._upload, self.answer = self.answer, None, None
        if answer is not None and answer.sent is not None:
            answer.sent(answer.length)
        return True

    def close(self) -> None:
        """Release everything; whatever was being sent is cut off."""
        if self.sock.fileno() < 0:
            return
        self._read(False)
        self._write(False)
        if self._pause is not None:
            self._pause.cancel()
        self._upload = self.answer = self._reader = None
        self._waiting.clear()
        if self._close:
            # Closing with unread bytes in the socket would reset it and could take the answer with it.
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)
                for _ in range(8):
                    self.sock.recv(READ)
        self.sock.close()
        self._server.gone(self)


class PieceServer:
    """Accepts on `sock` (listening, non-blocking) and answers by `route`. Counters: bytes_sent, requests, accepted, calls.

    route: Request -> Response | Parts; it may raise BadRequest. limit: bytes per second of the whole server.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        route: Callable[[Request], Response | Parts],
        *,
        limit: TokenBucket | None = None,
        max_connections: int = 16384,
        head_seconds: float = HEAD_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self.loop = loop
        self.now = loop.time
        self.limit = limit
        self.head_seconds, self.idle_seconds, self.stall_seconds = head_seconds, idle_seconds, stall_seconds
        self.bytes_sent = self.requests = self.accepted = self.calls = 0
        self.connections: set[Connection] = set()
        self._sock = sock
        self._route = route
        self._max = max_connections
        self._accepting = False
        self._sweeper: asyncio.TimerHandle | None = None
        sock.setblocking(False)

    @property
    def port(self) -> int:
        """The listening port."""
        return int(self._sock.getsockname()[1])

    def start(self) -> None:
        """Begin to accept."""
        self._accept(True)
        self._sweep()

    def _accept(self, wanted: bool) -> None:
        if wanted != self._accepting:
            self._accepting = wanted
            (self.loop.add_reader(self._sock, self._acceptable) if wanted else self.loop.remove_reader(self._sock))

    def _acceptable(self) -> None:
        for _ in range(64):
            if len(self.connections) >= self._max:
                self._accept(False)
                return
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    # The next sweep tries again; spinning on a readable listener would not free a descriptor.
                    self._accept(False)
                    return
                raise
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted += 1
            self.connections.add(Connection(self, sock))

    def _sweep(self) -> None:
        now = self.now()
        for connection in [connection for connection in self.connections if connection.deadline < now]:
            connection.close()
        if len(self.connections) < self._max:
            self._accept(True)
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def answer(self, request: Request) -> Response | Parts:
        """Route one request; raises BadRequest."""
        self.requests += 1
        if request.method not in ("GET", "HEAD"):
            raise BadRequest(405, "only GET and HEAD are served")
        return self._route(request)

    def gone(self, connection: Connection) -> None:
        """A connection has closed itself."""
        self.connections.discard(connection)
        if not self._accepting and self._sweeper is not None and len(self.connections) < self._max:
            self._accept(True)

    def close(self) -> None:
        """Stop accepting and cut every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._accept(False)
        for connection in list(self.connections):
            connection.close()
        self._sock.close()


def listening(ip: str, port: int) -> socket.socket:
    """A non-blocking listening socket on ip:port, port 0 for any free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ip, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
