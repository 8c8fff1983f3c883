"""Verifies complaints by fetching the disputed piece from the accused source and comparing it with the copy.

Runs in AT_ONCE threads. Without a comparison (the source refuses, or the supernode no longer has the piece) nothing is proved. A source
that sends nothing in time is proved silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

from dfengine._piece import Geometry
from dfengine.errors import BadFrame, BadValue, RemoteError, Silent, TooSlow
from dfengine.net.dialer import Dialer
from dfengine.net.http_client import Connection
from dfengine.net.origin_access import OriginAccess
from dfengine.net.piece_client import PieceBody, request_piece
from dfengine.net.thread_pool import ThreadPool
from dfengine.storage.piece_file import PieceFile
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.swarm.peers import Complaint
from dfengine.supernode.swarm.swarm import Swarm
from dfengine.task import PEER_PORTS, peer_path
from dfengine.wire import Source

AT_ONCE = 16
"""Threads: most accused sources are silent, and each of these occupies a thread."""

MAX_WAITING = 1024
"""Sources that wait for verification; further complaints are not verified."""

CONNECT = 2.0
FIRST_BYTE = 2.0
"""Seconds until the first byte, after which the source is silent."""

SILENCE = 5.0
"""Seconds without a byte, or for the first START bytes, after which the source is silent as well."""

START = 64 << 10

MIN_RATE = 64 << 10
"""Bytes per second, after SILENCE seconds, below which the transfer is ended and nothing is proved."""

ABSENT = frozenset((404, 410, 416, 500))
"""Statuses with which peer servers, also those of 1.x, report that they do not have the piece."""


class ComplaintVerifier:
    """Verifies the sources in the swarm's `complaints`, at addresses that `access` permits. Used on the loop's thread.

    fetches: by task. digest: of a piece's content, as in records. dialer: returns the present Dialer. wake: called after each verdict.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, swarm: Swarm, fetches: Mapping[str, Fetch], digest: Callable[[memoryview], bytes],
        access: OriginAccess, dialer: Callable[[], Dialer], wake: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._swarm = swarm
        self._fetches = fetches
        self._digest = digest
        self._access = access
        self._dialer = dialer
        self._wake = wake
        self._threads = ThreadPool(AT_ONCE, "verifier")
        self._waiting = 0
        self._connections: set[Connection] = set()

    def start(self) -> None:
        """Start the verification of all sources in `complaints`; each result is passed to `swarm.apply_verdict`."""
        complaints = self._swarm.complaints.copy()
        self._swarm.complaints.clear()
        for complaint in complaints:
            fetch = self._fetches.get(complaint.task_id)
            file = fetch.file if fetch is not None else None
            shared = fetch is not None and fetch.claim is not None  # its digests are known without the bytes
            here = file is not None and complaint.n < len(file.available) and (shared or complaint.n in file.available)
            if file is None or not here or self._waiting >= MAX_WAITING or not may_connect(complaint.source, self._access):
                self._swarm.apply_verdict(complaint, "", self._loop.time())
                continue
            self._waiting += 1
            self._threads.submit(self._check, complaint, file, file.record.digest(complaint.n))

    def _check(self, complaint: Complaint, file: PieceFile, wanted: bytes) -> None:
        found = check_source(self._dialer(), complaint.source, file.geometry, complaint.n, wanted, self._digest, self._connections)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._judge, complaint, file, found)

    def _judge(self, complaint: Complaint, file: PieceFile, found: str) -> None:
        self._waiting -= 1
        fetch = self._fetches.get(complaint.task_id)
        # If the file has been replaced by another version, the source may serve that one.
        self._swarm.apply_verdict(complaint, found if fetch is not None and fetch.file is file else "", self._loop.time())
        self._wake()

    def close(self) -> None:
        """Stop at the end of the process: verify no further source, and stop the running threads."""
        for connection in self._connections.copy():
            connection.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def _tracked(connection: Connection, connections: set[Connection]) -> Iterator[None]:
    connections.add(connection)
    try:
        yield
    finally:
        connections.discard(connection)


def may_connect(source: Source, access: OriginAccess) -> bool:
    """Whether the source has a peer server's port and path, at an IP address that clients may make this supernode connect to."""
    try:
        return source.port in PEER_PORTS and peer_path(source.path) == source.path and access.permits("", source.ip)
    except (BadValue, ValueError):
        return False


def check_source(
    dialer: Dialer, source: Source, geometry: Geometry, n: int, wanted: bytes, digest: Callable[[memoryview], bytes],
    connections: set[Connection],
) -> str:
    """Fetch piece n from the source. Return "right", "digest" (other bytes), "gone" (it does not have the piece), "silent", "refused" (no
    server listens there), or "" (anything else).

    connections: set of open connections, which another thread may stop.
    """
    try:
        with contextlib.closing(dialer.connect(source.ip, source.port, timeout=CONNECT)) as connection, _tracked(connection, connections):
            request_piece(connection, source.path, geometry, n)
            head = connection.head(time.monotonic() + FIRST_BYTE)
            if head.status != 206:
                return "gone" if head.status in ABSENT else ""
            body = PieceBody(connection, head, geometry, n, time.monotonic() + SILENCE)
            content = memoryview(bytearray(body.length))
            start = min(START, body.length)
            body.into(content, 0, start, silence=SILENCE, floor=START, grace=SILENCE)
            try:
                body.into(content, start, body.length - start, silence=SILENCE, floor=MIN_RATE, grace=SILENCE)
            except TooSlow:
                return ""
            body.end(connection, time.monotonic() + SILENCE)
    except BadFrame:
        return "digest"
    except (Silent, TooSlow):
        return "silent"
    except RemoteError as error:
        return "refused" if isinstance(error.__context__, ConnectionRefusedError) else ""
    return "right" if digest(content) == wanted else "digest"
