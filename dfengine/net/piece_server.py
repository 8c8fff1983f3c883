"""Serves pieces: raw non-blocking sockets on an event loop, heads by httptools, bytes by sendfile.

Raw, because uvloop's transports have no sendfile; the loop only tells when a socket is readable or writable. The rules
of one connection are in `piece_connection`.
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
from dfengine.net.admission import RESERVE, Admission
from dfengine.net.event_log import SILENT, EventLog
from dfengine.net.http import BadRequest, Parts, Request, Response, text
from dfengine.net.limit import TokenBucket
from dfengine.net.listener import Listener
from dfengine.net.piece_connection import PieceConnection
from dfengine.net.quota import SHARE, Quota
from dfengine.net.rate_queue import RateQueue
from dfengine.net.turns import Turns
from dfengine.task import client_of

if TYPE_CHECKING:
    import ssl

    from dfengine.net.tls_upload import TlsSocket, TlsUpload

HEAD_SECONDS = 10.0
IDLE_SECONDS = 75.0
STALL_SECONDS = 60.0
"""A receiver that takes nothing for so long is gone."""

MEMORY = 64 << 20
"""Bytes of requests that have not been answered, of all clients together."""

FEW, UNSENT, LEAST_UNSENT = 64, 4 << 20, 32 << 10
"""Connections of a client of which the kernel keeps what it likes, and how many bytes that is; of the n-th one less by (FEW / n) squared,
so that all together are about twice as much as the first, and this at least."""

SWEEP_SECONDS = 1.0


class PieceServer:
    """Accepts on `sock` (listening) and answers by `route`.

    route: Request -> Response | Parts; may raise BadRequest. limit: the whole server's, besides that of an answer.
    max_connections: further ones wait in the kernel's queue; share: percent of them for one client, whose further ones are closed. tls: of
    every connection; bytes then go out by TLS writes. The seconds: to send a head, between requests, without taking a byte; slower clients
    are disconnected.

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
        events: EventLog = SILENT,
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
        """What sends the parts of an answer to a connection's socket."""
        if tls is not None:
            from dfengine.net.tls_upload import TlsSocket, TlsUpload

            self._wrap, self.upload = partial(TlsSocket, context=tls), TlsUpload
        self.turns = turns or Turns(loop.call_soon, time.monotonic)
        self.memory = Quota(MEMORY, share)
        self._route = route
        admission = admission or Admission(max_connections + RESERVE, 100)
        admission.ports.append(self._close_idle)
        self._listener = Listener(loop, sock, self._enter, max_connections, share, admission)
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        return self._listener.port

    @property
    def busy(self) -> bool:
        """Some answer is on its way."""
        return any(connection.sending for connection in self.connections)

    def start(self) -> None:
        """Begin to accept."""
        self._sweep()

    def _enter(self, sock: socket.socket, address: str) -> None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # TLS looks at the socket, and raises when the client is gone.
        self.connections.add(PieceConnection(self, sock if self._wrap is None else self._wrap(sock), address))

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in [connection for connection in self.connections if connection.deadline < now]:
            connection.close()
        for bucket in [bucket for bucket, rate_queue in self._queues.items() if not rate_queue]:
            del self._queues[bucket]
        self._listener.resume()
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def answer(self, request: Request) -> Response | Parts:
        """Route one request; whatever goes wrong becomes an answer."""
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
        """Bytes that the kernel may keep of one of a client's connections beyond those under way; 0: as many as it likes.

        Else a thousand that read nothing would fill its memory for all TCP, and every connection of this host would crawl.
        """
        count = self._listener.of(client)
        return 0 if count <= FEW else max(LEAST_UNSENT, UNSENT * FEW * FEW // (count * count))

    def rate_queue(self, bucket: TokenBucket) -> RateQueue | None:
        """The queue of the connections that `bucket` holds back; None if none waits."""
        return self._queues.get(bucket) or None

    def hold(self, connection: PieceConnection, bucket: TokenBucket, want: int, first: bool) -> None:
        """Let `connection` wait until it may take some of `want` bytes from `bucket`."""
        rate_queue = self._queues.get(bucket)
        if rate_queue is None:
            rate_queue = self._queues[bucket] = RateQueue(self.loop, bucket)
        rate_queue.join(connection, want, first)

    def _close_idle(self, client: str, most: int) -> int:
        idle = [connection for connection in self.connections if connection.idle and client_of(connection.client) == client]
        chosen = sorted(idle, key=attrgetter("deadline"))[:most]
        for connection in chosen:
            connection.close()
        return len(chosen)

    def gone(self, connection: PieceConnection) -> None:
        """A connection has closed itself."""
        self.connections.remove(connection)
        self._listener.left(connection.client)

    def close(self) -> None:
        """Stop accepting and cut every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._listener.close()
        for connection in list(self.connections):
            connection.close()
        for rate_queue in self._queues.values():
            rate_queue.close()
        self._queues.clear()


def _by_sendfile(sock: socket.socket, parts: tuple[bytes | FileSlice, ...]) -> Upload:
    return Upload(parts)
