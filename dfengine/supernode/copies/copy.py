"""A task's file in the supernode's cache. It serves only verified pieces, and has no descriptor open while it is idle.

Data on a disk may change after it was written. A copy that is found on the disk therefore begins without pieces; `verify` reads one and
compares it with the digest in the record. Pieces that this process wrote were verified as they arrived. After a complaint a piece is
verified again, and `drop` removes a wrong one.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable

from dfengine._bitset import Bitset
from dfengine.errors import OutOfResources, StorageError
from dfengine.storage.descriptors import Descriptors, OpenDescriptor, ReopenedFile
from dfengine.storage.os_errors import storage_error
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.record import Record


class Copy(PieceFile):
    """File of a copy. Use `create` or `open`, then `attach`. It is never closed: the last user of each descriptor closes it."""

    def __init__(self, path: str, fd: int, record: Record) -> None:
        super().__init__(path, fd, record)
        self._verified = Bitset(record.capacity)
        self._data: ReopenedFile | None = None
        self._digest: Callable[[memoryview], bytes] | None = None
        self.md5s: dict[int, bytes] = {}
        """Piece -> md5 of the framed piece, for 1.x. Not stored: the bytes on the disk may change after it was computed."""

    def attach(self, descriptors: Descriptors, digest: Callable[[memoryview], bytes]) -> None:
        """Call once, before use. digest: computes a piece's digest in the form that the record stores."""
        self._data, self._digest = ReopenedFile(self.path, self._fd, descriptors), digest

    @property
    def fd(self) -> int:
        return self.hold().fd

    def hold(self) -> OpenDescriptor:
        """Return the data's descriptor, for one use. Raises StorageError if the file was removed."""
        assert self._data is not None
        return self._data.hold()

    @property
    def available(self) -> Bitset:
        """Pieces that this process has verified; `record.available` are those that the record on the disk names."""
        return self._verified

    def publish(self, n: int, digest: bytes) -> None:
        super().publish(n, digest)
        self._verified.set(n)

    def buffer(self) -> memoryview:
        """Allocate room for the content of any piece of this file, in pages of its own."""
        size = self.geometry.content_size
        return memoryview(mmap.mmap(-1, size if self.geometry.length < 0 else max(1, min(size, self.geometry.length))))

    def verify(self, n: int, buffer: memoryview) -> bool:
        """Read piece n into `buffer` (see `buffer()`) and compare it with its digest. False: it was wrong or unreadable, and is dropped.

        Raises OutOfResources, which says nothing about the piece.
        """
        try:
            if self.matches_digest(n, buffer[: self.read_into(n, buffer)]):
                self._verified.set(n)
                return True
        except OutOfResources:
            raise
        except StorageError:
            pass
        self.drop(n)
        return False

    def matches_digest(self, n: int, content: memoryview) -> bool:
        """Whether `content` has the digest that the record names for piece n."""
        assert self._digest is not None
        return self._digest(content) == self.record.digest(n)

    def drop(self, n: int) -> None:
        """Remove piece n from the pieces that the copy has."""
        self._verified.clear(n)
        # If the record cannot be written, the next process verifies the piece and drops it then.
        with contextlib.suppress(StorageError):
            self.record.unpublish(n)

    def drop_truncated(self) -> list[int]:
        """If the data file was truncated, drop the pieces beyond its end, extend it again, and return them. Raises StorageError."""
        held = self.hold()
        try:
            size = os.fstat(held.fd).st_size
            if size >= self._minimum_size:
                return []
            lost = [n for n in self.available if sum(self.geometry.content(n)) > size]
            for n in lost:
                self.drop(n)
            os.ftruncate(held.fd, self._minimum_size)
            return lost
        except OSError as error:
            raise storage_error(f"cannot read {self.path}", error) from error

    def release(self) -> None:
        """Allow the file's descriptors to be closed when others are needed, because writing has paused or ended."""
        assert self._data is not None
        self._data.release()
        self.record.release()

    def detach(self) -> None:
        """Detach from a path that is about to be removed or reused. Running uploads finish."""
        if self._data is not None:
            self._data.detach()
            self.record.detach()

    __del__ = detach
