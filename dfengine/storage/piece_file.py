"""A task's data in one plain file, with its record; `locate(piece)` returns a piece's place.

Data is written at its place once and is never framed on disk: the wire's 5 bytes are added when a piece is sent.
Blocking pread and pwrite on a descriptor are used throughout, because they release the GIL, need no shared file
position, and a page-cache write is a memory copy.
"""

from __future__ import annotations

import contextlib
import os
import threading

from dfengine._bitset import Bitset
from dfengine._piece import Geometry
from dfengine.errors import StorageError
from dfengine.storage.hashing import content_digest
from dfengine.storage.os_errors import storage_error
from dfengine.storage.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self


class PieceFile:
    """Data file and record, open. One process writes; any number read."""

    def __init__(self, path: str, fd: int, record: Record) -> None:
        self.path = path
        self._fd = fd
        self.record = record
        self._minimum_size = max(record.geometry.length, 0)
        """Minimum size of the data in bytes; a smaller file was truncated by another program."""
        # The kernel lets one thread at a time write to a file while the others spin: with this lock they sleep.
        self._write_locks: tuple[threading.Lock, ...] = (threading.Lock(),)

    @classmethod
    def create(cls, path: str, record_path: str, geometry: Geometry, generation: bytes = b"", fd: int = -1) -> Self:
        """Create an empty, sparse file of the size of `geometry`; files at the two paths are replaced.

        `fd`: the data file when the caller has it open (and locked); the caller owns it again when this raises StorageError.
        """
        with _data(path, fd, os.O_CREAT) as data:
            # The record is replaced first: otherwise old bits would be served without their bytes.
            record = Record.create(record_path, geometry, generation)
            os.ftruncate(data, 0)
            os.ftruncate(data, max(geometry.length, 0))
            return cls(path, data, record)

    @classmethod
    def open(cls, path: str, record_path: str, fd: int = -1) -> Self:
        """Open the files of an earlier process. Raises StorageError if one is missing, another user's or truncated; `fd` as in create."""
        with _data(path, fd, 0) as data:
            record = Record.open(record_path)
            length = record.geometry.length
            if length >= 0 and os.fstat(data).st_size != length:
                record.close()
                raise StorageError(f"{path} is not as long as its record says")
            return cls(path, data, record)

    @property
    def fd(self) -> int:
        """The data's descriptor; valid while the caller keeps the result of `hold`."""
        return self._fd

    @property
    def descriptors(self) -> list[int]:
        """Descriptors of data and record."""
        return [self._fd, self.record.fd]

    @property
    def former_descriptors(self) -> list[int]:
        """Descriptors of places before `replace_storage`."""
        return [each for fd, record in self._former for each in (fd, record.fd)]

    def hold(self) -> object:
        """An object that keeps `fd` open; this file, if it is always open."""
        return self

    @property
    def geometry(self) -> Geometry:
        """The task's geometry; its length may become known while the file is open."""
        return self.record.geometry

    @property
    def available(self) -> Bitset:
        """Pieces written and servable, shared with every process that has the record open."""
        return self.record.available

    def locate(self, n: int) -> tuple[int, int, int]:
        """(descriptor, offset, length) of piece n's content in bytes; the caller has checked its bit."""
        offset, length = self.geometry.content(n)
        return self.fd, offset, length

    scattered = False
    """Whether a piece may be in several files."""

    in_memory = False
    """Whether data and record are memory, freed when the last process closes them."""

    sequence = 0
    """Changes when data and record are elsewhere; odd while they move."""

    _former: tuple[tuple[int, Record], ...] = ()
    """Former data and record, from which a reader may still read."""

    evicts = False
    """Whether pieces may be evicted while the file is open: a sender checks the bit again before the last byte."""

    def accepts_parts(self, n: int) -> bool:
        """Whether piece n may be `write_part` in parts, before it is verified."""
        return True

    def write(self, n: int, content: bytes | bytearray | memoryview, digest: bytes) -> None:
        """Write piece n's verified content to its place, record its xxh3-128 and offer it. Raises StorageError (disk full)."""
        self.write_part(n, 0, content)
        self.publish(n, digest)

    def write_part(self, n: int, at: int, content: bytes | bytearray | memoryview) -> None:
        """Write a part of piece n, from its byte `at` on; readers do not see the piece before `publish`. Raises StorageError (disk
        full)."""
        held = self.hold()
        fd, offset, _ = self.locate(n)
        offset += at
        view = memoryview(content).cast("B")
        try:
            with self._write_locks[n % len(self._write_locks)]:
                self._check_not_truncated()
                while view:
                    written = os.pwrite(fd, view, offset)
                    view, offset = view[written:], offset + written
                if not self.evicts:
                    self._minimum_size = max(self._minimum_size, offset)
        except OSError as error:
            raise storage_error(f"cannot write {self.path}", error) from error
        finally:
            del held

    def _check_not_truncated(self) -> None:
        """Raise StorageError if the data was truncated: a later piece would extend it with zeros. Raises OSError."""
        if os.fstat(self.fd).st_size < self._minimum_size:
            raise StorageError(f"{self.path} was cut short by another program: run it again")

    def publish(self, n: int, digest: bytes) -> None:
        """Record that all of piece n is written and verified; `digest` is its xxh3-128. Raises StorageError (disk full)."""
        self.record.set_digest(n, digest)
        self.record.publish(n)

    def learn_length(self, length: int) -> None:
        """Set the file's length in bytes, which was unknown; the file gets exactly that size."""
        held = self.hold()
        try:
            self._check_not_truncated()
            os.ftruncate(self.fd, length)
        except OSError as error:
            raise storage_error(f"cannot write {self.path}", error) from error
        finally:
            del held
        self._minimum_size = length
        self.record.learn_length(length)

    def evict(self, n: int) -> None:
        """Free piece n's memory; a file keeps its pieces."""

    def read_into(self, n: int, buffer: memoryview) -> int:
        """Read piece n's content into `buffer`, at least as long as it; return its length. Raises StorageError."""
        held = self.hold()
        fd, offset, length = self.locate(n)
        got = 0
        while got < length:
            try:
                count = os.preadv(fd, [buffer[got:length]], offset + got)
            except OSError as error:
                raise storage_error(f"cannot read {self.path}", error) from error
            if count == 0:
                if not self.may_end(n, got):
                    raise StorageError(f"{self.path} is cut short at byte {offset + got}")
                break
            got += count
        del held
        return got

    def may_end(self, n: int, got: int) -> bool:
        """Whether the data may end after `got` bytes of piece n: the last piece is shorter, and the length may just have become known."""
        geometry = self.geometry
        return geometry.length < 0 or n >= geometry.count or got >= geometry.content(n)[1]

    def recheck(self, check: Callable[[], None] | None = None) -> list[int]:
        """Compare every stored piece with its recorded xxh3-128; clear the bits of those that differ, and return them.

        check: called before each piece, and may raise.

        A bit can outlive its bytes: the page of the record may reach the disk before the data's does when the power fails.
        """
        buffer = memoryview(bytearray(self.geometry.content_size))
        bad = []
        for n in list(self.available):
            if check is not None:
                check()
            try:
                length = self.read_into(n, buffer)
            except StorageError:
                length = -1
            if length < 0 or content_digest(buffer[:length]) != self.record.digest(n):
                # Fails on a full disk: then the record's next reader finds these bytes wrong, too.
                with contextlib.suppress(StorageError):
                    self.record.unpublish(n)
                bad.append(n)
        return bad

    @property
    def modified_at(self) -> float:
        """When the data was last written, unix seconds."""
        return os.fstat(self.fd).st_mtime

    def mark_complete(self) -> None:
        """Record the data's mtime once all pieces are stored and verified, to detect later changes. Raises StorageError, OSError."""
        self._check_not_truncated()
        self.record.set_complete(os.fstat(self.fd).st_mtime_ns)

    def unchanged(self) -> bool:
        """False if the data was changed, truncated or extended after `mark_complete`."""
        mtime = self.record.complete_mtime
        if not mtime:
            return True
        stat = os.fstat(self.fd)
        return stat.st_mtime_ns == mtime and stat.st_size == self.geometry.length

    def snapshot(self) -> tuple[int, Bitset]:
        """(descriptor of the data, stored pieces), both of one place, for a thread that runs while another one calls `replace_storage`.

        These pieces can be read from the descriptor until `close`.
        """
        while True:
            sequence, found = self.sequence, (self.fd, self.available)
            if sequence == self.sequence and not sequence & 1:
                return found

    def protect(self) -> None:
        """Prevent further writes to the complete file by any process; for a file on disk its mode does that."""

    def replace_storage(self, other: PieceFile) -> None:
        """Use data and record of `other`, a file of the same kind, from now on; this object owns its descriptors.

        A reader of the former place may continue, since it stays open until `close`, and must check `sequence` afterwards.
        """
        self._former += ((self._fd, self.record),)
        self.sequence += 1
        self.path, self._fd, self.record, self._minimum_size = other.path, other._fd, other.record, other._minimum_size
        self.sequence += 1

    def copy_missing(self, other: PieceFile) -> None:
        """Copy the missing pieces from `other`. Raises StorageError, also where one does not match its record."""
        buffer = memoryview(bytearray(self.geometry.content_size))
        for n in list(other.available):
            if n in self.available:
                continue
            content = buffer[: other.read_into(n, buffer)]
            digest = content_digest(content)
            if digest != other.record.digest(n):
                raise StorageError(f"piece {n} of another download of this host does not match its record: open the file again")
            self.write(n, content, digest)

    def close(self) -> None:
        """Close the descriptors, also those of former places; the files stay. Idempotent."""
        left, self._former = self._former, ()
        for former, record in left:
            os.close(former)
            record.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self.record.close()


@contextlib.contextmanager
def _data(path: str, fd: int, flags: int) -> Iterator[int]:
    """The data file's descriptor, `fd` if that is open; closed again on an error if it was opened here. Raises StorageError."""
    opened = -1
    try:
        if fd < 0:
            fd = opened = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o666)
        yield fd
    except (OSError, StorageError) as error:
        if opened >= 0:
            os.close(opened)
        if isinstance(error, OSError):
            raise storage_error(f"cannot open {path}", error) from error
        raise
