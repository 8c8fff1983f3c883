"""A file of the swarm as a Python file object: it can be read, sought and mapped, and its pieces are fetched when they are read."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
import warnings
from operator import index
from weakref import WeakSet

from dfengine.client.cleanup import release
from dfengine.client.swarm_recovery import is_transient
from dfengine.errors import BadValue, RemoteError
from dfengine.files import cancel
from dfengine.files.open_file_storage import DISK, MEMORY
from dfengine.files.opened import Opened
from dfengine.task import redacted_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    from dfengine.settings import GetSettings

    Found = TypeVar("Found")

BUFFER = 1 << 20
"""Default size of the buffer in bytes."""

MAX_BUFFER = 1 << 30
"""Maximum size of the buffer in bytes."""

AGAIN = 5.0
"""Seconds between two tries to reopen a file."""

_open: WeakSet[File] = WeakSet()


class File(io.RawIOBase):
    """Readable and seekable binary file. Use it as a context, or `close` it. Several threads may use it at the same time; `read`,
    `readinto`, `seek` and `tell` share one position, all other methods are independent of it.

    A read asks for the pieces that it needs, waits for them, and copies their bytes. Each byte is from a piece that was compared with its
    digest from the supernode or the origin before the read. A digest of the whole file (`digest=`, `md5=`) can be compared only after every
    piece is stored, so earlier reads are not covered by it. The read that completes the file, and all later ones, including `map` and
    `path`, wait until it is compared, and raise DigestMismatch if it differs. So a program that has read the whole file without an error
    has the right data.

    The setting `timeout` (seconds, 0 = none) applies to one read: TimedOut ends that read, and the next one may succeed. Other errors that
    end the download, such as OriginChanged, SupernodeError or StorageError, are raised by each read of a missing piece. After a transient
    error, such as an unreachable supernode, one of these reads reopens the file, at most once in AGAIN seconds; pieces that were in memory
    are fetched again. Reads that are waiting when another thread closes the file raise LocalError.

    Child processes and pickles: a forked child, and a process that unpickles a File, have a File of their own at the same position, which
    is reopened by its first use. If the origin has another version by then, that raises OriginChanged.
    """

    def __init__(self, settings: GetSettings, store: str = "", position: int = 0, version: tuple[int, bytes] | None = None) -> None:
        """store: see OpenFileStorage. version: see Opened. Raises BadValue. The file is opened by `opened` or the first use."""
        super().__init__()
        self._settings, self._store, self._version = settings, store, version
        self._position = position
        self._opened: Opened | None = None
        self._replacement: Opened | None = None
        """Replacement of `_opened` while it is being opened, after the download of `_opened` has ended."""
        self._reopen_at = 0.0
        self._turn, self._opening, self._reopening = threading.RLock(), threading.Lock(), threading.Lock()
        if store not in ("", MEMORY, DISK):
            raise BadValue(f"store is {store!r}, not {MEMORY!r} or {DISK!r}")
        _open.add(self)

    def opened(self) -> Opened:
        """Return the open file, after opening it if necessary. Raises the errors of opening, or ValueError if the file is closed."""
        opened = self._opened
        if opened is None or not opened.ready or self.closed:
            with self._opening:
                self._check()
                if self._opened is None:
                    self._opened = Opened(self._settings, self._store, self._version)
                opened = self._opened
            try:
                opened.begin()
            except BaseException:
                release(opened.close)
                with self._opening:
                    if self._opened is opened:
                        self._opened = None
                raise
            self._version = opened.version
        return opened

    def _use(self, read: Callable[[Opened], Found]) -> Found:
        """Return the result of `read`. If the download has ended with a transient error, reopen the same version of the file for it."""
        opened = self.opened()
        try:
            return read(opened)
        except RemoteError as error:
            # Without a generation, the reopened file could be of another version.
            if not opened.ended or not opened.version[1] or not is_transient(error):
                raise
            return read(self._reopen(opened, error))

    def _reopen(self, opened: Opened, error: RemoteError) -> Opened:
        """Reopen the file; if that fails, `opened` stays, and its stored pieces can be read. Raises `error` if the last try is recent."""
        with self._reopening:
            if self._opened is not opened:
                return self.opened()
            with self._opening:
                self._check()
                if time.monotonic() < self._reopen_at:
                    raise error
                self._reopen_at = time.monotonic() + AGAIN
                fresh = self._replacement = Opened(self._settings, self._store, self._version)
            try:
                with cancel.waits(fresh.stop):
                    fresh.begin()
                with self._opening:
                    self._check()
                    self._opened = fresh
            except BaseException:
                release(fresh.close)
                raise
            finally:
                self._replacement = None
        opened.close()
        return fresh

    def _check(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def __repr__(self) -> str:
        return f"<dfengine.files.File {redacted_url(self._settings.url)!r}{' (closed)' if self.closed else ''}>"

    @property
    def name(self) -> str:
        """URL of the file."""
        return self._settings.url

    @property
    def mode(self) -> str:
        """Mode as for the builtin `open`."""
        return "rb"

    def readable(self) -> bool:
        """True."""
        self._check()
        return True

    def write(self, data: Any, /) -> int:
        """Raise io.UnsupportedOperation: a file of the swarm is read-only."""
        self._check()
        raise io.UnsupportedOperation(f"{self.name} cannot be written: it is open for reading")

    def seekable(self) -> bool:
        """True."""
        self._check()
        return True

    @property
    def size(self) -> int:
        """Length of the file in bytes. If the origin does not state it, the file is fetched to its end."""
        return self._use(lambda opened: opened.length())

    # At the position.

    def tell(self) -> int:
        """Offset in bytes of the next read."""
        self._check()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set and return the position in bytes, which may be beyond the end. Raises BadValue below 0, TypeError."""
        self._check()
        offset, whence = index(offset), index(whence)
        with self._turn:
            if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
                raise BadValue(f"whence is {whence}, not 0, 1 or 2")
            base = 0 if whence == os.SEEK_SET else self._position if whence == os.SEEK_CUR else self.size
            if base + offset < 0:
                raise BadValue(f"byte {base + offset} is before the file")
            self._position = base + offset
            return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer` and return the number of bytes, fewer only at the end of the file. Raises TypeError for an unusable buffer."""
        view = _writable(buffer)
        with self._turn:
            got = self._use(lambda opened: opened.pread_into(self._position, view))
            self._position += got
            return got

    def read(self, count: int | None = -1, /) -> bytes:
        """Return `count` bytes, fewer only at the end of the file. Negative or None: the rest of the file. Raises TypeError."""
        count = -1 if count is None else index(count)
        with self._turn:
            most = count if count >= 0 else max(0, self.size - self._position)
            found = self._use(lambda opened: opened.pread(self._position, most))
            self._position += len(found)
            return found

    def readall(self) -> bytes:
        """Return the rest of the file."""
        return self.read()

    # At any offset. Invalid offsets and counts raise BadValue.

    def pread(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on, fewer only at the end of the file. The position is unchanged."""
        start, most = _span(offset, count)
        return self._use(lambda opened: opened.pread(start, most))

    def pread_into(self, offset: int, buffer: Any) -> int:
        """Fill `buffer` from `offset` on and return the number of bytes, fewer only at the file's end. The position is unchanged."""
        start, _ = _span(offset, 0)
        try:
            view = _writable(buffer)
        except TypeError as error:
            raise BadValue(str(error)) from None
        return self._use(lambda opened: opened.pread_into(start, view))

    def readv(self, ranges: Iterable[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of each (offset, count), as `pread`. All pieces are requested before the wait for the first one."""
        spans = _spans(ranges)
        return self._use(lambda opened: opened.preadv(spans))

    def map(self, offset: int = 0, count: int | None = None) -> memoryview:
        """Return the bytes as read-only memory: the pages themselves, not a copy. They are fetched first; by default the whole file.

        The memory stays valid after the file is closed, as long as a view of it exists. On the disk (`store="disk"`) the process gets
        SIGBUS if another program truncates the file in the home directory meanwhile.
        """
        start, length = _span(offset, 0 if count is None else count)
        return self._use(lambda opened: opened.map(start, max(0, opened.length() - start) if count is None else length))

    def path(self) -> str:
        """Return a path to the whole file, which is fetched first. It is valid until the file is closed, for this user's processes.

        A file in memory has a path below /proc and cannot be written. Writing to a file on the disk corrupts the data of other readers.
        """
        return self._use(lambda opened: opened.path())

    def close(self) -> None:
        """Release everything. Waiting reads of other threads raise LocalError. A second call completes an interrupted one."""
        release(super().close, self._stop_replacement, self._close_opened)

    def _stop_replacement(self) -> None:
        fresh = self._replacement
        if fresh is not None:
            fresh.stop()  # the thread that opens it closes it

    def _close_opened(self) -> None:
        with self._opening:
            opened = self._opened
        if opened is not None:
            opened.close()
            self._opened = None

    def __del__(self) -> None:
        # At the interpreter's end modules can no longer be imported; the process's end releases everything.
        if not sys.is_finalizing() and getattr(self, "_opened", None) is not None:
            if not self.closed:
                warnings.warn(f"{self.name} was not closed", ResourceWarning, source=self, stacklevel=2)
            self.close()

    # Other processes.

    def __reduce__(self) -> tuple[object, ...]:
        self._check()
        return File, (self._settings, self._store, self._position, self._version)

    def at_position(self, position: int) -> File:
        """Return another File of the same version, which is opened by its first use. position: in bytes."""
        self._check()
        return File(self._settings, self._store, position, self._version)

    def forked(self) -> None:
        """Drop the open file in a forked child, whose parent has the threads; the next use reopens it."""
        if self._opened is not None:
            self._opened.forked()
        self._opened = self._replacement = None
        self._turn, self._opening, self._reopening = threading.RLock(), threading.Lock(), threading.Lock()


class Buffered(io.BufferedReader):
    """A buffer around a File. It can be pickled like the File."""

    def __init__(self, file: File, size: int) -> None:
        super().__init__(file, size)
        self._size = size

    def __reduce__(self) -> tuple[object, ...]:
        assert isinstance(self.raw, File)
        return Buffered, (self.raw.at_position(self.tell()), self._size)


def _span(offset: int, count: int) -> tuple[int, int]:
    """Check an offset and a count. Raises BadValue if they are invalid."""
    try:
        offset, count = index(offset), index(count)
    except TypeError:
        raise BadValue(f"{count!r:.40} bytes at {offset!r:.40}: an offset and a count are integers") from None
    if offset < 0 or count < 0:
        raise BadValue(f"{count} bytes at {offset} are not a part of a file: give an offset and a count of at least 0")
    return offset, count


def _spans(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Check pairs of offset and count. Raises BadValue, and errors of the iteration over `ranges`."""
    try:
        given = iter(ranges)
    except TypeError:
        raise BadValue(f"ranges is {type(ranges).__name__}, not a list of (offset, count)") from None
    found = []
    for each in given:
        try:
            offset, count = each
        except (TypeError, ValueError):
            raise BadValue(f"{each!r:.40} is not a range: give pairs of (offset, count)") from None
        found.append(_span(offset, count))
    return found


def _writable(buffer: Any) -> memoryview:
    """Return the buffer's bytes. Raises TypeError, as files of `io` do, if it is read-only."""
    view = memoryview(buffer).cast("B")
    if view.readonly:
        raise TypeError(f"a read-write bytes-like object is required, not {type(buffer).__name__}")
    return view


def _forked() -> None:
    for file in list(_open):
        file.forked()


os.register_at_fork(after_in_child=_forked)


def open(settings: GetSettings, *, store: str = "", buffering: int = 0) -> File | io.BufferedReader:
    """Open the file of `settings.url` for random access. Raises subclasses of DfengineError.

    store: "memory" or "disk" for the pieces; "": depends on the file's size and the available memory (see OpenFileStorage).
    buffering: bytes of an `io.BufferedReader` around the file, -1 = BUFFER, 0 = no buffer: reads then use the file directly.
    """
    if type(buffering) is not int or not -1 <= buffering <= MAX_BUFFER:
        raise BadValue(f"buffering is {buffering!r}, not a number of bytes from 0 to {MAX_BUFFER}, or -1")
    file = File(settings, store)
    try:
        file.opened()
        return Buffered(file, BUFFER if buffering < 0 else buffering) if buffering else file
    except BaseException:
        release(file.close)
        raise
