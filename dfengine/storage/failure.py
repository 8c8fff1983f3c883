"""Turns an OSError of a read or write into a StorageError; a full disk is DiskFull."""

from __future__ import annotations

import errno

from dfengine.errors import DiskFull, StorageError, TooLarge

FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
"""No room: what these refuse may succeed once something else has left the disk."""


def storage_error(what: str, error: OSError) -> StorageError:
    """`what` (as in `cannot write PATH`) with the reason: DiskFull where room would help, TooLarge where none would, else StorageError."""
    kind = DiskFull if error.errno in FULL else TooLarge if error.errno == errno.EFBIG and not _limited() else StorageError
    return kind(f"{what}: {error.strerror or error}")


def _limited() -> bool:
    """The user gave this process a limit for files (`ulimit -f`): that is what refuses, not the file system."""
    import resource

    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
