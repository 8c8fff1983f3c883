"""Fetch threads: each takes jobs from the plan, receives pieces over kept connections, verifies and hands them in.

A piece goes: socket -> the thread's own buffer, hashed on the way (C, without the GIL) -> one pwrite in its place -> bit. A
piece that is longer than WRITE and fetched by one job alone is written in parts before it is verified; the bit comes last
as ever. The frame is checked on the way and never stored. While one piece is received, the next one from the same source
is asked for already, so that the connection does not drain while the first is hashed and written.
"""

from __future__ import annotations

import contextlib
import mmap
import time
from collections import deque

from dfengine._piece import FRAME, FRAME_TAIL, TAIL, Geometry
from dfengine.client.job import Job
from dfengine.client.transfer import Transfer
from dfengine.errors import DigestMismatch, ProtocolViolation, RemoteError, Silent, SourceGone, TooSlow
from dfengine.net.dial import CONNECT, Head
from dfengine.net.piece_client import PieceBody, request_piece
from dfengine.storage.hashing import hasher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.net.dial import Connection
    from dfengine.net.dialer import Dialer

BUFFERS = 48 << 20
"""Bytes of receive buffers of a download's WORKERS; it has fewer threads if pieces are large. Twice that while sources are silent."""

WORKERS = 4
"""Fetch threads of a download, if the buffers allow; up to twice as many while sources are silent (Transfer.listen)."""

AHEAD = 2
"""Pieces asked for on a connection at once."""

SILENCE = 10.0
"""Seconds without a byte after which a source is gone."""

FIRST = 3.0
"""Seconds to be connected, and to the first bytes of an answer, where another source could be asked at once."""

BLAKE3_PIECE = 32
"""Hex digits of a piece's blake3: supernodes keep its first 128 bits."""

GRACE = 10.0
"""Seconds before a transfer's rate is judged."""

HOT = 256 << 10
"""Bytes received and hashed in turn: they fit a core's own cache beside what else is there."""

WRITE = 4 << 20
"""Bytes written at once of a longer piece: four such buffers fit the caches of a small machine, four long pieces do not."""

DRAIN = 64 << 10
"""Longest body of an error that is read so that the connection can be used again."""

_TAIL = bytes((TAIL,))


def room(geometry: Geometry) -> int:
    """Bytes of a buffer that holds any piece's content and the frame's tail."""
    return (geometry.content_size if geometry.count != 1 else geometry.content(0)[1]) + 1


