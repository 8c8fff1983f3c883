"""A tree's data as the peer server serves it: from the files themselves, without a second copy.

Other programs may change, replace or delete the files at any time. So no piece of a tree is sent before it was compared with the record: a
piece within one file is sent from that, and compared again when the file has another inode or ctime; one in several files is gathered in
memory and compared there. A wrong piece is no longer served.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import threading
from array import array
from collections import OrderedDict
from itertools import count
from weakref import ref

from dfengine.errors import BadRange, BadValue, StorageError
from dfengine.storage._scatter import Scatter
from dfengine.storage.hashing import content_digest
from dfengine.storage.served_file import ServedFile
from dfengine.storage.tree_file import TreeFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dfengine._bitset import Bitset
    from dfengine.storage.home import Entry
    from dfengine.storage.record import Record

KEPT = 64 << 20
"""Limit in bytes of gathered pieces that are kept for the next request."""

MAX_GATHERED = 512 << 20
"""Limit in bytes of gathered pieces at once, those that are being sent included; a request for one more is refused."""

LARGEST = 256 << 20
"""Limit in bytes of a layout."""

_MAGIC = b"dftree1\n"
_serial = count()


def encode(paths: Sequence[bytes], sizes: Sequence[int]) -> bytes:
    """The layout of a tree: its files' paths and sizes, in order."""
    return b"".join((_MAGIC, struct.pack("=q", len(paths)), array("q", sizes).tobytes(), b"\0".join(paths)))


def decode(content: bytes) -> tuple[list[bytes], Sequence[int]]:
    """Paths and sizes of `encode`. Raises BadValue."""
    try:
        (files,) = struct.unpack_from("=q", content, len(_MAGIC))
        start = len(_MAGIC) + 8
        if not content.startswith(_MAGIC) or not 0 <= files <= (len(content) - start) // 8:
            raise BadValue("not the layout of a tree")
        sizes = array("q", content[start : start + 8 * files])
        paths = content[start + 8 * files :].split(b"\0") if files else []
    except (struct.error, ValueError):
        raise BadValue("not the layout of a tree") from None
    if len(paths) != files or (not files and len(content) > start):
        raise BadValue("not the layout of a tree")
    return paths, sizes


def find(entry: Entry, record: Record, layout: str) -> ServedFile | None:
    """Open the tree that `entry` describes for reading. The result owns the record; without one the record is closed."""
    descriptors: list[int] = []
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(layout, "rb") as file:
            paths, sizes = decode(file.read(LARGEST))
        descriptors.append(os.open(entry.paths[0], flags))
        found = os.fstat(descriptors[0])
        if (found.st_dev, found.st_ino) != (entry.device, entry.inode):
            raise StorageError("the directory was replaced")
        with contextlib.suppress(OSError):
            # Removed when the download has ended.
            descriptors.append(os.open(os.path.dirname(entry.record), flags))
        scatter = Scatter(paths, sizes, record.geometry.content_size, descriptors[0], descriptors[1] if len(descriptors) > 1 else -1)
        if scatter.length != record.geometry.length:
            raise StorageError("the layout and the record are of different trees")
        return SharedTree(entry, TreeFile(entry.paths[0], descriptors[-1], record, scatter))
    except (OSError, BadValue, StorageError, IndexError):
        for fd in descriptors:
            os.close(fd)
        record.close()
        return None


class SharedTree(ServedFile):
    """One tree's data."""

    def __init__(self, entry: Entry, file: TreeFile) -> None:
        super().__init__(entry, file)
        self.tree: TreeFile = file
        self.serial = next(_serial)
        self._same: dict[int, tuple[int, int, int]] = {}
        """Piece that was compared -> device, inode and ctime of its one file."""

    def has_range(self, offset: int, length: int) -> bool:
        """See ServedFile."""
        first, past = self.geometry.covering(offset, length)
        file = self._file()
        return past <= file.record.capacity and file.record.has_range(first, past) and self._corrupt.isdisjoint(range(first, past))

    def locate(self, offset: int, length: int) -> tuple[int, int, Bitset | None, int, object]:
        """See ServedFile. Raises BadRange for bytes of several pieces, StorageError."""
        self._file()
        tree, geometry = self.tree, self.geometry
        first, past = geometry.covering(offset, length)
        if past - first > 1:
            raise BadRange(f"{length} bytes at {offset} are in {past - first} pieces")
        if past == first:
            return self.fd, 0, None, 0, self
        begin, size = geometry.content(first)
        held: _InFile | _Gathered | None = _gathered.get(self.serial, first)
        if held is None:
            number, other = tree.scatter.covered(begin, size)
            held = _InFile(self, first, number) if other - number == 1 else _Gathered(self, first, size)
        return held.fd, held.place + offset - begin, None, 0, held

    def check(self, offset: int, length: int, owner: object = None) -> tuple[Callable[[], bool] | None, bool]:
        """See ServedFile."""
        return (owner.right, not owner.known) if isinstance(owner, _InFile | _Gathered) else (None, False)

    def withdraw(self, n: int) -> None:
        """Stop serving piece n, which does not match its digest."""
        self._corrupt.add(n)
        self._same.pop(n, None)
        self.mark_corrupted()

    def close(self) -> None:
        """See ServedFile."""
        _gathered.forget(self.__dict__.get("serial", -1))
        super().close()

    __del__ = close


