"""Files of this machine's own disk: for a supernode those below the directories that its operator names, for a download any.

Law: nothing outside a root is opened, whatever links, mounts or renames happen meanwhile. The kernel resolves the whole path beneath
the root's descriptor (openat2(2), RESOLVE_BENEATH; Linux 5.6). Without openat2 each segment is opened by itself and no link is followed.
Only regular files and directories are opened for reading: the path is first opened with O_PATH, which does not touch a device or a FIFO.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterable

from dfengine.errors import BadValue, OriginError

_OPENAT2 = 437
"""Number of the system call, the same on every architecture that Linux 5.6 runs on."""

_RESOLVE_NO_MAGICLINKS, _RESOLVE_BENEATH = 0x02, 0x08
_ABSENT = (errno.ENOSYS, errno.EPERM)
"""Errors of a kernel without the call, or of a container's filter."""

_PATH = os.O_PATH | os.O_CLOEXEC


class Roots:
    """Directories that may be read. directories: absolute paths; all files below them are readable. Raises BadValue for invalid paths."""

    def __init__(self, directories: Iterable[str]) -> None:
        self._directories: list[list[str]] = []
        for given in directories:
            if not given.startswith("/"):
                raise BadValue(f"--origin-root {given}: give the directory as an absolute path")
            if not os.path.isdir(given):
                raise BadValue(f"--origin-root {given}: there is no such directory")
            self._directories.append([part for part in given.split("/") if part])

    def open(self, path: str) -> int:
        """Open the regular file or directory at this absolute path for reading; the caller owns the descriptor.

        Raises OriginError: 403 for a path that is below no root or is of another kind, 404 for one that does not exist.
        """
        parts = [part for part in path.split("/") if part]
        if not path.startswith("/") or any(part in (".", "..") or "\0" in part for part in parts):
            raise _refused(path, "it is no plain absolute path")
        for root in sorted(self._directories, key=len, reverse=True):
            if parts[: len(root)] == root:
                return _readable(path, self._beneath(path, root, parts[len(root) :]))
        if not self._directories:
            raise _refused(path, "this supernode reads no files of its own disk: --origin-root DIR names what it may read")
        raise _refused(path, "it is below no --origin-root of this supernode")

    def _beneath(self, path: str, root: list[str], parts: list[str]) -> int:
        try:
            top = os.open("/" + "/".join(root), _PATH | os.O_DIRECTORY)
        except OSError as error:
            raise _failed(path, error) from None
        try:
            return _resolve(top, parts) if parts else os.dup(top)
        except OSError as error:
            if error.errno in (errno.EXDEV, errno.ELOOP):
                raise _refused(path, "a link on the way leads out of the --origin-root") from None
            raise _failed(path, error) from None
        finally:
            os.close(top)


class UnrestrictedRoots(Roots):
    """All files that the user of a download may read, as with curl."""

    def __init__(self) -> None:
        super().__init__(())

    def open(self, path: str) -> int:
        """See Roots."""
        try:
            return _readable(path, os.open(path, _PATH))
        except OSError as error:
            raise _failed(path, error) from None


class _How(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _resolve(top: int, parts: list[str]) -> int:
    """Open the path `parts` beneath `top` with O_PATH and return the descriptor. Raises OSError."""
    how = _How(_PATH, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    libc = ctypes.CDLL(None, use_errno=True)
    while True:
        fd = int(libc.syscall(_OPENAT2, top, os.fsencode("/".join(parts)), ctypes.byref(how), ctypes.sizeof(how)))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number in _ABSENT:
            return _walk(top, parts)
        if number not in (errno.EAGAIN, errno.EINTR):  # a concurrent rename
            raise OSError(number, os.strerror(number))


def _walk(top: int, parts: list[str]) -> int:
    """The same without openat2: no link is followed."""
    at = os.dup(top)
    for n, part in enumerate(parts):
        try:
            last = n == len(parts) - 1
            there = os.open(part, _PATH | os.O_NOFOLLOW | (0 if last else os.O_DIRECTORY), dir_fd=at)
        finally:
            os.close(at)
        at = there
        if stat.S_ISLNK(os.fstat(at).st_mode):
            os.close(at)
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return at


def _readable(path: str, fd: int) -> int:
    """Reopen this O_PATH descriptor for reading; the O_PATH one is closed."""
    try:
        mode = os.fstat(fd).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise _refused(path, "it is no regular file")
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise _failed(path, error) from None
    finally:
        os.close(fd)


def _refused(path: str, why: str) -> OriginError:
    return OriginError(f"{shown(path)} is not read: {why}", 403, final=True)


def _failed(path: str, error: OSError) -> OriginError:
    status = 404 if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG) else 403
    if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM):
        status = 500
    return OriginError(f"{shown(path)} cannot be read: {error.strerror}", status, final=True)


def shown(path: str) -> str:
    """A path for a message, as a file URL."""
    return "file://" + path.encode("utf-8", "replace").decode()
