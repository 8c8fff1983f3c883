"""A download of this host as the peer server serves it: which bytes may be sent, and whether the file was changed since."""

from __future__ import annotations

import os
from functools import partial

from dfengine._bitset import Bitset
from dfengine._piece import Geometry
from dfengine.errors import BadRange, StorageError
from dfengine.storage.hashing import content_digest
from dfengine.storage.piece_file import PieceFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.storage.home import Entry


class ServedFile:
    """One download in the peer server, open for reading; closed with the last reference."""

    def __init__(self, entry: Entry, file: PieceFile) -> None:
        self.entry = entry
        self.file: PieceFile | None = file
        self.fd = file.fd
        self.touched = 0.0
        """Time of the last `Home.touch`, unix seconds."""
        self.corrupted: set[str] | None = None
        """See `Home.corrupted`."""
        self._ctime = 0
        self._verified: set[int] = set()
        self._corrupt: set[int] = set()

    @property
    def geometry(self) -> Geometry:
        return self._file().geometry

    @property
    def length(self) -> int:
        """Bytes of the whole file, -1 while unknown."""
        return self._file().geometry.length

    def has_range(self, offset: int, length: int) -> bool:
        """Whether the raw bytes offset..offset+length are written, and the file is unchanged since it was complete. Raises StorageError."""
        first, past = self.geometry.covering(offset, length)
        file = self._file()
        # Bounded by the record's capacity, whatever range is requested.
        if past > file.record.capacity or not file.record.has_range(first, past) or not file.unchanged():
            return False
        if not file.evicts and os.fstat(self.fd).st_ctime_ns != self._ctime:
            self._ctime = os.fstat(self.fd).st_ctime_ns
            self._verified.clear()
            self._corrupt.clear()
        return self._corrupt.isdisjoint(range(first, past)) if self._corrupt else True

    def check(self, offset: int, length: int, owner: object = None) -> tuple[Callable[[], bool] | None, bool]:
        """(Function that verifies the pieces of these raw bytes by their digests, for a thread; whether to call it before they are sent.)

        None for a running download: its bytes were verified on arrival. Those of a finished file were verified before it got its name,
        and its ctime, which cannot be set back, shows whether it may have changed since. It changes with the file's links, too.
        """
        file = self._file()
        if file.evicts or not file.record.complete_mtime:
            return None, False
        first, past = file.geometry.covering(offset, length)
        must = file.record.named_ctime != self._ctime and not self._verified.issuperset(range(first, past))
        return partial(self._compare, first, past), must

    def _compare(self, first: int, past: int) -> bool:
        """Verify pieces, in a thread. Wrong pieces are not served from now on."""
        file = self._file()
        buffer = memoryview(bytearray(file.geometry.content_size if past > first else 0))
        for n in range(first, past):
            try:
                same = content_digest(buffer[: file.read_into(n, buffer)]) == file.record.digest(n)
            except StorageError:
                same = False
            (self._verified if same else self._corrupt).add(n)
            if not same:
                self.mark_corrupted()
        return self._corrupt.isdisjoint(range(first, past))

    def mark_corrupted(self) -> None:
        """Record that one of its pieces has a wrong digest. In any thread."""
        if self.corrupted is not None:
            self.corrupted.add(self.entry.name)

    def locate(self, offset: int, length: int) -> tuple[int, int, Bitset | None, int, object]:
        """The place of these raw bytes, and for memory the bit that shows whether they are still stored.

        (descriptor, place, bits or None, piece, owner); the descriptor stays open as long as the owner is referenced. Raises BadRange for
        bytes in several pieces of memory, which is not contiguous.
        """
        file = self._file()
        if not file.evicts:
            return self.fd, offset, None, 0, self
        first, past = file.geometry.covering(offset, length)
        if past - first > 1:
            raise BadRange(f"{length} bytes at {offset} are in {past - first} pieces")
        if length:
            file.record.used.set(first)
        fd, place, _ = file.locate(first)
        return fd, place + offset - file.geometry.content(first)[0], file.available, first, self

    def close(self) -> None:
        """Release the descriptors. Idempotent."""
        file, self.file = self.file, None
        if file is not None:
            file.close()

    __del__ = close

    def _file(self) -> PieceFile:
        if self.file is None:
            raise StorageError(f"{self.entry.name} is closed")
        return self.file