class _InFile:
    """A piece within one file, which is open."""

    def __init__(self, shared: SharedTree, n: int, number: int) -> None:
        scatter = shared.tree.scatter
        try:
            self.fd = scatter.open(number)
        except OSError as error:
            shared.withdraw(n)
            raise StorageError(f"piece {n} of {shared.tree.path} is gone: {error.strerror}") from None
        self._shared, self._n = shared, n
        begin, self._size = shared.geometry.content(n)
        self.place = begin - scatter.extent(number)[0]
        self.known = shared._same.get(n) == self._state()

    def _state(self) -> tuple[int, int, int]:
        found = os.fstat(self.fd)
        return found.st_dev, found.st_ino, found.st_ctime_ns

    def right(self) -> bool:
        """Compare the piece with its digest, in a thread."""
        state, shared, n = self._state(), self._shared, self._n
        buffer = memoryview(bytearray(self._size))
        got = 0
        try:
            while got < self._size and (part := os.preadv(self.fd, [buffer[got:]], self.place + got)):
                got += part
            same = content_digest(buffer[:got]) == shared.tree.record.digest(n)
        except (OSError, StorageError):
            same = False
        if same:
            shared._same[n] = state
        else:
            shared.withdraw(n)
        return same

    def __del__(self) -> None:
        fd = self.__dict__.pop("fd", -1)
        if fd >= 0:
            os.close(fd)


class _Gathered:
    """A piece of several files, in memory; it stays valid when those change. place: its offset."""

    place = 0

    def __init__(self, shared: SharedTree, n: int, size: int) -> None:
        if _gathered.size + size > MAX_GATHERED:
            raise StorageError("too many pieces of trees are being sent")
        try:
            self.fd = os.memfd_create("dfengine-piece", os.MFD_CLOEXEC)
            os.ftruncate(self.fd, size)
        except OSError as error:
            raise StorageError(f"no memory for a piece: {error.strerror}") from None
        self.size = size
        self.known = False
        # A weak reference: a kept piece does not keep its tree open.
        self._shared, self._n = ref(shared), n
        self._turn = threading.Lock()
        _gathered.add(shared.serial, n, self)

    def right(self) -> bool:
        """Gather the piece, unless another thread has, and compare it with its digest. In a thread."""
        with self._turn:
            shared, n = self._shared(), self._n
            if not self.known and shared is not None:
                with mmap.mmap(self.fd, self.size) as memory, memoryview(memory) as view:
                    try:
                        length = shared.tree.read_into(n, view)
                        self.known = content_digest(view[:length]) == shared.tree.record.digest(n)
                    except StorageError:
                        pass
                if not self.known:
                    shared.withdraw(n)
                    _gathered.drop(shared.serial, n)
            return self.known

    def __del__(self) -> None:
        fd = self.__dict__.pop("fd", -1)
        if fd >= 0:
            os.close(fd)
            _gathered.free(self.__dict__.get("size", 0))


class _Kept:
    """The gathered pieces of this process, for the loop and for threads that compare. size: bytes of all that are in memory."""

    def __init__(self) -> None:
        self.size = 0
        # Reentrant: a dropped piece may be freed while the lock is held, and then calls `free`.
        self._lock = threading.RLock()
        self._pieces: OrderedDict[tuple[int, int], _Gathered] = OrderedDict()

    def get(self, shared: int, n: int) -> _Gathered | None:
        """Piece n of a tree, if it is kept."""
        with self._lock:
            found = self._pieces.get((shared, n))
            if found is not None:
                self._pieces.move_to_end((shared, n))
            return found

    def add(self, shared: int, n: int, piece: _Gathered) -> None:
        """Keep a piece. Beyond KEPT bytes the least recently requested ones are dropped; they stay in memory while they are sent."""
        with self._lock:
            self.size += piece.size
            self._pieces[shared, n] = piece
            while len(self._pieces) > 1 and sum(each.size for each in self._pieces.values()) > KEPT:
                self._pieces.popitem(last=False)

    def free(self, size: int) -> None:
        """Subtract `size` bytes that are no longer in memory."""
        with self._lock:
            self.size -= size

    def drop(self, shared: int, n: int) -> None:
        """Drop one piece."""
        with self._lock:
            self._pieces.pop((shared, n), None)

    def forget(self, shared: int) -> None:
        """Drop all pieces of a tree."""
        with self._lock:
            for key in [key for key in self._pieces if key[0] == shared]:
                del self._pieces[key]


_gathered = _Kept()
