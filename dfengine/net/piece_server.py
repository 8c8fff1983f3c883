"""Serves pieces: raw non-blocking sockets on an event loop, heads by httptools, bytes by sendfile.

Raw sockets, because uvloop's transports have no sendfile; the loop only reports when a socket is readable or writable. `piece_connection`
has the rules of one connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from dfengine.net._sendfile import FileSlice, Upload
from dfengine.net.admission import RESERVE, Admission, ConnectionQuota
from dfengine.net.client_quota import SHARE, BoundedQuota
from dfengine.net.cold_slices import ColdSlices
from dfengine.net.event_log import NO_EVENTS, EventLog
from dfengine.net.fair_queue import Turns
from dfengine.net.http import HEAD_SECONDS, IDLE_SECONDS, STALL_SECONDS, BadRequest, Parts, Request, Response, text
from dfengine.net.listener import Listener
from dfengine.net.piece_connection import PieceConnection
from dfengine.net.rate_queue import RateQueue
from dfengine.net.token_bucket import TokenBucket
from dfengine.task import client_of

if TYPE_CHECKING:
    import ssl

    from dfengine.net.tls_upload import TlsSocket, TlsUpload

MEMORY = 64 << 20
"""Bytes buffered for unanswered requests of all clients together."""

FEW, UNSENT, MIN_UNSENT = 64, 4 << 20, 32 << 10
"""Limits on unsent bytes in the kernel. The first FEW connections of a client have the system's default, about UNSENT bytes. The n-th one
has UNSENT * (FEW / n) squared, at least MIN_UNSENT, so that all together buffer about twice as much as the first FEW."""

SWEEP_SECONDS = 1.0

DESCRIPTORS = 2
"""Descriptors of one connection: its socket, and the file that it sends."""


class PieceServer:
    """Serves pieces: accepts on `sock` (listening) and answers by `route`.

    route: Request -> Response | Parts; may raise BadRequest. limit: for the whole server, in addition to an answer's own limit.
    max_connections: further connections wait in the kernel's queue. share: percent of them for one client, whose further connections are
    closed. tls: for every connection; bytes are then sent by TLS writes. head_seconds: to send a head. idle_seconds: between requests.
    stall_seconds: without reading bytes (unacknowledged_bytes.MIN_ACKNOWLEDGED). Slower clients are disconnected.

    Counters: requests, bytes_sent (heads included), sends, sendfiles (system calls), loads (slices that a thread read first), failures (of
    routes).
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        route: Callable[[Request], Response | Parts],
        *,
        limit: TokenBucket | None = None,
        max_connections: int = 16384,
        share: int = SHARE,
        admission: Admission | None = None,
        turns: Turns | None = None,
        tls: ssl.SSLContext | None = None,
        head_seconds: float = HEAD_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        stall_seconds: float = STALL_SECONDS,
        events: EventLog = NO_EVENTS,
    ) -> None:
        self.events = events
        self.loop = loop
        self.limit = limit
        self.head_seconds, self.idle_seconds, self.stall_seconds = head_seconds, idle_seconds, stall_seconds
        self.requests = self.bytes_sent = self.sends = self.sendfiles = self.loads = self.failures = 0
        self.connections: set[PieceConnection] = set()
        self._queues: dict[TokenBucket, RateQueue] = {}
        self._wrap: Callable[[socket.socket], TlsSocket] | None = None
        self.upload: Callable[[Any, tuple[bytes | FileSlice, ...]], Upload | TlsUpload] = _by_sendfile
        """Creates the object that sends the parts of an answer to a connection's socket."""
        if tls is not None:
            from dfengine.net.tls_upload import TlsSocket, TlsUpload

            self._wrap, self.upload = partial(TlsSocket, context=tls), TlsUpload
        self.turns = turns or Turns(loop.call_soon, time.monotonic)
        self.memory = BoundedQuota(MEMORY, share)
        self._route = route
        admission = admission or Admission(DESCRIPTORS * max_connections + RESERVE, 100)
        of_port = ConnectionQuota(max_connections, share)
        for each in (of_port, admission):
            each.idle_closers.append(self._close_idle)
        self._listener = Listener(loop, sock, self._accept, of_port, admission, DESCRIPTORS)
        self._sweeper: asyncio.TimerHandle | None = None
        self.cold_slices = ColdSlices(loop, share)

    @property
    def port(self) -> int:
        return self._listener.port

    @property
    def busy(self) -> bool:
        """Whether an answer is being sent on any connection."""
        return any(connection.sending for connection in self.connections)

    def start(self) -> None:
        """Begin accepting connections."""
        self._sweep()

    def _accept(self, sock: socket.socket, address: str) -> None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # TLS inspects the socket, and raises when the client has disconnected.
        self.connections.add(PieceConnection(self, sock if self._wrap is None else self._wrap(sock), address))

    def _sweep(self) -> None:
        now = time.monotonic()
        # Not those that have moved bytes since the last sweep, which are most of those that send.
        stalled = now + max(0.0, self.stall_seconds - SWEEP_SECONDS)
        for connection in [each for each in self.connections if each.deadline < (stalled if each.sending else now)]:
            if connection.is_expired(now):
                connection.close()
        for bucket in [bucket for bucket, rate_queue in self._queues.items() if not rate_queue]:
            del self._queues[bucket]
        self._listener.resume()
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def answer(self, request: Request) -> Response | Parts:
        """Route one request; an error becomes an answer."""
        self.requests += 1
        if request.method not in ("GET", "HEAD"):
            return text(405, "only GET and HEAD are served")
        try:
            return self._route(request)
        except BadRequest as error:
            return text(error.status, error.reason)
        except Exception:
            self.failures += 1
            traceback.print_exc(file=sys.stderr)
            return text(500, "internal error")

    def unsent(self, client: str) -> int:
        """Bytes that the kernel may buffer of each of a client's connections beyond those in flight; 0: the system's default.

        Otherwise a thousand connections that read nothing would fill the kernel's memory for all TCP, and slow down every connection of
        this host.
        """
        count = self._listener.connections_of(client)
        return 0 if count <= FEW else max(MIN_UNSENT, UNSENT * FEW * FEW // (count * count))

    def rate_queue(self, bucket: TokenBucket) -> RateQueue | None:
        """The queue of the connections that `bucket` throttles; None if no connection waits."""
        return self._queues.get(bucket) or None

    def throttle(self, connection: PieceConnection, bucket: TokenBucket, want: int, first: bool) -> None:
        """Queue `connection` until it may acquire some of `want` bytes from `bucket`."""
        rate_queue = self._queues.get(bucket)
        if rate_queue is None:
            rate_queue = self._queues[bucket] = RateQueue(self.loop, bucket)
        rate_queue.join(connection, want, first)

    def _close_idle(self, client: str, most: int) -> int:
        idle = [connection for connection in self.connections if connection.idle and client_of(connection.client) == client]
        chosen = sorted(idle, key=attrgetter("is_new", "deadline"))[:most]
        for connection in chosen:
            connection.close()
        return len(chosen)

    def forget(self, connection: PieceConnection) -> None:
        """Forget a connection that has closed itself."""
        self.connections.remove(connection)
        self.cold_slices.leave(connection)
        self._listener.release(connection.client)

    def close(self) -> None:
        """Stop accepting, close every connection, and wait for the slices that are being read."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._listener.close()
        for connection in list(self.connections):
            connection.close()
        for rate_queue in self._queues.values():
            rate_queue.close()
        self._queues.clear()
        self.cold_slices.close()


def _by_sendfile(sock: socket.socket, parts: tuple[bytes | FileSlice, ...]) -> Upload:
    return Upload(parts)
