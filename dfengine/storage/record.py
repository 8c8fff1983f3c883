"""The record beside a task's data: which pieces are here and what their digests are, mmapped and shared.

The downloader writes a piece's bytes, then its digest, then sets its bit (release). Another process that sees the
bit (acquire) may therefore serve the bytes; a download run again sees the same bits. Nothing else is needed for
resuming and for sharing while downloading.

Layout, little-endian; `words` = 64-bit words for `capacity` bits:

    0   8s   magic
    8   i64  length of the file in bytes, -1 while unknown
    16  u32  piece size            20  u32  capacity in pieces
    24  16s  generation            40  u32  1 = complete and verified     44  u32 zero
    48  i64  mtime (ns) of the complete data                              56  u64 zero
    64  words * 8      bits: piece is here
    ..  words * 8      bits: md5 of the framed piece is known
    ..  words * 8      bits: piece was asked for since its turn to be evicted last came (streams only)
    ..  capacity * 16  xxh3-128 of each piece's content
    ..  capacity * 16  md5 of each framed piece
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct

from dfengine._bitset import Bitset, words
from dfengine._piece import Geometry
from dfengine.errors import StorageError

MAGIC = b"dfrec\x00\x02\n"
HEAD = 64
DIGEST = 16
UNKNOWN_CAPACITY = 1 << 18
"""Pieces a record has room for while the length is unknown: 1 TiB of 4 MiB pieces; the file is sparse."""

MOST = 1 << 31
"""Pieces a record has room for at most."""

_HEAD = struct.Struct("<8sqII16sIIqQ")


def _size(capacity: int) -> int:
    return HEAD + 3 * 8 * words(capacity) + 2 * DIGEST * capacity


def _fresh_head(geometry: Geometry, generation: bytes) -> tuple[int, bytes]:
    """Capacity and head of a record with no piece here. Raises StorageError for more pieces than a record may have."""
    capacity = UNKNOWN_CAPACITY if geometry.length < 0 else geometry.count
    if capacity > MOST:
        raise StorageError(f"a file of {capacity} pieces is larger than any that can be kept")
    return capacity, _HEAD.pack(MAGIC, geometry.length, geometry.piece_size, capacity, generation, 0, 0, 0, 0)


class Record:
    """A mmapped record. `path` may be removed while it is open; every process that has it open goes on sharing it.

    Use `create` or `open`. Raises StorageError when the file cannot be used.
    """

    def __init__(self, path: str, memory: mmap.mmap) -> None:
        _, length, piece_size, capacity, *_ = _HEAD.unpack_from(memory)
        self.path = path
        self.fd = -1
        self.capacity: int = capacity
        self._memory = memory
        self._geometry = Geometry(length, piece_size)
        size = 8 * words(capacity)
        self._xxh3 = HEAD + 3 * size
        self._md5 = self._xxh3 + DIGEST * capacity
        view = memoryview(memory)
        self.digests = view[self._xxh3 : self._md5]
        """`digest` of all pieces, one behind the other; to be let go of before `close`."""
        self.here, self.md5s, self.used = (
            Bitset.over(view[HEAD + i * size : HEAD + (i + 1) * size], capacity) for i in range(3)
        )
        del view

    @classmethod
    def create(cls, path: str, geometry: Geometry, generation: bytes = b"") -> Record:
        """A fresh record with no piece here, replacing whatever lay at `path`. generation: at most 16 bytes."""
        capacity, head = _fresh_head(geometry, generation)
        fresh = f"{path}.{os.getpid()}"
        try:
            # What lies there is of a process that died, or was laid there by somebody else.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fresh)
            fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                os.ftruncate(fd, _size(capacity))
                os.pwrite(fd, head, 0)
                os.rename(fresh, path)
                return cls(path, mmap.mmap(fd, _size(capacity)))
            finally:
                os.close(fd)
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error

    @classmethod
    def in_memory(cls, geometry: Geometry, generation: bytes = b"") -> Record:
        """A fresh record in a memfd, `fd`, which can be handed to another process. Raises StorageError."""
        capacity, head = _fresh_head(geometry, generation)
        fd = -1
        try:
            fd = os.memfd_create("dfengine-record", os.MFD_CLOEXEC)
            os.ftruncate(fd, _size(capacity))
            os.pwrite(fd, head, 0)
            record = cls("memory", mmap.mmap(fd, _size(capacity)))
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            raise StorageError(f"no memory for a record: {error.strerror}") from error
        record.fd = fd
        return record

    @classmethod
    def open(cls, path: str) -> Record:
        """An existing record; StorageError when it is missing, is not one, or is another user's, who could call any bytes right."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise StorageError(f"cannot open {path}: {error.strerror}") from error
        try:
            if os.fstat(fd).st_uid != os.geteuid():
                raise StorageError(f"{path} is another user's")
            return cls.adopt(fd, path)
        finally:
            os.close(fd)

    @classmethod
    def adopt(cls, fd: int, path: str = "memory") -> Record:
        """The record that lies behind a descriptor, which stays the caller's. Raises StorageError when it is none."""
        try:
            size = os.fstat(fd).st_size
            head = os.pread(fd, HEAD, 0)
            if len(head) < HEAD:
                raise StorageError(f"{path} is no record: too short")
            magic, length, piece_size, capacity, *_ = _HEAD.unpack(head)
            if magic != MAGIC or not 5 < piece_size < 1 << 28 or not 0 < capacity <= MOST or size != _size(capacity):
                raise StorageError(f"{path} is no record of this version")
            if length < -1 or (length >= 0 and not 0 < Geometry(length, piece_size).count <= capacity):
                raise StorageError(f"{path} is damaged: its length and its room do not fit")
            return cls(path, mmap.mmap(fd, size))
        except (OSError, ValueError) as error:
            raise StorageError(f"cannot read {path}: {error}") from error

    @property
    def geometry(self) -> Geometry:
        """Made anew when another process has learnt the length."""
        (length,) = struct.unpack_from("<q", self._memory, 8)
        if length != self._geometry.length:
            self._geometry = Geometry(length, self._geometry.piece_size)
        return self._geometry

    @property
    def generation(self) -> bytes:
        """Which version of the origin's file this is, at most 16 bytes, zeros stripped."""
        return self._memory[24:40].rstrip(b"\0")

    def forget_generation(self) -> None:
        """From now on no version is named that all pieces are of: what a killed download leaves is not gone on from."""
        self._memory[24:40] = bytes(16)

    @property
    def complete_mtime(self) -> int:
        """mtime in ns that the data had when it was complete and verified; 0 while it is not."""
        (complete,) = struct.unpack_from("<I", self._memory, 40)
        return int(struct.unpack_from("<q", self._memory, 48)[0]) if complete else 0

    def learn_length(self, length: int) -> None:
        """The origin ended: `length` in bytes, once unknown. Raises StorageError when it cannot fit."""
        if Geometry(length, self._geometry.piece_size).count > self.capacity:
            raise StorageError(f"a file of {length} bytes has more pieces than this record's {self.capacity}")
        struct.pack_into("<q", self._memory, 8, length)

    def set_complete(self, mtime_ns: int) -> None:
        """All pieces are here and verified; the data's mtime from now on shows whether somebody changed it."""
        struct.pack_into("<q", self._memory, 48, mtime_ns)
        struct.pack_into("<I", self._memory, 40, 1)

    def digest(self, n: int) -> bytes:
        """xxh3-128 of piece n's content, 16 bytes; zeros where never recorded."""
        return self._memory[self._xxh3 + DIGEST * n : self._xxh3 + DIGEST * (n + 1)]

    def set_digest(self, n: int, digest: bytes) -> None:
        """Before the piece's bit is set."""
        self._memory[self._xxh3 + DIGEST * n : self._xxh3 + DIGEST * (n + 1)] = digest

    def md5(self, n: int) -> bytes | None:
        """md5 of framed piece n, 16 bytes, or None while unknown."""
        return self._memory[self._md5 + DIGEST * n : self._md5 + DIGEST * (n + 1)] if n in self.md5s else None

    def set_md5(self, n: int, md5: bytes) -> None:
        """Record the md5 of framed piece n."""
        self._memory[self._md5 + DIGEST * n : self._md5 + DIGEST * (n + 1)] = md5
        self.md5s.set(n)

    def all_here(self) -> bool:
        """Every piece of a file of known length is here."""
        count = self.geometry.count
        return count >= 0 and bool(self.here.all_in_range(0, count))

    def close(self) -> None:
        """Unmap. The bitsets must not be used after this."""
        del self.here, self.md5s, self.used, self.digests
        # Who is just sending a piece may look at its bit once more: then the mapping goes with that bitset.
        with contextlib.suppress(BufferError):
            self._memory.close()
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
