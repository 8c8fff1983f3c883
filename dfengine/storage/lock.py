"""The lock of a home directory: one server uses it at a time."""

from __future__ import annotations

import fcntl

from dfengine.storage.path_protection import own_file


def lock_file(path: str) -> tuple[int, bool]:
    """Open the lock file to read and write, made if it is missing; True: it is locked until its last descriptor is closed.

    False: another process has locked it; the text that it wrote there can be read. The descriptor is -1 where the name belongs to anything
    else than a file of this user. Raises OSError.
    """
    fd = own_file(path, 0o600)
    if fd < 0:
        return -1, False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return fd, False
    return fd, True
