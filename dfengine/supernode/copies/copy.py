"""A task's file in the supernode's cache: no descriptor while it is idle, no piece served that was not compared with its digest.

What lies on a disk from before, or since a while, may have changed there. So a copy that is found begins with no piece here; `prove`
reads one and compares it with the digest in the record. Pieces that this process wrote were compared as they came. Whoever doubts a
piece has it proved again, and `drop` takes out what is wrong.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable

from dfengine._bitset import Bitset
from dfengine.errors import StorageError
from dfengine.storage.descriptors import Descriptors, Held, OnDemand
from dfengine.storage.failure import storage_error
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.record import Record


class Copy(PieceFile):
    """Use `create` or `open`, then `keep_in`. Nobody closes it: its descriptors go with who uses them."""

    def __init__(self, path: str, fd: int, record: Record) -> None:
        super().__init__(path, fd, record)
        self._proved = Bitset(record.capacity)
        self._data: OnDemand | None = None
        self._digest: Callable[[memoryview], bytes] | None = None
        self.md5s: dict[int, bytes] = {}
        """Piece -> md5 of it as it is framed, for 1.x. Of this process: what is on the disk is no proof of what it was computed from."""

    def keep_in(self, descriptors: Descriptors, digest: Callable[[memoryview], bytes]) -> None:
        """Once, before it is used; digest: of a piece's content, as its record keeps it."""
        self._data, self._digest = OnDemand(self.path, self._fd, descriptors), digest

    @property
    def fd(self) -> int:
        """See PieceFile."""
        return self.hold().fd

    def hold(self) -> Held:
        """Raises StorageError when the file is gone."""
        assert self._data is not None
        return self._data.hold()

    @property
    def here(self) -> Bitset:
        """Pieces that this process compared with their digests; `record.here` are those that are said to be on the disk."""
        return self._proved

    def offer(self, n: int, digest: bytes) -> None:
        """See PieceFile."""
        super().offer(n, digest)
        self._proved.set(n)

    def buffer(self) -> memoryview:
        """Room for the content of any piece of this file, in pages of its own."""
        size = self.geometry.content_size
        return memoryview(mmap.mmap(-1, size if self.geometry.length < 0 else max(1, min(size, self.geometry.length))))

    def prove(self, n: int, buffer: memoryview) -> bool:
        """Read piece n into `buffer`, which has room for any piece, and compare it: True if it is right; else it is dropped."""
        assert self._digest is not None
        with contextlib.suppress(StorageError):
            if self._digest(buffer[: self.read_into(n, buffer)]) == self.record.digest(n):
                self._proved.set(n)
                return True
        self.drop(n)
        return False

    def drop(self, n: int) -> None:
        """Piece n is not here, or is wrong."""
        self._proved.clear(n)
        # Where the record cannot be written, whoever finds the copy compares again.
        with contextlib.suppress(StorageError):
            self.record.hide(n)

    def cut_off(self) -> list[int]:
        """Pieces that lay where somebody cut the data; they are dropped, and there is room for them again. Raises StorageError."""
        held = self.hold()
        try:
            size = os.fstat(held.fd).st_size
            if size >= self._reach:
                return []
            lost = [n for n in self.here if sum(self.geometry.content(n)) > size]
            for n in lost:
                self.drop(n)
            os.ftruncate(held.fd, self._reach)
            return lost
        except OSError as error:
            raise storage_error(f"cannot read {self.path}", error) from error

    def rest(self) -> None:
        """Nobody writes to it any more for now: no descriptor is kept for it that is needed elsewhere."""
        assert self._data is not None
        self._data.release()
        self.record.rest()

    def vanish(self) -> None:
        """Its path is about to be another file's, or nobody's. What is on its way goes on."""
        if self._data is not None:
            self._data.remove()
            self.record.abandon()

    __del__ = vanish
