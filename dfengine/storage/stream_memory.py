"""A stream's pieces in memory: the interface of a file, `locate(piece)` included, without a byte on a disk.

Data and record are memfds. They need no mount of a certain size, and the kernel frees them when the last process that has them open ends,
for whatever reason. The kernel lets one thread at a time write to a file or free its pages, so the data are several: slot n is the
`piece_size` bytes at n * piece_size of number n % MEMORIES, sparse. That is a whole number of MiB, so every slot begins and ends with
a page.

    data 0  [ content 0 | 5 ][ hole                                   ][ content 4 | 5 ] ...
    data 1  [ hole          ][ hole: evicted ][ hole                                   ] ...
    data 2  [ hole                           ][ content 2 | 5 ][ hole                  ] ...
    data 3  [ hole                                            ][ hole: not here yet    ] ...

Law: a slot is never overwritten. sendfile and splice pass pages, not bytes, and a page may still be in a socket or a pipe when the
piece is evicted. A hole removes the pages from the slot, and other references to them stay valid; a piece that is fetched again gets new
pages.
"""

from __future__ import annotations

import os
import threading

from dfengine._piece import Geometry
from dfengine.errors import StorageError
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MEMORIES = 4
"""Data memfds of a stream. With two threads that write and evict pieces of 4 MiB, four give 1.9 times the speed of one."""

KEEP_SIZE, PUNCH_HOLE = 1, 2


class StreamMemory(PieceFile):
    """Slots and their record. One process writes and evicts; others, which received the descriptors, read."""

    in_memory = True

    def __init__(self, path: str, data: Sequence[int], record: Record) -> None:
        """data: MEMORIES descriptors."""
        super().__init__(path, data[0], record)
        self._minimum_size = 0
        self._data = tuple(data)
        self._write_locks = tuple(threading.Lock() for _ in data)

    @classmethod
    def allocate(cls, geometry: Geometry, generation: bytes = b"") -> StreamMemory:
        """An empty file that takes no memory yet. Raises StorageError."""
        data: list[int] = []
        try:
            data.extend(os.memfd_create("dfengine-stream", os.MFD_CLOEXEC) for _ in range(MEMORIES))
            return cls("the stream's memory", data, Record.in_memory(geometry, generation))
        except BaseException as error:
            for fd in data:
                os.close(fd)
            if isinstance(error, OSError):
                raise StorageError(f"no memory for a stream: {error.strerror}") from error
            raise

    @classmethod
    def adopt(cls, descriptors: Sequence[int]) -> StreamMemory:
        """Take over `descriptors` of another process: the result owns them. Raises StorageError."""
        if len(descriptors) != MEMORIES + 1:
            raise StorageError(f"{len(descriptors)} descriptors are no stream's memory")
        *data, record = descriptors
        return cls("a stream's memory", data, Record.adopt(record, keep=True))

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that another process needs to `adopt` this."""
        return [*self._data, self.record.fd]

    def locate(self, n: int) -> tuple[int, int, int]:
        """(descriptor, offset, length) of piece n's content in bytes; the caller has checked its bit."""
        return self._data[n % MEMORIES], n * self.geometry.piece_size, self.geometry.content(n)[1]

    evicts = True

    def learn_length(self, length: int) -> None:
        """Set the file's length in bytes, which was unknown."""
        self.record.learn_length(length)

    def evict(self, n: int) -> None:
        """Free piece n's memory. Its bit is cleared first: a sender checks it before the last byte. Raises StorageError."""
        if not self.record.unpublish(n):
            return
        size = self.geometry.piece_size
        if error := _fallocate(self._data[n % MEMORIES], KEEP_SIZE | PUNCH_HOLE, n * size, size):
            raise StorageError(f"a stream's memory cannot be freed: {os.strerror(error)}")

    def unchanged(self) -> bool:
        """True: no other program can change the memory."""
        return True

    def close(self) -> None:
        """Close all descriptors; the memory is freed with the last one in any process. Idempotent."""
        rest, self._data = self._data[1:], (-1,) * MEMORIES
        for fd in rest:
            if fd >= 0:
                os.close(fd)
        super().close()


def _fallocate(fd: int, mode: int, offset: int, length: int) -> int:
    """fallocate(2), which the module `os` lacks. Returns the errno, 0 on success."""
    import ctypes

    call = ctypes.CDLL(None, use_errno=True).fallocate
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return ctypes.get_errno() if call(fd, mode, offset, length) else 0
