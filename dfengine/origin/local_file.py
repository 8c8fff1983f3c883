"""A file of this machine's own disk, as an origin.

Law: every byte that is returned was read while the file had the version that the answer named. The file's status is read after each read; a
change ends the answer, and the bytes of that read are discarded.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import time
from collections.abc import Callable, Iterable

from dfengine.errors import OriginChanged, OriginError, SourceGone
from dfengine.location import Location
from dfengine.origin.cancel import Cancel
from dfengine.origin.head import Head
from dfengine.origin.local_root import Roots, shown
from dfengine.origin.local_version import etag, settles
from dfengine.origin.request import asked_range
from dfengine.origin.version import Version

PATIENCE = 5.0
"""Seconds to wait for a file that is being written to."""


class FileOrigin:
    """See `origin_interface.Origin`. headers: of a download; a Range header makes the task that part of the file. Raises BadValue."""

    def __init__(self, location: Location, roots: Roots, headers: Iterable[tuple[str, str]], *, cancel: Cancel, floor: float = 0.0) -> None:
        self.key = "file://"
        self.connect = self.first = 0.0  # not used: a disk has no timeouts
        self.floor = floor
        self.cancel = cancel
        self._path = location.key
        self._roots = roots
        ranges = [value for name, value in headers if name.lower() == "range"]
        self._from, self._to = asked_range(ranges[-1]) if ranges else (0, -1)

    def open(
        self, start: int = 0, end: int | None = None, *, version: Version | None = None, unless: Version | None = None,
        waiting: Callable[[], None] | None = None,
    ) -> FileBody:
        """See `http.HttpOrigin.open`. Waits until the file's last change is old enough for a later change to be detected.

        Raises OriginError (403, 404, 416), OriginChanged, SourceGone.
        """
        fd = self._roots.open(self._path)
        try:
            status = self._settled(fd, waiting)
            first = max(0, status.st_size + self._from) if self._from < 0 else self._from
            past = status.st_size if self._to < 0 else min(self._to + 1, status.st_size)
            if first >= past and (self._from or self._to >= 0):
                raise OriginError(f"{shown(self._path)} has no byte {first}: it has {status.st_size}", 416)
            found = Version(etag(status), "", past - first)
            if version is not None and not version.covers(found):
                raise OriginChanged(f"{shown(self._path)} was changed")
            body = FileBody(self._path, fd, first, start, past if end is None else min(first + end, past), found, self.cancel)
            body.ranged, body.bounded = bool(start) or end is not None, end is not None
            if unless is not None and unless.binds and unless.covers(found):
                body.not_modified, body.version, body.remaining = True, unless, 0
            return body
        except BaseException:
            os.close(fd)
            raise

    def send_ahead(self) -> None:
        """See `origin_interface.Origin`. Does nothing: a disk needs no request ahead."""

    def cancel_request(self) -> None:
        """See `origin_interface.Origin`."""

    def check_end(self, start: int, version: Version) -> None:
        """See `origin_interface.Origin`. Does nothing: each answer states the file's length."""

    def _settled(self, fd: int, waiting: Callable[[], None] | None) -> os.stat_result:
        """The file's status once it has settled (`local_version`). Raises OriginChanged when it does not settle within PATIENCE."""
        until = time.monotonic() + PATIENCE
        while True:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OriginError(f"{shown(self._path)} is not read: it is a directory", 403, final=True)
            writers = _may_be_written(fd)
            left = settles(status, time.time(), writers)
            if left <= 0 and etag(os.fstat(fd)) == etag(status):
                return status
            if time.monotonic() > until:
                why = "was changed just now, and may be open for writing still" if writers else "is being written to"
                raise OriginChanged(f"{shown(self._path)} {why}")
            if self.cancel.is_set:
                raise SourceGone("the download was stopped")
            if waiting is not None:
                waiting()
            time.sleep(min(max(left, 0.001), 0.05))


def _may_be_written(fd: int) -> bool:
    """Whether the file is open for writing, or mapped for it; also True where another user owns the file, so that this process cannot find
    out.

    The kernel grants a lease for reading (fcntl(2), F_SETLEASE) only while no writer has the file open; the lease is released at once.
    """
    try:
        # A writer that opens the file within this moment waits for the lease's end, and the holder is sent this signal instead of SIGIO,
        # which would end the process. SIGURG is ignored by default.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return True
    return False


class FileBody:
    """See `origin_interface.Answer`. fd: owned by this object. base: the task's first byte in the file; past: the byte behind its last one.

    start: offset in the task.
    """

    def __init__(self, path: str, fd: int, base: int, start: int, past: int, version: Version, cancel: Cancel) -> None:
        self.place = shown(path)
        self.head = Head(200)
        self.start = start
        self.length = version.length
        self.remaining = max(0, past - base - start)
        self.version = version
        self.vary: frozenset[str] = frozenset()
        self.ranged = self.not_modified = self.bounded = self.end_unknown = False
        self._fd = fd
        self._base = base
        self._cancel = cancel

    def read_into(self, buffer: memoryview, waiting: Callable[[], None] | None = None) -> int:
        """See `body.Body.read_into`. Raises OriginChanged, OriginError, SourceGone."""
        if self._cancel.is_set:
            raise SourceGone("the download was stopped")
        want = min(len(buffer), self.remaining)
        if not want:
            return 0
        try:
            got = os.preadv(self._fd, [buffer[:want]], self._base + self.start)
            status = os.fstat(self._fd)
        except OSError as error:
            raise OriginError(f"{self.place} cannot be read: {error.strerror}", 500, final=True) from None
        if not got or etag(status) != self.version.etag:
            raise OriginChanged(f"{self.place} was changed while it was read")
        self.start += got
        self.remaining -= got
        return got

    def close(self) -> None:
        """Close the file. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
