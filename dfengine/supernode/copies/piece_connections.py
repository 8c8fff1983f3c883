"""Reads pieces that the leader of a task offers, several at once, from the leader and from hosts of its swarm; each in its own thread.

With one at a time a follower, and its hosts with it, would be limited to its share of one source's link.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from dfengine import wire
from dfengine._piece import Geometry
from dfengine.errors import BadPiece, DfengineError, ProtocolViolation, RemoteError, StorageError
from dfengine.net.http_client import Connection
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.piece_reading import read_piece
from dfengine.task import SUPERNODE_CID, is_valid_source

SLOW_PIECES, MAX_PIECES = 2, 4
"""Pieces at once: while they are slow, and at most. More would share a link that two saturate, and each would be complete later."""

SLOW = 0.3
"""Mean seconds of recent pieces from which on they count as slow. Pieces of a new task do."""

SILENT = 3
"""Seconds without an acknowledgement after which a host is lost. A host that is cut off sends no FIN, and a pull may be parked."""

Connect = Callable[[str, int, bool], Connection]
"""(host, port, named) -> a connection, see Dialer.connect. Raises RemoteError."""


def set_keepalive(sock: socket.socket) -> None:
    """Break the connection when the other host is silent for SILENT seconds, whether or not anything was sent."""
    for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_USER_TIMEOUT, SILENT * 1000)):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class PieceConnections:
    """Connections that read into one copy. One thread offers and collects; `close` it. received_at: monotonic, of the last piece; or 0."""

    def __init__(self, fetch: Fetch, file: Copy, connect: Connect) -> None:
        """Raises RemoteError if no thread can be started."""
        self._fetch, self._file, self._connect = fetch, file, connect
        self.received_at = 0.0
        self._mean = SLOW
        self._timings: list[tuple[int, float, float]] = []
        self._offers: deque[wire.Offer] = deque()
        self._done: list[tuple[int, str]] = []
        self._failed: list[tuple[int, str, str]] = []
        self._error: DfengineError | None = None
        self._changed = threading.Condition()
        self._results_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._connections: set[Connection] = set()
        self._closed = False
        self._in_progress = 0
        self._threads: list[threading.Thread] = []
        # A process at its limit of threads reads with those that it could start.
        with contextlib.suppress(RuntimeError):
            for _ in range(MAX_PIECES):
                thread = threading.Thread(target=self._work, name="follow", daemon=True)
                thread.start()
                self._threads.append(thread)
        if not self._threads:
            os.close(self._results_fd)
            raise RemoteError("no thread can be started to read from the leader")

    @property
    def room(self) -> int:
        """Number of pieces that may be offered now."""
        return max(0, min(SLOW_PIECES if self._mean >= SLOW else MAX_PIECES, len(self._threads)) - self._in_progress)

    @property
    def idle(self) -> bool:
        """Whether no piece is being read."""
        return not self._in_progress

    @property
    def has_results(self) -> bool:
        """Whether `collect` has results."""
        return bool(self._done or self._failed or self._error is not None)

    def fileno(self) -> int:
        """Descriptor for poll: readable while `collect` has results."""
        return self._results_fd

    def offer(self, offer: wire.Offer) -> None:
        """Queue the piece for reading. Raises ProtocolViolation for a piece that the file does not have."""
        try:
            self._file.geometry.check(offer.piece)
        except BadPiece as error:
            raise ProtocolViolation(f"the leader offers an invalid piece: {error}") from None
        with self._changed:
            self._in_progress += 1
            self._offers.append(offer)
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait until a piece has ended, for at most `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self.has_results, seconds)

    def finish(self, seconds: float) -> None:
        """Wait until no piece is being read, for at most `seconds`: hosts of a swarm continue to send when its supernode is lost."""
        with self._changed:
            self._changed.wait_for(lambda: not self._in_progress or self._error is not None or self._fetch.stopped, seconds)

    def collect(self) -> tuple[list[tuple[int, str]], list[tuple[int, str, str]]]:
        """Results: (piece, CID of its source), (piece, CID, why it failed). Raises StorageError and other errors that end the fetch."""
        with self._changed:
            if self._error is not None:
                raise self._error
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._results_fd)
            done, failed = self._done, self._failed
            self._done, self._failed = [], []
        return done, failed

    def take_timings(self) -> list[tuple[int, float, float]]:
        """For the pieces received since the last call: bytes, duration in seconds, and time of completion (monotonic)."""
        with self._changed:
            found, self._timings = self._timings, []
        return found

    def close(self) -> None:
        """End the threads; pieces in progress are discarded."""
        with self._changed:
            self._closed = True
            for connection in self._connections:
                connection.stop()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        os.close(self._results_fd)

    # The threads

    def _work(self) -> None:
        connections: dict[tuple[str, int], Connection] = {}
        buffer: memoryview | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._offers)
                if self._closed:
                    break
                offer = self._offers.popleft()
            started = time.monotonic()
            try:
                buffer = buffer or self._file.buffer()
                source = self._fetch_piece(offer, connections, buffer)
            except DfengineError as error:
                source = None
                self._error = error
            except Exception as error:
                source = None
                self._error = StorageError(f"the fetch failed: {error!r}")
            with self._changed:
                self._in_progress -= 1
                if source is not None:
                    self._done.append((offer.piece, source))
                    self.received_at = time.monotonic()
                    self._mean += (self.received_at - started - self._mean) / 4
                    if source:
                        self._timings.append((self._file.geometry.content(offer.piece)[1], self.received_at - started, self.received_at))
                if self.has_results:
                    os.eventfd_write(self._results_fd, 1)
                self._changed.notify_all()
        for connection in connections.values():
            with contextlib.suppress(OSError):
                connection.close()

    def _fetch_piece(self, offer: wire.Offer, connections: dict[tuple[str, int], Connection], buffer: memoryview) -> str | None:
        """Read a piece from the first source that sends it right. Returns its CID, "" if the copy has it, or None. Raises StorageError."""
        n, fetch = offer.piece, self._fetch
        if n in self._file.available:
            return ""
        for source in offer.sources:
            if self._closed:
                return None
            if not is_valid_source(source.cid, source.port, source.path):
                continue
            try:
                content = buffer[: self._read(source, self._file.geometry, n, connections, buffer)]
            except RemoteError:
                self._add_failure(n, source.cid, "gone")
                continue
            digest = fetch.cache.piece_digest(content)
            if digest.hex() != offer.digest:
                self._add_failure(n, source.cid, "digest")
                continue
            fetch.disk.keep_free()
            fetch.disk.write(fetch.task, partial(self._file.write, n, content, digest), len(content), lambda: fetch.missing_bytes)
            fetch.piece_stored(n)
            return source.cid
        return None

    def _add_failure(self, n: int, cid: str, why: str) -> None:
        with self._changed:
            self._failed.append((n, cid, why))

    def _read(
        self, source: wire.Source, geometry: Geometry, n: int, connections: dict[tuple[str, int], Connection], buffer: memoryview
    ) -> int:
        """Read piece n's content into the buffer; return its length in bytes. Raises RemoteError."""
        where = source.ip, source.port
        try:
            connection = connections.get(where)
            if connection is None or not connection.reusable:
                self._drop(connections, where)
                connection = connections[where] = self._connected(source)
            return read_piece(connection, source, geometry, n, buffer)
        except RemoteError:
            self._drop(connections, where)
            raise

    def _connected(self, source: wire.Source) -> Connection:
        connection = self._connect(source.ip, source.port, source.cid.startswith(SUPERNODE_CID))
        with self._changed:
            self._connections.add(connection)
            if self._closed:
                connection.stop()
        return connection

    def _drop(self, connections: dict[tuple[str, int], Connection], where: tuple[str, int]) -> None:
        connection = connections.pop(where, None)
        if connection is not None:
            with self._changed:
                self._connections.discard(connection)
            with contextlib.suppress(OSError):
                connection.close()
