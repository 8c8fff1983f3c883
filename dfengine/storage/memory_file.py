"""A task's data in one memfd, in its own order: the same answer to `locate(piece)` as a file, and a buffer that can be mapped as a whole.

Data and record are memfds: they need no mount of a certain size, take memory only where pieces are, and go when the last process that has
them open goes, however that ends. Pieces do not leave before that. `slots.SlotFile` is for streams, whose pieces do.
"""

from __future__ import annotations

import os

from dfengine._piece import Geometry
from dfengine.errors import StorageError
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.record import Record
from dfengine.storage.slots import SlotFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

UNKNOWN = 4 << 30
"""Bytes that are taken for available where the system does not say."""


def available() -> int:
    """Bytes of memory that processes may still take."""
    try:
        with open("/proc/meminfo", "rb") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith(b"MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return UNKNOWN


class MemoryFile(PieceFile):
    """Data and record in memory. One process writes; others, who were handed the descriptors, read."""

    @classmethod
    def allocate(cls, geometry: Geometry, generation: bytes = b"") -> MemoryFile:
        """No piece here, no memory taken. Raises StorageError."""
        fd = -1
        try:
            fd = os.memfd_create("dfengine-file", os.MFD_CLOEXEC)
            os.ftruncate(fd, max(geometry.length, 0))
            return cls("the file's memory", fd, Record.in_memory(geometry, generation))
        except BaseException as error:
            if fd >= 0:
                os.close(fd)
            if isinstance(error, OSError):
                raise StorageError(f"no memory for a file: {error.strerror}") from error
            raise

    @property
    def descriptors(self) -> list[int]:
        """What another process needs to read it: the data, then the record."""
        return [self.fd, self.record.fd]

    def unchanged(self) -> bool:
        """Nobody else can reach it."""
        return True


def adopt(descriptors: Sequence[int]) -> PieceFile:
    """The memory of another process's file or stream, of the descriptors that it handed over: they are the result's then.

    Raises StorageError.
    """
    if len(descriptors) != 2:
        return SlotFile.adopt(descriptors)
    data, record = descriptors
    file = MemoryFile("a file's memory", data, Record.adopt(record))
    os.close(record)
    return file
