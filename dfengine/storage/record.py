"""The record beside a task's data: a bitset of the stored pieces, and their digests, shared by processes.

The downloader writes a piece's bytes, then its digest, then its bit. Another process that reads the bit may therefore serve the
bytes; a download run again sees the same bits. Nothing else is needed for resuming and for sharing while downloading.

A record in a file is written by pwrite and read by pread, and its owner works on a copy in memory. It is not mapped: writing to a page
of a mapping kills the process (SIGBUS) when the disk is full, and so does reading one after the file was truncated. A stream's
record is a memfd that is sealed against truncation; that one is mapped.

Layout, little-endian; `words` = 64-bit words for `capacity` bits:

    0   8s   magic
    8   i64  length of the file in bytes, -1 while unknown
    16  u32  piece size            20  u32  capacity in pieces
    24  16s  generation            40  u32  1 = complete and verified     44  u32 zero
    48  i64  mtime (ns) of the complete data          56  u64  its ctime (ns) after the rename to the output, 0 before
    64  words * 8      bits: the piece is stored
    ..  words * 8      bits: the piece was requested since its last turn to be evicted (streams only)
    ..  capacity * 16  xxh3-128 of each piece's content
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import struct
import threading

from dfengine._bitset import Bitset, words
from dfengine._piece import Geometry
from dfengine.errors import StorageError, TooLarge
from dfengine.storage._mapping import Mapping
from dfengine.storage.os_errors import storage_error

MAGIC = b"dfrec\x00\x03\n"
HEAD_BYTES = 64
DIGEST = 16
UNKNOWN_CAPACITY = 1 << 18
"""Capacity in pieces while the length is unknown: 1 TiB of 4 MiB pieces; file and memory are sparse."""

MAX_CAPACITY = 1 << 31
"""Highest capacity in pieces."""

SPARSE = 1 << 20
"""Bytes from which on the copy in memory is mapped, so that unused pages take no memory."""

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
"""Seals of a mapped record: it cannot be truncated."""

_HEAD = struct.Struct("<8sqII16sIIqQ")


def _size(capacity: int) -> int:
    return HEAD_BYTES + 2 * 8 * words(capacity) + DIGEST * capacity


def _fresh_head(geometry: Geometry, generation: bytes) -> tuple[int, bytes]:
    """Capacity and head of an empty record. Raises TooLarge for more pieces than a record may have."""
    capacity = UNKNOWN_CAPACITY if geometry.length < 0 else geometry.count
    if capacity > MAX_CAPACITY:
        raise TooLarge(f"a file of {capacity} pieces is larger than a record permits")
    return capacity, _HEAD.pack(MAGIC, geometry.length, geometry.piece_size, capacity, generation, 0, 0, 0, 0)


def _memory(size: int) -> bytearray | mmap.mmap:
    return mmap.mmap(-1, size) if size >= SPARSE else bytearray(size)


class Record:
    """A record. `path` may be removed while it is open; processes that have it open still share it.

    Use `create`, `open`, `follow` or `in_memory`. Raises StorageError when the file cannot be used. One process writes.
    """

    def __init__(self, path: str, fd: int, memory: bytearray | mmap.mmap | memoryview, kind: str) -> None:
        """kind: `own` (written through to `fd`), `followed` (another process writes it), `mapped`."""
        _, length, piece_size, capacity, *_ = _HEAD.unpack_from(memory)
        self.path = path
        self.fd = fd
        self.capacity: int = capacity
        self._kind = kind
        self._memory = memory
        self._geometry = Geometry(length, piece_size)
        # Two threads may write the same word of bits, or open the file again.
        self._turn, self._opening = threading.Lock(), threading.Lock()
        self._same = os.fstat(fd)[1:3] if fd >= 0 else None
        size = 8 * words(capacity)
        self._xxh3 = HEAD_BYTES + 2 * size
        view = memoryview(memory)
        self.digests = view[self._xxh3 : self._xxh3 + DIGEST * capacity]
        """`digest` of all pieces, one after the other; release this view before `close`."""
        self.available, self.used = (Bitset.over(view[HEAD_BYTES + i * size : HEAD_BYTES + (i + 1) * size], capacity) for i in range(2))
        del view
        if length >= 0 and kind == "own":
            # Bits beyond the last piece are set only by damage, in the record of a file whose length became known late.
            beyond = self.available.first_set(self._geometry.count)
            while beyond >= 0:
                self.available.clear(beyond)
                beyond = self.available.first_set(beyond)

    @classmethod
    def create(cls, path: str, geometry: Geometry, generation: bytes = b"") -> Record:
        """Create an empty record; it replaces any file at `path`. generation: at most 16 bytes."""
        capacity, head = _fresh_head(geometry, generation)
        fresh, fd = f"{path}.{os.getpid()}", -1
        try:
            # A file there was left by a process that died, or put there by another user.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fresh)
            fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            os.ftruncate(fd, _size(capacity))
            os.pwrite(fd, head, 0)
            memory = _memory(_size(capacity))
            os.rename(fresh, path)
        except OSError as error:
            if fd >= 0:
                os.close(fd)
                with contextlib.suppress(OSError):
                    os.unlink(fresh)
            raise storage_error(f"cannot write {path}", error) from error
        memory[:HEAD_BYTES] = head
        return cls(path, fd, memory, "own")

    @classmethod
    def in_memory(cls, geometry: Geometry, generation: bytes = b"") -> Record:
        """An empty record in a memfd, `fd`, which can be passed to another process. Raises StorageError."""
        capacity, head = _fresh_head(geometry, generation)
        fd = -1
        try:
            fd = os.memfd_create("dfengine-record", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(fd, _size(capacity))
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
            os.pwrite(fd, head, 0)
            return cls("memory", fd, Mapping(fd, _size(capacity), writable=True).memory(), "mapped")
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            raise StorageError(f"no memory for a record: {error.strerror}") from error

    @classmethod
    def open(cls, path: str) -> Record:
        """Open an existing record for writing. StorageError if it is missing, invalid, or another user's, who could forge digests."""
        return cls._opened(path, os.O_RDWR, "own")

    @classmethod
    def follow(cls, path: str) -> Record:
        """Open an existing record that another process may be writing. Raises as `open`.

        `geometry`, `digest`, `complete_mtime`, `named_ctime` and `has_range` read it again.
        """
        return cls._opened(path, os.O_RDONLY, "followed")

    @classmethod
    def _opened(cls, path: str, flags: int, kind: str, follow: int = os.O_NOFOLLOW) -> Record:
        try:
            fd = os.open(path, flags | os.O_CLOEXEC | follow | os.O_NONBLOCK)
        except OSError as error:
            raise storage_error(f"cannot open {path}", error) from error
        try:
            if os.fstat(fd).st_uid != os.geteuid():
                raise StorageError(f"{path} is another user's")
            size = _checked(fd, path)
            memory = _memory(size)
            _load(fd, memory, size)
            return cls(path, fd, memory, kind)
        except BaseException as error:
            os.close(fd)
            if isinstance(error, OSError | ValueError):
                raise StorageError(f"cannot read {path}: {error}") from error
            raise

    @classmethod
    def adopt(cls, fd: int, keep: bool = False) -> Record:
        """Map the record of another process's stream behind `fd`, which the result owns only with `keep`.

        Raises StorageError if it is invalid or not sealed.
        """
        try:
            if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK == 0:
                raise StorageError("a stream's record is not sealed")
            return cls("memory", fd if keep else -1, Mapping(fd, _checked(fd, "a stream's record"), writable=True).memory(), "mapped")
        except (OSError, ValueError) as error:
            raise StorageError(f"cannot read a stream's record: {error}") from error

    @classmethod
    def followed(cls, fd: int) -> Record:
        """As `follow`, for a record that another process opened and passed; the caller owns `fd`. Raises StorageError."""
        return cls._opened(f"/proc/self/fd/{fd}", os.O_RDONLY, "followed", 0)

    def refresh(self) -> None:
        """Read the head and the bits that the writing process has written. Raises StorageError."""
        if self._kind == "followed":
            self._fetch(0, HEAD_BYTES + 8 * words(self.capacity))

    @property
    def geometry(self) -> Geometry:
        """The task's geometry; read again until the length is known. Raises StorageError."""
        if self._geometry.length < 0:
            self._refresh()
            (length,) = struct.unpack_from("<q", self._memory, 8)
            if length != -1:
                self._geometry = self._fitting(length)
        return self._geometry

    def _fitting(self, length: int) -> Geometry:
        try:
            geometry = Geometry(length, self._geometry.piece_size)
        except ValueError:
            geometry = self._geometry
        if not 0 < geometry.count <= self.capacity:
            raise StorageError(f"a file of {length} bytes does not fit this record's {self.capacity} pieces")
        return geometry

    @property
    def generation(self) -> bytes:
        """The version of the origin's file, at most 16 bytes, zeros stripped."""
        return bytes(self._memory[24:40]).rstrip(b"\0")

    def forget_generation(self) -> None:
        """Clear the version: the pieces may be of two, so the pieces of a killed download are not resumed.

        Raises StorageError.
        """
        self._store(24, bytes(16))

    @property
    def complete_mtime(self) -> int:
        """mtime in ns of the data when it was complete and verified; 0 before."""
        (complete,) = struct.unpack_from("<I", self._memory, 40)
        if not complete and self._kind == "followed":
            self._refresh()
            (complete,) = struct.unpack_from("<I", self._memory, 40)
        return int(struct.unpack_from("<q", self._memory, 48)[0]) if complete else 0

    @property
    def named_ctime(self) -> int:
        """ctime in ns of the data after it was renamed to the output; 0 before."""
        (ctime,) = struct.unpack_from("<Q", self._memory, 56)
        if not ctime:
            self._refresh()
            (ctime,) = struct.unpack_from("<Q", self._memory, 56)
        return int(ctime)

    def set_named(self, ctime_ns: int) -> None:
        """Record that the data was renamed to the output; a later ctime shows that it may have changed. Raises StorageError."""
        self._store(56, struct.pack("<Q", ctime_ns))

    def learn_length(self, length: int) -> None:
        """Set the length in bytes, which was unknown. Raises StorageError if the record is too small for it."""
        self._fitting(length)
        self._store(8, struct.pack("<q", length))

    def set_complete(self, mtime_ns: int) -> None:
        """Record that all pieces are stored and verified; a later mtime of the data shows a change. 0: no longer. Raises StorageError."""
        self._store(48, struct.pack("<q", mtime_ns))
        self._store(40, struct.pack("<I", mtime_ns != 0))

    def digest(self, n: int) -> bytes:
        """xxh3-128 of piece n's content, 16 bytes; zeros if it was not recorded. Raises StorageError."""
        at = self._xxh3 + DIGEST * n
        if self._kind == "followed":
            self._fetch(at, at + DIGEST)
        return bytes(self._memory[at : at + DIGEST])

    def set_digest(self, n: int, digest: bytes) -> None:
        """Set a piece's digest, before `publish`. Raises StorageError."""
        self._store(self._xxh3 + DIGEST * n, digest)

    def publish(self, n: int) -> None:
        """Set the bit of piece n, whose digest is set: a process that sees the bit may read the bytes. Raises StorageError."""
        self._mark(n, True)

    def unpublish(self, n: int) -> bool:
        """Clear piece n's bit; True if it was set. After a StorageError it is cleared in this process only."""
        return self._mark(n, False)

    def has_range(self, first: int, past: int) -> bool:
        """Whether pieces [first, past) are stored now. Raises IndexError beyond the capacity, StorageError."""
        if self._kind == "followed":
            low, high = HEAD_BYTES + first // 64 * 8, HEAD_BYTES + words(past) * 8
            self._fetch(low, high)
        return bool(self.available.all_in_range(first, past))

    def is_complete(self) -> bool:
        """Whether every piece of a file of known length is stored."""
        count = self.geometry.count
        return count >= 0 and self.has_range(0, count)

    def close(self) -> None:
        """Release memory and descriptor. Idempotent. The bitsets must not be used after this."""
        self.__dict__.pop("available", None)
        self.__dict__.pop("used", None)
        self.__dict__.pop("digests", None)
        if not isinstance(memory := self._memory, bytearray):
            # A thread that is sending a piece may check its bit once more: then the mapping is freed with that bitset.
            with contextlib.suppress(BufferError):
                memory.close() if isinstance(memory, mmap.mmap) else memory.release()
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close

    def _mark(self, n: int, available: bool) -> bool:
        if self._kind == "mapped":
            return self.available.set(n) if available else self.available.clear(n)
        with self._turn:
            if not available:
                changed = self.available.clear(n)
            at, bit = HEAD_BYTES + n // 64 * 8, 1 << n % 64
            word = int.from_bytes(self._memory[at : at + 8], "little")
            self._write(at, (word | bit if available else word & ~bit).to_bytes(8, "little"))
            return self.available.set(n) if available else changed

    def _store(self, at: int, data: bytes) -> None:
        self._write(at, data)
        self._memory[at : at + len(data)] = data

    def _write(self, at: int, data: bytes) -> None:
        """Write to the file, unless it is mapped. Raises StorageError."""
        if self._kind == "mapped":
            return
        try:
            with self._opening:
                if self.fd < 0:
                    self._open_again()
                if os.pwrite(self.fd, data, at) != len(data):
                    raise OSError(0, "it was cut short")
        except OSError as error:
            raise storage_error(f"cannot write {self.path}", error) from error

    def release(self) -> None:
        """Close the descriptor. The next write opens the file again, unless it was replaced."""
        with self._opening:
            fd, self.fd = self.fd, -1
            if fd >= 0:
                os.close(fd)

    def detach(self) -> None:
        """Never open the file again: its path is about to be replaced or removed."""
        self._same = None

    def _open_again(self) -> None:
        fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        if os.fstat(fd)[1:3] != self._same:
            os.close(fd)
            raise OSError(errno.ESTALE, "it was replaced")
        self.fd = fd

    def _refresh(self) -> None:
        if self._kind == "followed":
            self._fetch(0, HEAD_BYTES)

    def _fetch(self, low: int, high: int) -> None:
        """Read the bytes of the file into memory. Raises StorageError."""
        try:
            data = os.pread(self.fd, high - low, low)
        except OSError as error:
            raise storage_error(f"cannot read {self.path}", error) from error
        if len(data) != high - low:
            raise StorageError(f"{self.path} was cut short")
        self._memory[low:high] = data


