"""Blobs that are whole and right, on the disk of this host, by their sha256.

    HOME/blobs/HEX          was had without credentials: who may ask the registry that is asked may have it
    HOME/blobs/HEX.PLACE    credentials opened it at this registry: only for what is asked there (with `--private split`: by these)

Otherwise a client that names its own registry would get, by its digest, what others' tokens opened.

A file is there only after its digest was compared. One that an earlier process left, or whose inode, length or times of change differ from
those that it had then, is compared again before it is given away. A program that writes to it can set the time of its data back, and not
that of its inode; a hard link that comes or goes changes the latter, too, and costs one comparison more.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat

from dfengine.errors import StorageError
from dfengine.proxy.blobs import pins
from dfengine.proxy.blobs.eviction import evict
from dfengine.storage.protected import is_own_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 1 << 20
USE_SECONDS = 60.0
"""Between two notes of a blob's use."""

READINGS = 3
"""Of one blob, while its links change in the meantime."""

State = tuple[int, int, int, int]
"""Inode, bytes, time of change of the data and of the inode, nanoseconds."""


class Kept:
    """An open blob; its descriptor is closed when nobody holds it."""

    def __init__(self, fd: int, length: int) -> None:
        self.fd = fd
        self.length = length

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.fd)


def name_of(hex: str, place: str) -> str:
    """Of a blob's file. place: the registry's URL where credentials opened it, "" where none were needed."""
    return f"{hex}.{hashlib.sha256(place.encode()).hexdigest()[:16]}" if place else hex


class Store:
    """home: the directory of this host's downloads. Raises StorageError where it cannot be used."""

    def __init__(self, home: str) -> None:
        self.path = os.path.join(home, pins.BLOBS)
        self._right: dict[str, State] = {}
        """What was compared by this process."""
        self._used: dict[str, float] = {}
        self.make()

    def make(self) -> None:
        """Make the directory, also again where somebody has removed it. Raises StorageError where it cannot be used."""
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            if not is_own_folder(self.path):
                raise StorageError(f"cannot use {self.path}: other users can write there: choose another --home")
        except OSError as error:
            raise StorageError(f"cannot use {self.path}: {error.strerror}") from error

    def free(self) -> int:
        """Bytes that the disk takes; 0 where the home cannot be used."""
        try:
            found = os.statvfs(self.path)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize

    def find(self, name: str) -> Kept | None:
        """The blob, if it was compared by this process and has not changed since. name: see name_of, also below."""
        seen = self._right.get(name)
        if seen is None:
            return None
        kept = self._open(name)
        if kept is None or state_of(kept.fd) != seen:
            self._right.pop(name, None)
            return None
        return kept

    def use(self, name: str, now: float) -> None:
        """It is given away at `now`, unix seconds: the blobs that were used longest ago leave first."""
        if now - self._used.get(name, 0.0) > USE_SECONDS:
            self._used[name] = now
            with contextlib.suppress(OSError), self.touching(name) as path:
                os.utime(path, ns=(int(now * 1e9), os.lstat(path).st_mtime_ns), follow_symlinks=False)

    @contextlib.contextmanager
    def touching(self, name: str) -> Iterator[str]:
        """Gives the blob's path to code that changes the file's links or its time of use: that time of change counts for nothing.

        Raises OSError.
        """
        path = os.path.join(self.path, name)
        before = state_of(path)
        right = self._right.get(name) == before
        try:
            yield path
        finally:
            after = state_of(path)
            if right and after[:3] == before[:3]:
                self._right[name] = after

    def evict(self, most: int) -> None:
        """Remove those used longest ago where they are more than `most` bytes (0: any), or the disk is nearly full. In a thread."""
        home = os.path.dirname(self.path)
        for name in evict(home, self.path, most, pins.pinned(home)):
            self._used.pop(name, None)
            self._right.pop(name, None)

    def check(self, name: str) -> Kept | None:
        """The same of one that nobody has compared: reads all of it, in a thread. What is wrong is removed."""
        kept = self._open(name)
        if kept is None:
            return None
        for _ in range(READINGS):
            state = state_of(kept.fd)
            if not _is_named(kept.fd, name):
                break
            if state_of(kept.fd) == state:
                self._right[name] = state
                return kept
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self.path, name))
        return None

    def add(self, name: str, path: str, fd: int) -> bool:
        """Keep the file at `path`, open as `fd`, whose digest was compared; nothing is copied. False: it cannot be kept."""
        target = os.path.join(self.path, name)
        with contextlib.suppress(OSError):
            if not os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd)):
                return False
            with contextlib.suppress(FileNotFoundError):
                os.unlink(target)
            with contextlib.suppress(StorageError):
                self.make()
            os.link(path, target, follow_symlinks=False)
            self._right[name] = state_of(fd)
            return True
        return False

    def exists(self, name: str) -> bool:
        """A file of that name is there, compared or not."""
        return os.path.exists(os.path.join(self.path, name))

    def _open(self, name: str) -> Kept | None:
        try:
            fd = os.open(os.path.join(self.path, name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            os.close(fd)
            return None
        return Kept(fd, found.st_size)


def _is_named(fd: int, name: str) -> bool:
    """It can be read, and is what its name says."""
    try:
        return sha256_of(fd) == name.partition(".")[0]
    except StorageError:
        return False


def sha256_of(fd: int) -> str:
    """Of a whole file, in hex. Raises StorageError."""
    digest, at = hashlib.sha256(), 0
    try:
        while block := os.pread(fd, BLOCK, at):
            digest.update(block)
            at += len(block)
    except OSError as error:
        raise StorageError(f"the file cannot be read again: {error.strerror}") from error
    return digest.hexdigest()


def state_of(file: int | str) -> State:
    """Of an open file, or of the one at a path. Raises OSError."""
    found = os.fstat(file) if isinstance(file, int) else os.lstat(file)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
