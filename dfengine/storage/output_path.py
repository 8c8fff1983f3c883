"""The output's path, from the options; and outputs that are streams instead of files.

Names are bytes: those of a URL are its percent-decoded bytes, also where these are not UTF-8 (PEP 383).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from urllib.parse import unquote_to_bytes, urlsplit

from dfengine.errors import BadValue, StorageError, TimedOut
from dfengine.storage.path_protection import MAX_LINKS, check_other, resolved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RETRY = 0.02
"""Seconds between two attempts to open a FIFO, which needs a reader."""

_DESCRIPTOR = re.compile(r"/dev/(?:std(?P<name>in|out|err)|fd/(?P<dev>\d{1,9}))|/proc/(?:self|thread-self)/fd/(?P<proc>\d{1,9})")


def url_name(url: str) -> str:
    """The last segment of the URL's path as a file's name. Raises BadValue where there is none."""
    name = os.path.basename(os.fsdecode(unquote_to_bytes(urlsplit(url).path)))
    if not name or name in (".", "..") or "\0" in name:
        raise BadValue("the URL names no file: use -o FILE")
    return name


def resolve_output(name: Callable[[], str], output: str, folder: str = "") -> str:
    """The path of the file: `output`, below `folder` if it is relative. If `output` is a folder, or ends in a slash, the file is in it.

    name: returns the file's name in a folder, and may raise BadValue.
    """
    path = os.path.join(folder, output)
    if output and not path.endswith("/") and not os.path.isdir(path):
        return path
    return os.path.join(path, name())


def prepare(path: str, create: bool) -> None:
    """Check that the file's folder exists; `create`: make it and those above it if they are missing. Raises StorageError."""
    parent = os.path.dirname(path)
    if create:
        try:
            os.makedirs(resolved(parent or "."), exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make the folder {parent}: {error.strerror}") from None
    elif parent and not os.path.lexists(parent):
        raise StorageError(f"cannot write beside {path}: No such file or directory; --create-dirs makes the folder {parent}")


def descriptor(path: str) -> int:
    """The descriptor of this process that `path` names, as /dev/stdout and /dev/fd/3 do, also through links; -1: none."""
    for _ in range(MAX_LINKS):
        match = _DESCRIPTOR.fullmatch(path)
        if match:
            name = match["name"]
            return ("in", "out", "err").index(name) if name else int(match["dev"] or match["proc"])
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        except OSError:
            return -1
    return -1


def takes_stream(path: str) -> bool:
    """Whether `path` is a FIFO or a character device, which is written into and not replaced."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


@contextlib.contextmanager
def opened(path: str, timeout: float = 0.0) -> Iterator[int]:
    """Open a descriptor that a stream can be written into, and that no child inherits: `path` is a descriptor's, a FIFO's or a device's.

    A FIFO without a reader is waited for, `timeout` seconds at most, 0 = without limit. Raises StorageError, TimedOut.
    """
    fd = descriptor(path)
    if fd >= 0:
        try:
            if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, "it is open for reading only")
            os.set_inheritable(fd, False)
        except OSError as error:
            raise StorageError(f"cannot write into {path}: {error.strerror}") from None
        yield fd
        return
    fd = _opened(path, timeout)
    try:
        yield fd
    finally:
        os.close(fd)


def _opened(path: str, timeout: float) -> int:
    """As open(2) for writing, but a signal and the timeout end the wait for a reader, and another user's pipe in /tmp is refused."""
    end = time.monotonic() + timeout
    place = resolved(path)
    while True:
        check_other(place)
        try:
            fd = os.open(place, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.ENXIO or not takes_stream(place):
                raise StorageError(f"cannot write into {path}: {error.strerror}") from None
        else:
            try:
                check_other(place, fd)  # checks the opened file: another user may have replaced it since
                os.set_blocking(fd, True)
            except BaseException:
                os.close(fd)
                raise
            return fd
        if timeout and time.monotonic() > end:
            raise TimedOut.after(timeout, f": no process reads from {path}")
        time.sleep(RETRY)