def _checked(fd: int, path: str) -> int:
    """The size of the record behind `fd`. Raises StorageError if it is invalid, OSError."""
    size = os.fstat(fd).st_size
    head = os.pread(fd, HEAD_BYTES, 0)
    if len(head) < HEAD_BYTES:
        raise StorageError(f"{path} is no record: too short")
    magic, length, piece_size, capacity, *_ = _HEAD.unpack(head)
    if magic != MAGIC or not 5 < piece_size < 1 << 28 or not 0 < capacity <= MAX_CAPACITY or size != _size(capacity):
        raise StorageError(f"{path} is no record of this version")
    if length < -1 or (length >= 0 and not 0 < Geometry(length, piece_size).count <= capacity):
        raise StorageError(f"{path} is damaged: its length does not fit its capacity")
    return size


def _load(fd: int, memory: bytearray | mmap.mmap, size: int) -> None:
    """Read the file, without its holes. Raises OSError."""
    at = 0
    while at < size:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
            end = min(os.lseek(fd, begin, os.SEEK_HOLE), size)
        except OSError:
            # The rest is a hole.
            return
        while begin < end:
            data = os.pread(fd, min(end - begin, SPARSE), begin)
            if not data:
                raise OSError(0, "it was cut short")
            memory[begin : begin + len(data)] = data
            begin += len(data)
        at = end
