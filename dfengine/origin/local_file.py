"""A file of this machine's own disk, as an origin.

Law: every byte that is handed out was read while the file was still the version that the answer named. After each read the file's status
is read; a change ends the answer, and the bytes of that read are not handed out.
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
"""Seconds that a file is waited for that is being written to."""


class FileOrigin:
    """See `kinds.Origin`. headers: of a download; a Range among them makes the task that part of the file. Raises BadValue."""

    def __init__(self, location: Location, roots: Roots, headers: Iterable[tuple[str, str]], *, cancel: Cancel, floor: float = 0.0) -> None:
        self.key = "file://"
        self.connect = self.first = 0.0  # neither is waited for
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
        """See `http.HttpOrigin.open`. Waits until a file that was changed just now cannot be changed again unseen.

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

    def send(self) -> None:
        """See `kinds.Origin`: a disk is not asked ahead."""

    def unsend(self) -> None:
        """See `kinds.Origin`."""

    def check_end(self, start: int, version: Version) -> None:
        """See `kinds.Origin`: each answer says how long the file is."""

    def _settled(self, fd: int, waiting: Callable[[], None] | None) -> os.stat_result:
        """The file's status once it has settled (`local_version`). Raises OriginChanged when it does not within PATIENCE."""
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
    """Somebody has the file open for writing, or mapped so; also True where this process may not know, because the file is another user's.

    The kernel grants a lease for reading (fcntl(2), F_SETLEASE) only while nobody has; it is given back at once.
    """
    try:
        # A writer that opens the file within this moment waits for the lease's end, and the holder is sent this signal instead of
        # SIGIO, which would end the process. Nobody takes notice of it.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return True
    return False


class FileBody:
    """See `kinds.Answer`. fd: belongs to it. base: where the task begins in the file; start: in the task; past: in the file."""

    def __init__(self, path: str, fd: int, base: int, start: int, past: int, version: Version, cancel: Cancel) -> None:
        self.place = shown(path)
        self.head = Head(200)
        self.start = start
        self.length = version.length
        self.remaining = max(0, past - base - start)
        self.version = version
        self.vary: frozenset[str] = frozenset()
        self.ranged = self.not_modified = self.bounded = self.open_end = False
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
        """A second time does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