def most_buffers(geometry: Geometry) -> int:
    """Pieces that may be on their way at once, by the bytes that they take."""
    return max(1, BUFFERS // room(geometry))


def workers(geometry: Geometry) -> int:
    """Threads that fetch this file: at most one per piece, and as many as the buffers have room for."""
    most = min(WORKERS, most_buffers(geometry))
    return min(most, geometry.count) if geometry.count >= 0 else most


def piece_buffer(geometry: Geometry) -> memoryview:
    """A page-aligned buffer for one piece; its pages cost nothing until they are used."""
    return memoryview(mmap.mmap(-1, room(geometry)))


class Fetcher:
    """One thread's work. floor: least bytes per second of one transfer, 0 = any."""

    def __init__(self, transfer: Transfer, dialer: Dialer, floor: float) -> None:
        self._transfer = transfer
        self._dialer = dialer
        self._floor = floor
        self._buffer = memoryview(bytearray())
        self._at: tuple[str, int] | None = None

    def run(self) -> None:
        """Until nothing is left to do. An error of this machine ends the download."""
        try:
            while (job := self._transfer.next_job(self._at)) is not None:
                try:
                    self._fetch(job)
                finally:
                    self._transfer.rest()
        except BaseException as error:
            self._transfer.fail(error)

    def _connection(self, job: Job) -> Connection:
        """A kept or a new connection to the job's source."""
        self._at = address = job.source.ip, job.source.port
        kept = self._transfer.connections.acquire(*address)
        if kept is not None:
            return kept
        with self._transfer.opening(job) as opened:
            return self._dialer.connect(*address, timeout=min(CONNECT, self._patience(job)), opened=opened)

    def _patience(self, job: Job) -> float:
        """Seconds that the job's source may let it wait for a first byte."""
        return FIRST if self._transfer.elsewhere(job) else SILENCE

    def _fetch(self, job: Job) -> None:
        """This job, and those that can be pipelined behind it."""
        try:
            connection = self._connection(job)
        except RemoteError as error:
            self._transfer.drop(job, "slow" if isinstance(error, Silent) else "gone", str(error))
            return
        in_step = False
        try:
            in_step = self._exchange(connection, job)
        finally:
            if in_step and connection.usable:
                self._transfer.connections.release(connection)
            else:
                connection.close()

    def _exchange(self, connection: Connection, job: Job) -> bool:
        """This job on that connection, and what can be pipelined behind it; False: the connection is not at the end of an answer."""
        waiting: deque[Job] = deque()
        in_step = self._ask(connection, job, waiting)
        while in_step and waiting:
            if len(waiting) < AHEAD and connection.usable:
                ahead = self._transfer.job_ahead((connection.host, connection.port))
                if ahead is not None:
                    self._ask(connection, ahead, waiting)
            in_step = self._one(connection, waiting.popleft())
            if waiting and not connection.usable:
                in_step = False
        for left in waiting:
            self._transfer.drop(left)
        return in_step

    def _ask(self, connection: Connection, job: Job, waiting: deque[Job]) -> bool:
        try:
            request_piece(connection, job.source.path, self._transfer.file.geometry, job.piece)
        except SourceGone as error:
            # A kept connection may have been closed while it was idle: that says nothing about the source.
            self._transfer.drop(job, "" if connection.served else "gone", str(error))
            return False
        except ProtocolViolation as error:
            self._transfer.drop(job, "other", str(error))
            return True
        waiting.append(job)
        return True

    def _one(self, connection: Connection, job: Job) -> bool:
        """Receive one answer. False: the connection is not at the end of it and cannot be used any more."""
        if not self._transfer.begin(job, connection):
            self._transfer.drop(job)
            return False
        began, kept, why = time.monotonic(), connection.served, "other"
        try:
            head = connection.head(began + self._patience(job))
            if head.status != 206:
                return self._refused(connection, head, job)
            length, xxh3, placed = self._receive(connection, head, job, began)
        except DigestMismatch as error:
            self._transfer.drop(job, "digest", f"{connection.name}: {error}")
            return True
        except RemoteError as error:
            if isinstance(error, Silent | TooSlow):
                why = "slow"
            elif isinstance(error, SourceGone):
                why = "" if kept == connection.served and kept and time.monotonic() - began < SILENCE / 10 else "gone"
            self._transfer.drop(job, why, f"{connection.name}: {error}")
            return False
        exchanged = self._transfer.land(job, self._buffer, length, xxh3, placed)
        if exchanged is not None:
            self._buffer = exchanged
        return True

    def _refused(self, connection: Connection, head: Head, job: Job) -> bool:
        """The source has not the piece, or does not serve it now."""
        self._transfer.drop(job, "gone", f"{connection.name} answers {head.status} for piece {job.piece}")
        if head.chunked or not 0 <= head.length <= DRAIN:
            return False
        with contextlib.suppress(RemoteError):
            connection.body(head, time.monotonic() + SILENCE, DRAIN)
            return True
        return False

    def _receive(self, connection: Connection, head: Head, job: Job, began: float) -> tuple[int, bytes | None, bool]:
        """The piece's content, verified, in the buffer or in its place: (its length, its xxh3 where that was computed, in its place?)."""
        body = PieceBody(connection, head, self._transfer.file.geometry, job.piece, began + SILENCE)
        check = Check(job.digest, body.frame)
        placed = False
        if body.length > WRITE and check.native:
            with self._transfer.placing(job) as placed:
                if placed:
                    self._fill(body, began, check, job)
        if not placed:
            self._fill(body, began, check)
        body.end(connection, time.monotonic() + SILENCE)
        return body.length, check.result(body.length), placed

    def _fill(self, body: PieceBody, began: float, check: Check, place: Job | None = None) -> None:
        """Receive the content in steps, each hashed while it is still in the core's cache. place: write it there, part by part."""
        throttle, length, got, written = self._transfer.throttle, body.length, 0, 0
        buffer = self._room(WRITE if place is not None else room(self._transfer.file.geometry))
        while got < length:
            part = min(HOT, length - got, written + WRITE - got if place is not None else length)
            if throttle is not None:
                part = throttle.acquire(part)
            at = got - written
            after = length - got - part + FRAME_TAIL
            body.into(buffer, at, part, silence=SILENCE, floor=self._floor, grace=GRACE, started=began, before=got, after=after)
            check.update(buffer[at : at + part])
            got += part
            if place is not None and (got == length or got - written == WRITE):
                place.writing = True
                self._transfer.file.put(place.piece, written, buffer[: got - written])
                place.writing, written = False, got

    def _room(self, size: int) -> memoryview:
        """This thread's buffer, of at least `size` bytes."""
        if len(self._buffer) < size:
            self._buffer = memoryview(mmap.mmap(-1, size))
        return self._buffer


class Check:
    """The digest of one piece while it comes in.

    digest: `xxh3:HEX` or `blake3:HEX` of the content, or 1.x's `framed:MD5:LENGTH` of head, content and tail. frame: the head.
    """

    __slots__ = ("_algorithm", "_digest", "_wanted", "native", "update")

    def __init__(self, digest: str, frame: bytes) -> None:
        self._algorithm, _, wanted = digest.partition(":")
        self._wanted = wanted.lower()
        self.native = self._algorithm == "xxh3"
        self._digest = hasher("md5" if self._algorithm == "framed" else self._algorithm)
        self.update = self._digest.update
        if self._algorithm == "framed":
            self.update(frame)

    def result(self, length: int) -> bytes | None:
        """All `length` bytes of content were given. Raises DigestMismatch. The content's xxh3-128 when that is what was computed."""
        if self._algorithm == "framed":
            self.update(_TAIL)
        found = self._digest.digest()
        shown = found.hex() + (f":{length + FRAME}" if self._algorithm == "framed" else "")
        if self._algorithm == "blake3" and len(self._wanted) == BLAKE3_PIECE:
            shown = shown[:BLAKE3_PIECE]
        if shown != self._wanted:
            raise DigestMismatch(f"a piece has {self._algorithm} {shown}, not {self._wanted}")
        return found if self._algorithm == "xxh3" else None


def verify(digest: str, frame: bytes, content: memoryview) -> bytes | None:
    """`Check` of content that is here as a whole."""
    check = Check(digest, frame)
    check.update(content)
    return check.result(len(content))
