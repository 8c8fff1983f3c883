"""Fetch threads: each takes jobs from the plan, receives pieces over pooled connections, verifies them and passes them to the transfer.

Path of a piece: socket -> the thread's own buffer, hashed while it is received (C, without the GIL) -> one pwrite to its place -> its
bit in the record. A piece that is longer than WRITE and fetched by only one job is written in parts before it is verified; its bit is
still set last. The frame is checked but not stored. While one piece is received, the next one is already requested from the same
source, so that the connection is not idle while the first is hashed and written.
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
from dfengine.net.http_client import CONNECT, Head
from dfengine.net.piece_client import PieceBody, request_piece
from dfengine.storage.hashing import hasher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.net.dialer import Dialer
    from dfengine.net.http_client import Connection

BUFFERS = 48 << 20
"""Bytes of receive buffers of a download's WORKERS: large pieces mean fewer threads. Doubled while sources are silent."""

WORKERS = 4
"""Fetch threads of a download, if the buffers allow; up to twice as many while sources are silent (Transfer.check_sources)."""

PIPELINED = 2
"""Pieces requested on a connection at the same time."""

SILENCE = 10.0
"""Seconds without a byte after which a source counts as gone."""

FIRST_BYTE = 3.0
"""Seconds for connecting, and for the first bytes of an answer, if another source could be asked instead."""

BLAKE3_PIECE = 32
"""Hex digits of a piece's blake3: supernodes keep its first 128 bits."""

GRACE = 10.0
"""Seconds before the minimum rate is enforced on a transfer."""

HASH_STEP = 256 << 10
"""Bytes received and then hashed in one step: they fit a core's own cache beside other data."""

WRITE = 4 << 20
"""Bytes per write of a longer piece: four such buffers fit the caches of a small machine, four long pieces do not."""

DRAIN = 64 << 10
"""Longest error body, in bytes, that is read so that the connection can be reused."""


def buffer_size(geometry: Geometry) -> int:
    """Size in bytes of a buffer for any piece's content and the frame's tail."""
    return (geometry.content_size if geometry.count != 1 else geometry.content(0)[1]) + 1


