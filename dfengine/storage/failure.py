"""What an operating system's refusal to read or write means: a full disk is told from everything else."""

from __future__ import annotations

import errno

from dfengine.errors import DiskFull, StorageError

FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
"""No room: what these refuse may succeed once something else has left the disk."""


def storage_error(what: str, error: OSError) -> StorageError:
    """`what` (as in `cannot write PATH`) with the reason: DiskFull where room would help, else StorageError."""
    return (DiskFull if error.errno in FULL else StorageError)(f"{what}: {error.strerror or error}")
