"""Writes bytes from an origin to the copy: each part is received, hashed and written while it is in the CPU's cache.

Law: of the pieces offered under one generation, each is of the same version, on all hosts. A generation that is a version's name is
used by clients that resume, by other supernodes and by the object store. So while responses may be of another version, a piece that the
copy had before must come back equal, and one that it never had is written only where this fetch alone uses the generation.
"""

from __future__ import annotations

import mmap
from time import monotonic

from dfengine._piece import Geometry
from dfengine.errors import OriginDiffers, StorageError
from dfengine.origin.piece_claims import ENDLESS
from dfengine.origin.version import Version
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.record import DIGEST
from dfengine.supernode.copies.fetch import Fetch

PART = 512 << 10
"""Size of a part in bytes."""

NO_DIGEST = bytes(DIGEST)
"""Digest of a piece that the copy never had."""


class MixedVersions(OriginDiffers):
    """A response may be of another version than the pieces that other hosts have under the copy's generation."""


class CopyWriter:
    """Sink that writes to the copy `file` of a fetch; see origin.piece_sink.Sink.

    compare: the responses may be of another version than the copy.
    """

    def __init__(self, fetch: Fetch, file: PieceFile, compare: bool = False) -> None:
        self._fetch = fetch
        self.file = file
        self._compare = compare
        self._parts: list[memoryview] = []

    @property
    def geometry(self) -> Geometry:
        return self.file.geometry

    @property
    def stopping(self) -> bool:
        """Whether the process is ending, or the task was forgotten."""
        return self._fetch.stopped

    @property
    def ordered(self) -> bool:
        """Whether pieces should arrive in order, because a thread computes md5s of them in order."""
        return self._fetch.computing_md5

    def invalidate_version(self) -> None:
        """Record that the copy mixes two responses without a common validator: the description names no version until the fetch ends.

        After a crash the copy is therefore not resumed. Raises MixedVersions if pieces are missing that others may have, StorageError.
        """
        self._compare = True
        if not self.file.record.is_complete():
            self._check_generation()
        self._fetch.description.set_version(Version())
        self._fetch.unbound = True
        self._fetch.describe()

    def _check_generation(self) -> None:
        """Raise MixedVersions unless this fetch alone uses the copy's generation."""
        fetch = self._fetch
        if fetch.description.generation != fetch.own_generation:
            fetch.mixed_versions += 1
            raise MixedVersions("the origin's file changed while it was read")

    def begin_piece(self, n: int) -> PieceWriter:
        """Begin piece n; if the copy already has it, the bytes are compared. Raises MixedVersions, StorageError."""
        if self.file.geometry.length < 0:
            self._fetch.cache.check_length(n * self.file.geometry.content_size)
        if n >= len(self.file.available):
            raise StorageError(f"the origin's file has more than the {n} pieces that there is room for")
        before = self.file.record.digest(n) if n in self.file.available or self._compare else NO_DIGEST
        if self._compare and before == NO_DIGEST:
            self._check_generation()
        self._fetch.disk.keep_free()
        # Mapped, because malloc would raise its mmap threshold and retain hundreds of MiB of such buffers of many threads.
        part = self._parts.pop() if self._parts else memoryview(mmap.mmap(-1, PART))
        return PieceWriter(self._fetch, self.file, n, part, self._parts, before)

    def stored(self) -> list[int]:
        """Pieces that the copy has."""
        return list(self.file.available)

    def window_end(self) -> int:
        """Return the end of the pieces to read: no limit."""
        return ENDLESS

    def wait_for_room(self, n: int) -> None:
        """Return at once: the disk is checked when the piece is written."""

    def wanted(self) -> int:
        """The piece that a stream waits for; -1: none."""
        return self._fetch.wanted_piece

    def learn_length(self, length: int) -> None:
        """Set the file's length, once the origin has sent it or the body has ended."""
        self._fetch.cache.check_length(length)
        self._fetch.disk.write(self._fetch.task, lambda: self.file.learn_length(length))

    def report(self, text: str) -> None:
        """Ignore messages: a supernode has no terminal."""


class PieceWriter:
    """One arriving piece; see origin.piece_sink.Piece. before: the digest that it must have, NO_DIGEST: any."""

    def __init__(self, fetch: Fetch, file: PieceFile, n: int, part: memoryview, parts: list[memoryview], before: bytes) -> None:
        self.received = 0
        self._fetch = fetch
        self._file = file
        self._n = n
        self._known = n in file.available
        self._before = before
        self._part = part
        self._parts = parts
        self._put = 0
        self._hash = fetch.cache.hasher()
        self._digest = b""
        self._started = monotonic()

    def buffer(self, want: int) -> memoryview:
        """The unused rest of the current part."""
        at = self.received - self._put
        return self._part[at : min(PART, at + want)]

    def advance(self, count: int) -> None:
        """Count received bytes. A full part is hashed, and written unless the copy already has the piece."""
        self.received += count
        if self.received - self._put == PART:
            self._flush()

    def _flush(self) -> None:
        part = self._part[: self.received - self._put]
        self._hash.update(part)
        if not self._known and part:
            fetch = self._fetch
            fetch.disk.write(fetch.task, lambda: self._file.write_part(self._n, self._put, part), PART, lambda: fetch.missing_bytes)
        self._put = self.received

    def finish(self) -> bool:
        """See origin.piece_sink.Piece. Raises OriginDiffers if the copy has, or had, the piece with other bytes, StorageError."""
        self._flush()
        self._parts.append(self._part)
        self._digest = self._fetch.cache.finish(self._hash)
        if self._before not in (NO_DIGEST, self._digest):
            raise OriginDiffers("the origin sends other bytes than before")
        return self._known

    def publish(self) -> None:
        """Offer the piece to the swarm."""
        self._fetch.disk.write(self._fetch.task, lambda: self._file.publish(self._n, self._digest))
        self._fetch.piece_stored(self._n, monotonic() - self._started)
