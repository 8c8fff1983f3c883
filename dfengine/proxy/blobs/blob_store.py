"""Complete, verified blobs on the disk of this host, by their SHA-256.

    HOME/blobs/HEX          fetched without credentials: for any client that may ask the registry of its request
    HOME/blobs/HEX.PLACE    opened by credentials at this registry: only for requests to it (`--private split`: with these credentials)

Otherwise a client could name a registry of its own, and get by digest the blobs that others' tokens opened.

A file is stored only after its digest was compared. It is compared again before use if an earlier process left it, or if its inode,
length or times of change differ from those at the comparison. A program that writes to it can reset the time of its data, but not that
of its inode. Adding or removing a hard link changes the latter too, which costs one more comparison.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat

from dfengine.errors import StorageError
from dfengine.proxy.blobs import pins
from dfengine.proxy.blobs.eviction import evict
from dfengine.storage.path_protection import is_own_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 1 << 20
USE_SECONDS = 60.0
"""Interval between two updates of a blob's time of use."""

READINGS = 3
"""Maximum number of comparisons of one blob while its links change."""

State = tuple[int, int, int, int]
"""Inode, bytes, time of change of the data and of the inode in nanoseconds."""


class StoredBlob:
    """An open blob; its descriptor is closed with the last reference."""

    def __init__(self, fd: int, length: int) -> None:
        self.fd = fd
        self.length = length

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.fd)


def name_of(hex: str, server_url: str) -> str:
    """Name of a blob's file. server_url: the registry's URL if credentials opened it, "" if none were needed."""
    return f"{hex}.{hashlib.sha256(server_url.encode()).hexdigest()[:16]}" if server_url else hex


class BlobStore:
    """home: the directory of this host's downloads. Raises StorageError if it cannot be used."""

    def __init__(self, home: str) -> None:
        self.path = os.path.join(home, pins.BLOBS)
        self._verified: dict[str, State] = {}
        """States of the files that this process has compared."""
        self._used: dict[str, float] = {}
        self.ensure_folder()

    def ensure_folder(self) -> None:
        """Make the directory, also after its removal. Raises StorageError if it cannot be used."""
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            if not is_own_folder(self.path):
                raise StorageError(f"cannot use {self.path}: other users can write there: choose another --home")
        except OSError as error:
            raise StorageError(f"cannot use {self.path}: {error.strerror}") from error

    def free_bytes(self) -> int:
        """Free bytes of the disk; 0 if the home cannot be used."""
        try:
            found = os.statvfs(self.path)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize

    def find(self, name: str) -> StoredBlob | None:
        """The blob, if this process has compared it and it has not changed since. name: see name_of, also below."""
        seen = self._verified.get(name)
        if seen is None:
            return None
        kept = self._open(name)
        if kept is None or state_of(kept.fd) != seen:
            self._verified.pop(name, None)
            return None
        return kept

    def mark_used(self, name: str, now: float) -> None:
        """Record the use of a blob at `now`, unix seconds: the least recently used ones are evicted first."""
        if now - self._used.get(name, 0.0) > USE_SECONDS:
            self._used[name] = now
            with contextlib.suppress(OSError), self.touching(name) as path:
                os.utime(path, ns=(int(now * 1e9), os.lstat(path).st_mtime_ns), follow_symlinks=False)

    @contextlib.contextmanager
    def touching(self, name: str) -> Iterator[str]:
        """Yield the blob's path to code that changes the file's links or time of use; the resulting time of change is accepted.

        Raises OSError.
        """
        path = os.path.join(self.path, name)
        before = state_of(path)
        right = self._verified.get(name) == before
        try:
            yield path
        finally:
            after = state_of(path)
            if right and after[:3] == before[:3]:
                self._verified[name] = after

    def evict(self, most: int) -> None:
        """Evict the least recently used blobs beyond `most` bytes (0: no limit), and if the disk is nearly full. In a thread."""
        home = os.path.dirname(self.path)
        for name in evict(home, self.path, most, pins.pinned(home)):
            self._used.pop(name, None)
            self._verified.pop(name, None)

    def verify(self, name: str) -> StoredBlob | None:
        """The blob, verified by reading all of it, in a thread. A file with a wrong digest is removed."""
        kept = self._open(name)
        if kept is None:
            return None
        for _ in range(READINGS):
            state = state_of(kept.fd)
            if not _is_named(kept.fd, name):
                break
            if state_of(kept.fd) == state:
                self._verified[name] = state
                return kept
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self.path, name))
        return None

    def add(self, name: str, path: str, fd: int) -> bool:
        """Store the verified file at `path`, open as `fd`, by a hard link. False if that fails."""
        target = os.path.join(self.path, name)
        with contextlib.suppress(OSError):
            if not os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd)):
                return False
            with contextlib.suppress(FileNotFoundError):
                os.unlink(target)
            with contextlib.suppress(StorageError):
                self.ensure_folder()
            os.link(path, target, follow_symlinks=False)
            self._verified[name] = state_of(fd)
            return True
        return False

    def exists(self, name: str) -> bool:
        """Whether a file of that name exists, compared or not."""
        return os.path.exists(os.path.join(self.path, name))

    def _open(self, name: str) -> StoredBlob | None:
        try:
            fd = os.open(os.path.join(self.path, name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            os.close(fd)
            return None
        return StoredBlob(fd, found.st_size)


def _is_named(fd: int, name: str) -> bool:
    """Whether it can be read and has the digest in its name."""
    try:
        return sha256_of(fd) == name.partition(".")[0]
    except StorageError:
        return False


def sha256_of(fd: int) -> str:
    """SHA-256 of a whole file, in hex. Raises StorageError."""
    digest, at = hashlib.sha256(), 0
    try:
        while block := os.pread(fd, BLOCK, at):
            digest.update(block)
            at += len(block)
    except OSError as error:
        raise StorageError(f"the file cannot be read again: {error.strerror}") from error
    return digest.hexdigest()


def state_of(file: int | str) -> State:
    """State of an open file, or of the file at a path. Raises OSError."""
    found = os.fstat(file) if isinstance(file, int) else os.lstat(file)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
