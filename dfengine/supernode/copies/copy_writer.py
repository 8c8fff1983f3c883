"""Writes bytes from an origin to the copy: each part is received, hashed and written while it is in the CPU's cache."""

from __future__ import annotations

import mmap
from time import monotonic

from dfengine._piece import Geometry
from dfengine.errors import OriginDiffers, StorageError
from dfengine.origin.piece_claims import ENDLESS
from dfengine.origin.version import Version
from dfengine.storage.piece_file import PieceFile
from dfengine.supernode.copies.fetch import Fetch

PART = 512 << 10
"""Size of a part in bytes."""


class CopyWriter:
    """Sink that writes to the copy `file` of a fetch; see origin.sink.Sink."""

    def __init__(self, fetch: Fetch, file: PieceFile) -> None:
        self._fetch = fetch
        self.file = file
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

        After a crash the copy is therefore not resumed.
        """
        self._fetch.description.set_version(Version())
        self._fetch.unbound = True
        self._fetch.describe()

    def begin_piece(self, n: int) -> PieceWriter:
        """Begin piece n; if the copy already has it, the bytes are compared."""
        if self.file.geometry.length < 0:
            self._fetch.cache.check_length(n * self.file.geometry.content_size)
        if n >= len(self.file.available):
            raise StorageError(f"the origin's file has more than the {n} pieces that there is room for")
        self._fetch.disk.keep_free()
        # Mapped, because malloc would raise its mmap threshold and retain hundreds of MiB of such buffers of many threads.
        part = self._parts.pop() if self._parts else memoryview(mmap.mmap(-1, PART))
        return PieceWriter(self._fetch, self.file, n, part, self._parts)

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
    """One arriving piece; see origin.sink.Piece."""

    def __init__(self, fetch: Fetch, file: PieceFile, n: int, part: memoryview, parts: list[memoryview]) -> None:
        self.received = 0
        self._fetch = fetch
        self._file = file
        self._n = n
        self._known = n in file.available
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
        """See origin.sink.Piece. Raises OriginDiffers if the copy has the piece with other bytes, StorageError."""
        self._flush()
        self._parts.append(self._part)
        self._digest = self._fetch.cache.finish(self._hash)
        if self._known and self._digest != self._file.record.digest(self._n):
            raise OriginDiffers("the origin sends other bytes than before")
        return self._known

    def publish(self) -> None:
        """Offer the piece to the swarm."""
        self._fetch.disk.write(self._fetch.task, lambda: self._file.publish(self._n, self._digest))
        self._fetch.piece_stored(self._n, monotonic() - self._started)
