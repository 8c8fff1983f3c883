"""Reads a file once for all digests that a swarm needs to share it: of the whole, and of its pieces.

One thread reads and hashes pieces while another computes the sha256 of the bytes read before, which takes longest.
"""

from __future__ import annotations

import os
import stat
from concurrent.futures import Future, ThreadPoolExecutor

from dfengine._piece import Geometry
from dfengine.errors import BadValue, LocalError, StorageError
from dfengine.storage.hashing import hasher
from dfengine.storage.path_protection import resolved
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DIGEST = 16
"""Bytes of a piece's digest that are stored."""

BUFFERS = 3
"""Buffers of one piece: one is filled while the others are hashed."""


class Content(Value):
    """A file as it was read. path: without symbolic links. sha256: hex. digests: algorithm -> DIGEST bytes of each piece.

    state: (device, inode, size, mtime in ns, ctime in ns), by which a change is detected.
    """

    path: str
    length: int
    sha256: str
    digests: dict[str, bytes]
    state: tuple[int, int, int, int, int]


def state_of(found: os.stat_result) -> tuple[int, int, int, int, int]:
    """See Content.state."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def opened(path: str) -> tuple[str, int]:
    """Open a file to read: (path without symbolic links, descriptor). Raises BadValue for anything but a regular file, StorageError."""
    try:
        real = resolved(path)
        fd = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise StorageError(f"cannot open {path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise BadValue(f"{path} is no regular file")
    return real, fd


def read(path: str, algorithms: Iterable[str], progress: Callable[[int], None] = lambda done: None) -> Content:
    """Read a file. algorithms: of pieces' digests. progress: called with the bytes read so far, and may raise.

    Raises BadValue for anything but a regular file, StorageError, also for a file that changes meanwhile, LocalError.
    """
    real, fd = opened(path)
    try:
        return _read(real, fd, list(algorithms), progress)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None
    finally:
        os.close(fd)


def _read(path: str, fd: int, algorithms: list[str], progress: Callable[[int], None]) -> Content:
    before = state_of(os.fstat(fd))
    geometry = Geometry(before[2])
    whole, parts = hasher("sha256"), {name: bytearray() for name in algorithms}
    buffers = [memoryview(bytearray(max(1, min(geometry.content_size, geometry.length)))) for _ in range(BUFFERS)]
    pending: list[Future[object]] = []
    with ThreadPoolExecutor(1, "sha256") as thread:
        for n in range(geometry.count):
            offset, length = geometry.content(n)
            progress(offset)
            if len(pending) == BUFFERS:
                pending.pop(0).result()
            content = buffers[n % BUFFERS][:length]
            _fill(path, fd, content, offset)
            try:
                pending.append(thread.submit(whole.update, content))
            except RuntimeError as error:
                raise LocalError.without_thread(error) from None
            for name, digests in parts.items():
                check = hasher(name)
                check.update(content)
                digests += check.digest()[:DIGEST]
        for each in pending:
            each.result()
    if state_of(os.fstat(fd)) != before:
        raise StorageError(f"{path} changed while it was read: share it when it is complete")
    return Content(path, geometry.length, whole.hexdigest(), {name: bytes(digests) for name, digests in parts.items()}, before)


def _fill(path: str, fd: int, content: memoryview, offset: int) -> None:
    got = 0
    while got < len(content):
        count = os.preadv(fd, [content[got:]], offset + got)
        if not count:
            raise StorageError(f"{path} changed while it was read: share it when it is complete")
        got += count
