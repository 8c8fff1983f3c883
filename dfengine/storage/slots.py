"""A stream's pieces in memory: the same answer to `locate(piece)` as a file, without a byte on a disk.

Data and record are two memfds. They need no mount of a certain size, and they go when the last process that has them open goes,
however that ends. Slot n is the `piece_size` bytes at n * piece_size of the sparse data: a whole number of MiB, so every slot begins
and ends with a page.

    data    [ content 0 | 5 ][ hole: evicted ][ content 2 | 5 ][ hole: not here yet ] ...

Law: a slot is never overwritten. sendfile and splice hand out pages, not bytes, and a page may still wait in a socket or a pipe when the
piece is evicted. A hole takes the pages out of the slot and leaves them to who holds them; a piece that comes again gets fresh ones.
"""

from __future__ import annotations

import ctypes
import os

from dfengine._piece import Geometry
from dfengine.errors import StorageError
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.record import Record

KEEP_SIZE, PUNCH_HOLE = 1, 2


class SlotFile(PieceFile):
    """Slots and their record. One process writes and evicts; others, who were handed the descriptors, read."""

    @classmethod
    def allocate(cls, geometry: Geometry, generation: bytes = b"") -> SlotFile:
        """No piece here, no memory taken. Raises StorageError."""
        try:
            data = os.memfd_create("dfengine-stream", os.MFD_CLOEXEC)
        except OSError as error:
            raise StorageError(f"no memory for a stream: {error.strerror}") from error
        try:
            record = Record.in_memory(geometry, generation)
        except BaseException:
            os.close(data)
            raise
        return cls("the stream's memory", data, record)

    @classmethod
    def adopt(cls, data: int, record: int) -> SlotFile:
        """Of descriptors that another process handed over; `data` is the result's, `record` stays the caller's. Raises StorageError."""
        return cls("a stream's memory", data, Record.adopt(record))

    def locate(self, n: int) -> tuple[int, int, int]:
        """(descriptor, offset, length) of piece n's content in bytes; the caller has seen its bit."""
        return self.fd, n * self.geometry.piece_size, self.geometry.content(n)[1]

    evicts = True

    def at(self, offset: int) -> int:
        """Where in the data byte `offset` of the raw file lies."""
        n, within = divmod(offset, self.geometry.content_size)
        return n * self.geometry.piece_size + within

    def learn_length(self, length: int) -> None:
        """The file's length in bytes, once unknown, is known now."""
        self.record.learn_length(length)

    def evict(self, n: int) -> None:
        """Piece n is here no more. Its bit goes first: whoever sends it looks at it before the last byte. Raises StorageError."""
        if not self.here.clear(n):
            return
        size = self.geometry.piece_size
        if _fallocate(self.fd, KEEP_SIZE | PUNCH_HOLE, n * size, size):
            raise StorageError(f"a stream's memory cannot be given back: {os.strerror(ctypes.get_errno())}")

    def unchanged(self) -> bool:
        """Nobody else can reach it."""
        return True


def _fallocate(fd: int, mode: int, offset: int, length: int) -> int:
    """fallocate(2), which the module `os` has not."""
    call = ctypes.CDLL(None, use_errno=True).fallocate
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return int(call(fd, mode, offset, length))
