"""Reads all files below a directory once, for all digests that a swarm needs to share it.

A shared directory is two contents: the data, which is the concatenation of all files, and the manifest, whose base is the name of the data
and which has the digest of every file. The name of the manifest is the name of the directory.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor

from dfengine._piece import Geometry
from dfengine.errors import BadListing, BadValue, LocalError, StorageError
from dfengine.location import content_url
from dfengine.manifest import File, Manifest, link_of
from dfengine.storage.content_digests import DIGEST, state_of
from dfengine.storage.hashing import hasher
from dfengine.storage.path_protection import resolved
from dfengine.tree import USED
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

STEP = 1 << 20
"""Bytes read at once."""

BUFFERS = 4
"""Buffers: one is filled while the others are hashed."""


class TreeContent(Value):
    """A directory as it was read. path: without symbolic links. sha256: hex, of the data. digests: algorithm -> DIGEST bytes of each piece.

    root: device and inode of the directory.
    """

    path: str
    root: tuple[int, int]
    sha256: str
    digests: dict[str, bytes]
    manifest: Manifest


def _walk(root: str, below: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Path below `root` and status of each file. Raises BadValue for anything but files and directories, OSError."""
    with os.scandir(os.path.join(root, below) if below else root) as found:
        entries = list(found)
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        if not below and entry.name.startswith(USED):
            continue  # parts of an unfinished download
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, path)
        elif entry.is_file(follow_symlinks=False):
            yield path, entry.stat(follow_symlinks=False)
        else:
            kind = "a symbolic link" if entry.is_symlink() else "neither a file nor a directory"
            raise BadValue(f"{os.path.join(root, path)} is {kind}: a directory is shared with plain files only")


def read(path: str, algorithms: Iterable[str], progress: Callable[[int], None] = lambda done: None) -> TreeContent:
    """Read a directory; see `content_digests.read`. Raises BadValue with the path for files that cannot be shared; StorageError."""
    try:
        root = resolved(path)
        found = os.stat(root)
        files = sorted(_walk(root))
        if not files:
            raise BadValue(f"{path} contains no file")
        return _Reading(root, files, list(algorithms), progress).run((found.st_dev, found.st_ino))
    except OSError as error:
        raise StorageError(f"cannot read {error.filename or path}: {error.strerror}") from None
    except BadListing as error:
        raise BadValue(f"{path} cannot be shared: {error}") from None
    except RecursionError:
        raise BadValue(f"{path} is too deep") from None


class _Reading:
    def __init__(self, root: str, files: list[tuple[str, os.stat_result]], algorithms: list[str], progress: Callable[[int], None]) -> None:
        self._root = root
        self._files = files
        self._progress = progress
        self._size = Geometry(sum(found.st_size for _, found in files)).content_size
        self._whole = hasher("sha256")
        self._parts = {name: bytearray() for name in algorithms}
        self._hashes = {name: hasher(name) for name in algorithms}
        self._done = 0
        self._buffers = [memoryview(bytearray(STEP)) for _ in range(BUFFERS)]
        self._pending: list[Future[object]] = []
        self._turn = 0

    def run(self, root: tuple[int, int]) -> TreeContent:
        """Read all files. Raises BadValue, LocalError, StorageError, OSError."""
        with ThreadPoolExecutor(1, "sha256") as self._thread:
            digests = [self._file(path, found) for path, found in self._files]
            for each in self._pending:
                each.result()
        if self._done % self._size or not self._done:
            self._end_piece()
        sha256 = self._whole.hexdigest()
        base = content_url(sha256) + "/"
        rows = [
            File(path, base + link_of(path), found.st_size, "", max(-1, found.st_mtime_ns // 10**9), digest, found.st_mode & 0o777)
            for (path, found), digest in zip(self._files, digests, strict=True)
        ]
        return TreeContent(self._root, root, sha256, {name: bytes(each) for name, each in self._parts.items()}, Manifest(base, rows))

    def _file(self, path: str, found: os.stat_result) -> str:
        full = os.path.join(self._root, path)
        fd = os.open(full, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            own, left = hasher("sha256"), found.st_size
            while left:
                self._progress(self._done)
                if len(self._pending) == BUFFERS - 1:
                    self._pending.pop(0).result()
                buffer = self._buffers[self._turn % BUFFERS]
                self._turn += 1
                got = os.readv(fd, [buffer[: min(left, STEP)]])
                if not got:
                    break
                try:
                    self._pending.append(self._thread.submit(self._whole.update, buffer[:got]))
                except RuntimeError as error:
                    raise LocalError.without_thread(error) from None
                own.update(buffer[:got])
                self._add(buffer[:got])
                left -= got
            if left or state_of(os.fstat(fd)) != state_of(found):
                raise StorageError(f"{full} changed while it was read: share the directory when it is complete")
        finally:
            os.close(fd)
        return f"sha256:{own.hexdigest()}"

    def _add(self, content: memoryview) -> None:
        while content:
            part = content[: self._size - self._done % self._size]
            for each in self._hashes.values():
                each.update(part)
            self._done += len(part)
            content = content[len(part) :]
            if self._done % self._size == 0:
                self._end_piece()

    def _end_piece(self) -> None:
        for name, each in self._hashes.items():
            self._parts[name] += each.digest()[:DIGEST]
            self._hashes[name] = hasher(name)
