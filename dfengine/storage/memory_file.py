"""A task's data in one memfd, in its own order: the same answer to `locate(piece)` as a file, and a buffer that can be mapped as a whole.

Data and record are memfds: they need no mount of a certain size, take memory only where pieces are, and go when the last process that has
them open goes, however that ends. Pieces do not leave before that. `slots.SlotFile` is for streams, whose pieces do.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from dfengine._piece import Geometry
from dfengine.errors import StorageError
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.record import Record
from dfengine.storage.slots import SlotFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


SEAL_FUTURE_WRITE = 0x10
"""fcntl(2): no write, and no new writable mapping. The module `fcntl` has not the name."""


class MemoryFile(PieceFile):
    """Data and record in memory. One process writes; others, who were handed the descriptors, read."""

    in_memory = True

    @classmethod
    def allocate(cls, geometry: Geometry, generation: bytes = b"") -> MemoryFile:
        """No piece here, no memory taken. Raises StorageError."""
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
        """See `adopt`. Once nobody else writes there, this process may. Where the length is known the data cannot be cut."""
        data, record = descriptors
        try:
            state, seals = os.fstat(data), fcntl.fcntl(data, fcntl.F_GET_SEALS)
        except OSError as error:
            raise StorageError(f"what was handed over is no file's memory: {error.strerror}") from None
        adopted = Record.adopt(record, keep=True)
        length = adopted.geometry.length
        if state.st_uid != os.geteuid() or (length >= 0 and (state.st_size != length or not seals & fcntl.F_SEAL_SHRINK)):
            adopted.fd = -1
            adopted.close()
            raise StorageError("what was handed over is no file's memory")
        return cls("a file's memory", data, adopted)

    @property
    def descriptors(self) -> list[int]:
        """What another process needs to read it: the data, then the record."""
        return [self.fd, self.record.fd]

    def learn_length(self, length: int) -> None:
        """See PieceFile. It cannot be cut any more before anybody hears of the length."""
        try:
            os.ftruncate(self.fd, length)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        except OSError as error:
            raise StorageError(f"no memory for a file: {error.strerror}") from error
        super().learn_length(length)

    def protect(self) -> None:
        """See PieceFile. Before Linux 5.1 nothing is done."""
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, SEAL_FUTURE_WRITE)

    def unchanged(self) -> bool:
        """Nobody else can reach it."""
        return True


def adopt(descriptors: Sequence[int]) -> PieceFile:
    """The memory of another process's file or stream, of the descriptors that it handed over: they are the result's then.

    Raises StorageError.
    """
    return SlotFile.adopt(descriptors) if len(descriptors) != 2 else MemoryFile.adopt(descriptors)
