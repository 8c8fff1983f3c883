"""A task's data in one memfd, in its own order: `locate(piece)` as in a file, and a buffer that can be mapped as a whole.

Data and record are memfds: they need no mount of a certain size, take memory only where pieces are, and are freed when the last process
that has them open ends, for whatever reason. Pieces are not evicted. `stream_memory.StreamMemory` is for streams, whose pieces are.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from dfengine._piece import Geometry
from dfengine.errors import StorageError
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.record import Record
from dfengine.storage.stream_memory import StreamMemory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


SEAL_FUTURE_WRITE = 0x10
"""fcntl(2): no write, and no new writable mapping. The module `fcntl` lacks the name."""


class MemoryFile(PieceFile):
    """Data and record in memory. One process writes; others, which received the descriptors, read."""

    in_memory = True

    @classmethod
    def allocate(cls, geometry: Geometry, generation: bytes = b"") -> MemoryFile:
        """An empty file that takes no memory yet. Raises StorageError."""
        fd = -1
        try:
            fd = os.memfd_create("dfengine-file", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(fd, max(geometry.length, 0))
            if geometry.length >= 0:
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            return cls("the file's memory", fd, Record.in_memory(geometry, generation))
        except BaseException as error:
            if fd >= 0:
                os.close(fd)
            if isinstance(error, OSError):
                raise StorageError(f"no memory for a file: {error.strerror}") from error
            raise

    @classmethod
    def adopt(cls, descriptors: Sequence[int]) -> MemoryFile:
        """See `adopt`. Once no other process writes there, this process may. Data of known length must be sealed against truncation."""
        data, record = descriptors
        try:
            state, seals = os.fstat(data), fcntl.fcntl(data, fcntl.F_GET_SEALS)
        except OSError as error:
            raise StorageError(f"the descriptors are no file's memory: {error.strerror}") from None
        adopted = Record.adopt(record, keep=True)
        length = adopted.geometry.length
        if state.st_uid != os.geteuid() or (length >= 0 and (state.st_size != length or not seals & fcntl.F_SEAL_SHRINK)):
            adopted.fd = -1
            adopted.close()
            raise StorageError("the descriptors are no file's memory")
        return cls("a file's memory", data, adopted)

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that another process needs to read it: the data, then the record."""
        return [self.fd, self.record.fd]

    def learn_length(self, length: int) -> None:
        """See PieceFile. The data is sealed against truncation before the length is published."""
        try:
            os.ftruncate(self.fd, length)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        except OSError as error:
            raise StorageError(f"no memory for a file: {error.strerror}") from error
        super().learn_length(length)

    def protect(self) -> None:
        """See PieceFile. Does nothing before Linux 5.1."""
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, SEAL_FUTURE_WRITE)

    def unchanged(self) -> bool:
        """True: no other program can change the memory."""
        return True


def adopt(descriptors: Sequence[int]) -> PieceFile:
    """Take over the memory of another process's file or stream: the result owns the descriptors.

    Raises StorageError.
    """
    return StreamMemory.adopt(descriptors) if len(descriptors) != 2 else MemoryFile.adopt(descriptors)
