"""Converts an OSError of a file into a StorageError; a full disk is DiskFull, a lack of descriptors or memory OutOfResources."""

from __future__ import annotations

import errno

from dfengine.errors import DiskFull, OutOfResources, StorageError, TooLarge

FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
"""Errors of a full disk: the operation may succeed once space is freed."""

EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""Errors of a process or host without descriptors or memory; they say nothing about the file."""


def storage_error(what: str, error: OSError) -> StorageError:
    """The exception for `error`, with `what` (as in `cannot write PATH`): DiskFull where free space would help, OutOfResources where
    descriptors or memory are short, TooLarge where the file system's limit of a file is reached, else StorageError."""
    kind = StorageError
    if error.errno in FULL:
        kind = DiskFull
    elif error.errno in EXHAUSTED:
        kind = OutOfResources
    elif error.errno == errno.EFBIG and not _limited():
        kind = TooLarge
    return kind(f"{what}: {error.strerror or error}")


def _limited() -> bool:
    """Whether this process has a limit for files (`ulimit -f`): then that limit is exceeded, not the file system's."""
    import resource

    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