def most_buffers(geometry: Geometry) -> int:
    """Number of piece buffers that fit in BUFFERS, at least 1."""
    return max(1, BUFFERS // buffer_size(geometry))


def workers(geometry: Geometry) -> int:
    """Number of fetch threads for this file: at most one per piece, and one per piece buffer that fits in BUFFERS."""
    most = min(WORKERS, most_buffers(geometry))
    return min(most, geometry.count) if geometry.count >= 0 else most


def piece_buffer(geometry: Geometry) -> memoryview:
    """A page-aligned buffer for one piece; its pages are allocated when they are first written."""
    return memoryview(mmap.mmap(-1, buffer_size(geometry)))


class Fetcher:
    """The work of one fetch thread. floor: minimum rate of one transfer in bytes per second, 0 = no minimum."""

    def __init__(self, transfer: Transfer, dialer: Dialer, floor: float) -> None:
        self._transfer = transfer
        self._dialer = dialer
        self._floor = floor
        self._buffer = memoryview(bytearray())
        self._at: tuple[str, int] | None = None

    def run(self) -> None:
        """Fetch until no job is left. A local error ends the download."""
        try:
            while (job := self._transfer.next_job(self._at)) is not None:
                try:
                    self._fetch(job)
                finally:
                    self._transfer.job_done()
        except BaseException as error:
            self._transfer.fail(error)

    def _connection(self, job: Job) -> Connection:
        """Return a pooled or new connection to the job's source."""
        self._at = address = job.source.ip, job.source.port
        kept = self._transfer.connections.acquire(*address)
        if kept is not None:
            return kept
        with self._transfer.opening(job) as opened:
            return self._dialer.connect(*address, timeout=min(CONNECT, self._patience(job)), opened=opened)

    def _patience(self, job: Job) -> float:
        """Seconds to wait for the first byte from the job's source."""
        return FIRST_BYTE if self._transfer.has_alternative(job) else SILENCE

    def _fetch(self, job: Job) -> None:
        """Fetch this job's piece, and pieces that can be pipelined behind it."""
        try:
            connection = self._connection(job)
        except RemoteError as error:
            self._transfer.drop(job, "slow" if isinstance(error, Silent) else "gone", str(error))
            return
        at_response_end = False
        try:
            at_response_end = self._exchange(connection, job)
        finally:
            if at_response_end and connection.usable:
                self._transfer.connections.release(connection)
            else:
                connection.close()

    def _exchange(self, connection: Connection, job: Job) -> bool:
        """Fetch this job's piece and pipelined ones on that connection. Return False if the connection is not at the end of an answer."""
        waiting: deque[Job] = deque()
        at_response_end = self._send_request(connection, job, waiting)
        while at_response_end and waiting:
            if len(waiting) < PIPELINED and connection.usable:
                ahead = self._transfer.job_ahead((connection.host, connection.port))
                if ahead is not None:
                    self._send_request(connection, ahead, waiting)
            at_response_end = self._receive_answer(connection, waiting.popleft())
            if waiting and not connection.usable:
                at_response_end = False
        for left in waiting:
            self._transfer.drop(left)
        return at_response_end

    def _send_request(self, connection: Connection, job: Job, waiting: deque[Job]) -> bool:
        try:
            request_piece(connection, job.source.path, self._transfer.file.geometry, job.piece)
        except SourceGone as error:
            # A pooled connection may have been closed while it was idle: that is not a fault of the source.
            self._transfer.drop(job, "" if connection.answers_read else "gone", str(error))
            return False
        except ProtocolViolation as error:
            self._transfer.drop(job, "other", str(error))
            return True
        waiting.append(job)
        return True

    def _receive_answer(self, connection: Connection, job: Job) -> bool:
        """Receive one answer. Return False if the connection is not at its end and cannot be reused."""
        if not self._transfer.begin(job, connection):
            self._transfer.drop(job)
            return False
        began, kept, why = time.monotonic(), connection.answers_read, "other"
        try:
            head = connection.head(began + self._patience(job))
            if head.status != 206:
                return self._refused(connection, head, job)
            length, xxh3, in_place = self._receive(connection, head, job, began)
        except DigestMismatch as error:
            self._transfer.drop(job, "digest", f"{connection.name}: {error}")
            return True
        except RemoteError as error:
            if isinstance(error, Silent | TooSlow):
                why = "slow"
            elif isinstance(error, SourceGone):
                why = "" if kept == connection.answers_read and kept and time.monotonic() - began < SILENCE / 10 else "gone"
            self._transfer.drop(job, why, f"{connection.name}: {error}")
            return False
        exchanged = self._transfer.commit(job, self._buffer, length, xxh3, in_place)
        if exchanged is not None:
            self._buffer = exchanged
        return True

    def _refused(self, connection: Connection, head: Head, job: Job) -> bool:
        """Drop the job: the source does not have the piece, or does not serve it now. Return whether the connection can be reused."""
        self._transfer.drop(job, "gone", f"{connection.name} answers {head.status} for piece {job.piece}")
        if head.chunked or not 0 <= head.length <= DRAIN:
            return False
        with contextlib.suppress(RemoteError):
            connection.body(head, time.monotonic() + SILENCE, DRAIN)
            return True
        return False

    def _receive(self, connection: Connection, head: Head, job: Job, began: float) -> tuple[int, bytes | None, bool]:
        """Receive and verify a piece, in the buffer or in its place. Return (its length, its xxh3 if computed, whether it is in place)."""
        body = PieceBody(connection, head, self._transfer.file.geometry, job.piece, began + SILENCE)
        check = PieceDigest(job.digest, body.frame)
        in_place = False
        if body.length > WRITE and check.native:
            with self._transfer.writing_in_place(job) as in_place:
                if in_place:
                    self._fill(body, began, check, job)
        if not in_place:
            self._fill(body, began, check)
        body.end(connection, time.monotonic() + SILENCE)
        return body.length, check.result(body.length), in_place

    def _fill(self, body: PieceBody, began: float, check: PieceDigest, place: Job | None = None) -> None:
        """Receive the content in steps, each hashed while it is in the core's cache. place: the job whose piece is written part by part."""
        throttle, length, got, written = self._transfer.throttle, body.length, 0, 0
        buffer = self._room(WRITE if place is not None else buffer_size(self._transfer.file.geometry))
        while got < length:
            part = min(HASH_STEP, length - got, written + WRITE - got if place is not None else length)
            if throttle is not None:
                asked = time.monotonic()
                part = throttle.acquire(part)
                began += time.monotonic() - asked  # the source does not cause this wait
            at = got - written
            after = length - got - part + FRAME_TAIL
            began += body.into(buffer, at, part, silence=SILENCE, floor=self._floor, grace=GRACE, started=began, before=got, after=after)
            check.update(buffer[at : at + part])
            got += part
            if place is not None and (got == length or got - written == WRITE):
                place.writing = True
                self._transfer.file.write_part(place.piece, written, buffer[: got - written])
                place.writing, written = False, got

    def _room(self, size: int) -> memoryview:
        """This thread's buffer, of at least `size` bytes."""
        if len(self._buffer) < size:
            self._buffer = memoryview(mmap.mmap(-1, size))
        return self._buffer


class PieceDigest:
    """The digest of one piece, computed while the piece is received.

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
        """Compare the digest after all `length` bytes of content. Return the content's xxh3-128 if computed. Raises DigestMismatch."""
        if self._algorithm == "framed":
            self.update(TAIL)
        found = self._digest.digest()
        shown = found.hex() + (f":{length + FRAME}" if self._algorithm == "framed" else "")
        if self._algorithm == "blake3" and len(self._wanted) == BLAKE3_PIECE:
            shown = shown[:BLAKE3_PIECE]
        if shown != self._wanted:
            raise DigestMismatch(f"a piece has {self._algorithm} {shown}, not {self._wanted}")
        return found if self._algorithm == "xxh3" else None


def verify(digest: str, frame: bytes, content: memoryview) -> bytes | None:
    """Check a whole piece in memory. Return and raises: see `PieceDigest.result`."""
    check = PieceDigest(digest, frame)
    check.update(content)
    return check.result(len(content))
