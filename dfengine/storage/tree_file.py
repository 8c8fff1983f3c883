"""The data of a tree in its files: `PieceFile` for bytes that are scattered into many files.

A piece is verified in memory and then written into the files that it covers (`_scatter`). A file gets its name when all of it is verified;
a long one is a part until then. Files that cannot be written, or whose digest differs from the manifest's, are listed in `failed`, and
the others are completed. A piece with bytes of a failed file counts as missing: it is neither served nor resumed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading

from dfengine.errors import BadRange, DfengineError, DigestMismatch, StorageError
from dfengine.storage.hashing import hasher
from dfengine.storage.os_errors import storage_error
from dfengine.storage.piece_file import PieceFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from dfengine.storage._scatter import Scatter
    from dfengine.storage.hashing import Hasher
    from dfengine.storage.record import Record

_OF_ONE = frozenset(
    (errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EXDEV, errno.ELOOP, errno.ENOTEMPTY, errno.EEXIST,
     errno.EINVAL, errno.ETXTBSY, errno.EBUSY, errno.EILSEQ)
)  # fmt: skip
"""Errors that concern a single file; any other ends the download."""

STEP = 1 << 20
"""Bytes hashed at once of files that are read back."""


class TreeFile(PieceFile):
    """A tree's data below `folder`; `fd` is locked while it is written, or the directory's. digests: `sha256:HEX` or "" for each file, ():
    none.

    One process writes; any number read, by a `Scatter` of their own.
    """

    scattered = True

    def __init__(self, folder: str, fd: int, record: Record, scatter: Scatter, digests: Sequence[str] = ()) -> None:
        super().__init__(folder, fd, record)
        self.scatter = scatter
        self.failed: dict[int, DfengineError] = {}
        """Number of a file -> why it does not have its name."""
        self._digests = digests if any(digests) else ()
        self._lock = threading.Lock()
        self._missing: dict[int, int] = {}
        """File in several pieces -> number of its missing pieces."""
        self._hashing: dict[int, _Hashing] = {}

    def count_missing(self) -> None:
        """Count the missing pieces of the files in several pieces; the last one completes the file. Call before the first piece arrives."""
        scatter = self.scatter
        geometry = self.geometry
        for n in range(1, geometry.count):
            file = scatter.covered(geometry.content(n)[0], 1)[0]
            if file not in self._missing and file < scatter.count and scatter.in_part(file) and scatter.state(file) not in (1, 2):
                first, past = geometry.covering(*scatter.extent(file))
                self._missing[file] = sum(n not in self.available for n in range(first, past))
                if self._digests and self._digests[file]:
                    self._hashing[file] = _Hashing(*scatter.extent(file))

    @property
    def descriptors(self) -> list[int]:
        """The descriptors of the locked directory, of the directories of files and parts, and of the record."""
        return [fd for fd in (self._fd, self.scatter.root, self.scatter.parts, self.record.fd) if fd >= 0]

    def locate(self, n: int) -> tuple[int, int, int]:
        """Raise BadRange: a piece may be in several files."""
        raise BadRange(f"piece {n} of a tree is in several files")

    def accepts_parts(self, n: int) -> bool:
        """See PieceFile: True for a piece within one file."""
        offset, length = self.geometry.content(n)
        first, past = self.scatter.covered(offset, length)
        return past - first == 1 and first not in self._hashing and self.scatter.in_part(first)

    def write(self, n: int, content: bytes | bytearray | memoryview, digest: bytes) -> None:
        """See PieceFile. Raises StorageError for an error that concerns all files."""
        view = memoryview(content).cast("B")
        offset, length = self.geometry.content(n)
        first, past = self.scatter.covered(offset, length)
        if self._digests:
            self._compare(first, past, view, offset)
        self._put(view, offset)
        for file in {first, past - 1} & self._hashing.keys():
            self._hashing[file].add(view, offset)
        self.publish(n, digest)

    def _compare(self, first: int, past: int, content: memoryview, offset: int) -> None:
        """Compare the digests of files that are whole in the piece; files with a wrong one are not written."""
        for file in range(first, past):
            begin, size = self.scatter.extent(file)
            if self._digests[file] and begin >= offset and begin + size <= offset + len(content) and self.scatter.state(file) == 0:
                self._check(file, hasher("sha256"), content[begin - offset : begin - offset + size])

    def _check(self, file: int, hash_: Hasher, rest: memoryview) -> bool:
        hash_.update(rest)
        found = f"sha256:{hash_.hexdigest()}"
        if found != self._digests[file]:
            self.fail(file, DigestMismatch(f"{self._name(file)} has the digest {found}, not {self._digests[file]}"))
        return found == self._digests[file]

    def write_part(self, n: int, at: int, content: bytes | bytearray | memoryview) -> None:
        """See PieceFile; only for a piece that `accepts_parts`."""
        self._put(memoryview(content).cast("B"), self.geometry.content(n)[0] + at)

    def _put(self, view: memoryview, offset: int) -> None:
        for file, number in self.scatter.put(view, offset):
            if number == errno.ESTALE:
                raise StorageError(f"the part of {self._name(file)} was cut short by another program: run it again")
            if number not in _OF_ONE:
                raise storage_error(f"cannot write {self._name(file)}", OSError(number, os.strerror(number)))
            self.fail(file, StorageError(f"cannot write {self._name(file)}: {self._why(file, number)}"))

    def _name(self, file: int) -> str:
        return os.path.join(self.path, os.fsdecode(self.scatter.path(file)))

    def _why(self, file: int, number: int) -> str:
        """The error's message, which names the obstacle."""
        if number == errno.EISDIR:
            return "a directory has its name"
        if number == errno.ENOTDIR:
            at = self.path
            for part in os.fsdecode(self.scatter.path(file)).split("/")[:-1]:
                at = os.path.join(at, part)
                if os.path.islink(at):
                    return f"{at} is a symbolic link: nothing is written through it"
                if os.path.lexists(at) and not os.path.isdir(at):
                    return f"{at} is no directory"
        return os.strerror(number)

    def fail(self, file: int, why: DfengineError) -> None:
        """Record that the file is not written; a file that has its name stays."""
        with self._lock:
            self.failed.setdefault(file, why)
            self.scatter.set_state(file, 2)
        self.scatter.discard(file)

    def publish(self, n: int, digest: bytes) -> None:
        """See PieceFile; files that are complete now get their names."""
        first, past = self.scatter.covered(*self.geometry.content(n))
        with self._lock:
            if not any(first <= file < past for file in self.failed):
                super().publish(n, digest)
            whole = []
            for file in {first, past - 1} & self._missing.keys():
                self._missing[file] -= 1
                if not self._missing[file]:
                    whole.append(file)
        for file in whole:
            self.finish(file)

    def finish(self, file: int) -> None:
        """Give a complete file its name if its digest is right. Raises StorageError for an error that concerns all files."""
        if file in self._hashing and self.scatter.state(file) not in (1, 2):
            self._check(file, self._hashing[file].all(self), memoryview(b""))
        if self.scatter.state(file) in (1, 2):
            return
        number = self.scatter.finish(file) if self.scatter.in_part(file) else self.scatter.create(file)
        if number == errno.ESTALE or number == errno.ENOENT:
            raise StorageError(f"the part of {self._name(file)} was cut short by another program: run it again")
        if number and number not in _OF_ONE:
            raise storage_error(f"cannot write {self._name(file)}", OSError(number, os.strerror(number)))
        if number:
            self.fail(file, StorageError(f"cannot write {self._name(file)}: {self._why(file, number)}"))

    def finish_all(self) -> None:
        """Name the remaining files, once all pieces are on disk. Raises StorageError."""
        file = self.scatter.wanted()
        while file >= 0:
            size = self.scatter.extent(file)[1]
            if size and (not self.scatter.in_part(file) or self._missing.get(file)):
                raise StorageError(f"{self._name(file)} is not whole")
            if not size and self._digests and self._digests[file]:
                self._check(file, hasher("sha256"), memoryview(b""))
            self.finish(file)
            file = self.scatter.wanted(file + 1)

    def read_into(self, n: int, buffer: memoryview) -> int:
        """See PieceFile: read from the files."""
        offset, length = self.geometry.content(n)
        bad = self.scatter.read_into(buffer, offset, length)
        if bad >= 0:
            raise StorageError(f"{self._name(bad)} is missing or was changed")
        return length

    def learn_length(self, length: int) -> None:
        """Raise StorageError for another length: a tree's is known."""
        if length != self.geometry.length:
            raise StorageError(f"a tree of {self.geometry.length} bytes has no {length}")

    def mark_complete(self) -> None:
        """Record that all files have their names."""
        self.record.set_complete(1)

    def unchanged(self) -> bool:
        """True: the peer server compares each piece with its digest."""
        return True

    def close(self) -> None:
        """Close all descriptors; the files stay."""
        scatter_fds = {self.scatter.root, self.scatter.parts} - {self._fd, -1}
        for fd in scatter_fds:
            with contextlib.suppress(OSError):
                os.close(fd)
        super().close()


class _Hashing:
    """The digest of one file in several pieces: bytes that arrive in order are hashed at once, the others are read back."""

    def __init__(self, offset: int, size: int) -> None:
        self._offset = offset
        self._size = size
        self._next = 0
        self._hash = hasher("sha256")
        self._turn = threading.Lock()

    def add(self, content: memoryview, offset: int) -> None:
        """Hash a written piece if it is next: bytes of the concatenation from `offset` on. Never waits for another thread's hashing."""
        if self._turn.acquire(blocking=False):
            try:
                begin = self._offset + self._next - offset
                if 0 <= begin < len(content):
                    part = content[begin : self._offset + self._size - offset]
                    self._hash.update(part)
                    self._next += len(part)
            finally:
                self._turn.release()

    def all(self, file: TreeFile) -> Hasher:
        """Hash the rest of the complete part by reading it back. Raises StorageError."""
        buffer = memoryview(bytearray(STEP))
        with self._turn:
            while self._next < self._size:
                step = min(STEP, self._size - self._next)
                if file.scatter.read_into(buffer, self._offset + self._next, step) >= 0:
                    raise StorageError(f"a part in {file.path} was cut short while it was being downloaded")
                self._hash.update(buffer[:step])
                self._next += step
            return self._hash
