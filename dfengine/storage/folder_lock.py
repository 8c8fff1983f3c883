"""The lock of a directory to which a tree is downloaded: one such download at a time writes there.

    DIR/.dfengine.lock      exists while a download runs; one that a killed process has left is not locked

It is a file of its own, because users lock the directory itself around a command (flock(1)).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time

from dfengine.errors import StorageError

NAME = ".dfengine.lock"

PATIENCE = 0.3
"""Seconds within which a process that only checks the lock releases it."""

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def lock(root: int, folder: str) -> int:
    """Lock the open directory `root`; return the lock's descriptor. Raises StorageError where another download has it, OSError."""
    end = time.monotonic() + PATIENCE
    while True:
        fd = _opened(root, folder)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last owner may have removed it between our open and our lock.
            if os.path.samestat(os.fstat(fd), os.stat(NAME, dir_fd=root, follow_symlinks=False)):
                return fd
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno != errno.EAGAIN or time.monotonic() > end:
                os.close(fd)
                if error.errno != errno.EAGAIN:
                    raise
                raise StorageError(f"another download writes a tree to {folder}: wait for it") from None
            time.sleep(0.02)
        os.close(fd)


def _opened(root: int, folder: str) -> int:
    while True:
        try:
            with contextlib.suppress(FileExistsError):
                return os.open(NAME, _FLAGS | os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=root)
            with contextlib.suppress(PermissionError):
                return _file(os.open(NAME, _FLAGS | os.O_RDWR, dir_fd=root))
            return _file(os.open(NAME, _FLAGS, dir_fd=root))  # another user's, left by a killed process
        except FileNotFoundError:
            if not os.fstat(root).st_nlink:
                raise  # the directory was removed
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EINVAL):
                raise
            raise StorageError(f"{os.path.join(folder, NAME)} is no file: remove it") from None


def _file(fd: int) -> int:
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, "no file")


def unlock(root: int, fd: int) -> None:
    """Remove the file and release the lock."""
    with contextlib.suppress(OSError):
        os.unlink(NAME, dir_fd=root)
    os.close(fd)


def clock(fd: int) -> int:
    """The time of the file system, unix nanoseconds. fd: of `lock`."""
    with contextlib.suppress(OSError):
        os.utime(fd)
        return os.fstat(fd).st_ctime_ns
    return time.time_ns()


def is_held(folder: str | int) -> bool:
    """Whether a download of a tree writes to the directory, given as a path or a descriptor."""
    path, root = (NAME, folder) if isinstance(folder, int) else (os.path.join(folder, NAME), None)
    try:
        fd = os.open(path, _FLAGS, dir_fd=root)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(fd)
    return False


def held_above(folder: str) -> str:
    """The nearest directory above `folder`, which is absolute, to which a download of a tree writes; "": there is none."""
    while (above := os.path.dirname(folder)) != folder:
        if is_held(above):
            return above
        folder = above
    return ""
