"""Converts an OSError of a read or write into a StorageError; a full disk is DiskFull."""

from __future__ import annotations

import errno

from dfengine.errors import DiskFull, StorageError, TooLarge

FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
"""Errors of a full disk: the operation may succeed once space is freed."""


def storage_error(what: str, error: OSError) -> StorageError:
    """The exception for `error`, with `what` (as in `cannot write PATH`): DiskFull where free space would help, TooLarge where the file
    system's limit of a file is reached, else StorageError."""
    kind = DiskFull if error.errno in FULL else TooLarge if error.errno == errno.EFBIG and not _limited() else StorageError
    return kind(f"{what}: {error.strerror or error}")


def _limited() -> bool:
    """Whether this process has a limit for files (`ulimit -f`): then that limit is exceeded, not the file system's."""
    import resource

    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
