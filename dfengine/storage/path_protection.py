"""Protection against files and links that other users of the host put at a path, as in /tmp.

The rules are the kernel's for world-writable sticky directories, as /tmp (protected_symlinks, protected_regular, protected_fifos:
Documentation/admin-guide/sysctl/fs.rst). They are applied here whatever the sysctls are, and also to a rename, which the kernel's rules
do not cover.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from dfengine.errors import StorageError

MAX_LINKS = 40
"""Limit of symbolic links that are followed, as in Linux."""


def _strange(owner: int, folder: os.stat_result, writers: int) -> bool:
    """Whether the owner is neither this user nor the owner of the folder, which is sticky and writable for `writers` (mode bits)."""
    sticky = folder.st_mode & stat.S_ISVTX and folder.st_mode & writers
    return bool(sticky) and owner not in (os.geteuid(), folder.st_uid)


def resolved(path: str) -> str:
    """`path` with every symbolic link followed, absolute; missing segments are appended unchanged.

    Raises StorageError for another user's link in a world-writable folder, OSError with ELOOP for a loop of links,
    and where the working directory no longer exists.
    """
    left = (path if os.path.isabs(path) else os.path.join(os.getcwd(), path)).split("/")[::-1]
    found, links = "/", 0
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        if name == "..":
            found = os.path.dirname(found)
            continue
        here = os.path.join(found, name)
        try:
            link = os.readlink(here)
        except OSError:  # no link, missing, or not readable: opening it raises
            found = here
            continue
        links += 1
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        with contextlib.suppress(FileNotFoundError):
            if _strange(os.lstat(here).st_uid, os.stat(found), stat.S_IWOTH):
                raise StorageError(f"{here} is another user's link in a folder that all may write to: remove it, or name another path")
        left += link.split("/")[::-1]
        if link.startswith("/"):
            found = "/"
    return found


def check_other(path: str, fd: int = -1) -> None:
    """Raise StorageError when `path`, or the open `fd`, is another user's file or pipe in a shared folder.

    Its owner could read the bytes written into it, or change them afterwards.
    """
    try:
        there = os.fstat(fd) if fd >= 0 else os.lstat(path)
        folder = os.stat(os.path.dirname(path) or ".")
    except OSError:
        return
    if (stat.S_ISREG(there.st_mode) or stat.S_ISFIFO(there.st_mode)) and _strange(there.st_uid, folder, stat.S_IWOTH | stat.S_IWGRP):
        raise StorageError(f"{path} is another user's in a folder that others may write to: remove it, or name another output")


def check_other_folder(path: str, fd: int) -> None:
    """Raise StorageError when the directory `fd`, at `path`, is another user's in a world-writable folder. Raises OSError.

    Its owner could replace files that are written into it.
    """
    if _strange(os.fstat(fd).st_uid, os.stat(os.path.dirname(path) or "."), stat.S_IWOTH | stat.S_IWGRP):
        raise StorageError(f"{path} is another user's in a folder that others may write to: name another directory")


def own_file(path: str, mode: int = 0o666) -> int:
    """Open a regular file of this user's to read and write, made if it is missing; -1: another kind of file has the name. Raises OSError.

    Another user with write permission could have put it there, and change the output after it was verified.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    with contextlib.suppress(FileExistsError):
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
    try:
        fd = os.open(path, flags)
    except OSError as error:
        # A link, a directory, a socket, a device without a driver, a file that this process may not open.
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.EACCES, errno.EPERM):
            return -1
        raise
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(fd)
        return -1
    return fd


def is_own_folder(path: str, writers: int = 0o022) -> bool:
    """Whether the path is a directory of this user's, and no link to one, that none of `writers` (mode bits) can write to. Raises OSError.
    """
    found = os.lstat(path)
    return found.st_uid == os.geteuid() and stat.S_ISDIR(found.st_mode) and not found.st_mode & writers


def removable(path: str) -> bool:
    """Whether the name is free, or a file of this user's, but no directory: a rename to it replaces that file. Raises OSError."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return True
    return found.st_uid == os.geteuid() and not stat.S_ISDIR(found.st_mode)
