"""The data of a tree as an origin: it is read file by file from the origin of the files.

Laws:

1. Each byte of the data belongs to the version of its file that the manifest names: always by the size, by the entity-tag or date where
   the manifest has one. After a response of another version the request is repeated a few times, since several servers may share one
   name; then TreeChanged is raised, which names the path.
2. Consecutive files are read over one connection. While one is read, the next small ones are requested over a few more connections, unless
   the origin has refused that once.
3. A file of which the manifest has only the size is resumed in its middle only under the version that was seen here. If such a file is
   in more than one piece, nothing binds the data as a whole (`Version.binds`).
4. Empty files are requested, too: they might have some bytes by now.
5. A response without the file is an error with the file's path: see `refused_files`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from dfengine.errors import OriginChanged, OriginError, OriginSlow, SourceGone, TreeChanged
from dfengine.location import scheme_of
from dfengine.manifest import Manifest
from dfengine.origin.body import SILENCE, STEP, naming
from dfengine.origin.cancel import Cancel
from dfengine.origin.claim import read_past
from dfengine.origin.curl_transfers import CurlTransfers
from dfengine.origin.head import MONTHS, Head
from dfengine.origin.origin_settings import OriginSettings
from dfengine.origin.schemes import origin as origin_of
from dfengine.origin.tree_listing import divided
from dfengine.origin.version import Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.origin.origin_interface import Answer, Origin

FILES_AHEAD = 3
"""Files that one reader requests ahead."""

SMALL = 256 << 10
"""Limit in bytes of a file that is requested ahead: its response is buffered in memory."""

WORTH = 64 << 10
"""Minimum of bytes that each file counts as for the minimum rate: for a small file, most of the time is spent on the request."""

TRIES = 3
"""Responses of another version in a row after which a file counts as changed."""

AGAIN = 0.2
"""Seconds until such a file is requested again."""

REFUSES = frozenset((0, 403, 408, 421, 425, 429, 500, 502, 503, 504))
"""Statuses by which an origin may refuse too many concurrent requests."""


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def http_date(when: float) -> str:
    """Unix seconds in the format of servers (IMF-fixdate); `email.utils.formatdate` takes five times as long."""
    year, month, day, hour, minute, second, weekday = time.gmtime(when)[:7]
    return f"{_DAYS[weekday]}, {day:02} {MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} GMT"


class TreeOrigin:
    """See `origin_interface.Origin`: the data of a manifest. connect, first, floor: for each file's response. ahead: files requested ahead.

    Raises BadValue, LocalError where an extra is missing.
    """

    def __init__(self, manifest: Manifest, settings: OriginSettings, cancel: Cancel) -> None:
        self.manifest = manifest
        self.cancel = cancel
        self.connect, self.first, self.floor = settings.connect, settings.first, settings.floor
        self.ahead = 0 if scheme_of(manifest.base) == "file" else FILES_AHEAD
        self.key = origin_of(manifest.url(0), settings, cancel).key if len(manifest) else manifest.base
        self.vary = frozenset(("*",))
        self.requests = 0
        """Requests for files so far."""
        self._settings = settings
        self._counting = threading.Lock()
        self._seen: dict[int, Version] = {}
        bound = all(manifest.etags[n] or manifest.modified[n] != -1 for n in divided(manifest.sizes))
        self.version = Version(f'"{manifest.identity}"' if bound else "", "", manifest.length)

    def open(
        self, start: int = 0, end: int | None = None, *, version: Version | None = None, unless: Version | None = None,
        waiting: Callable[[], None] | None = None,
    ) -> TreeBody:
        """See `http.HttpOrigin.open`. The manifest is the version: no request is made to check it."""
        if version is not None and not version.covers(self.version):
            raise OriginChanged(f"{self.manifest.base[:200]} is read by another manifest now")
        if version is None and not start:
            self._seen.clear()
        settings = self._settings.replace(connect=self.connect, first=self.first)
        body = TreeBody(self, settings, start, self.manifest.length if end is None else min(end, self.manifest.length), waiting)
        body.ranged, body.bounded = bool(start) or end is not None, end is not None
        if unless is not None and unless.covers(self.version):
            body.not_modified, body.remaining = True, 0
            return body
        try:
            if body.remaining or not self.manifest.length:
                body.begin()
        except BaseException:
            body.close()
            raise
        return body

    def version_of(self, n: int) -> Version | None:
        """The version of file n that binds, from the manifest or as it was seen here; None: there is none."""
        listed = self.manifest
        if listed.etags[n]:
            return Version(listed.etags[n], "", listed.sizes[n])
        if listed.modified[n] != -1:
            return Version("", http_date(listed.modified[n]), listed.sizes[n])
        return self._seen.get(n)

    def record_version(self, n: int, version: Version) -> None:
        """Record the version of a response with a part of file n; other responses must match it."""
        if version.binds:
            self._seen.setdefault(n, version)

    def count_request(self) -> None:
        """Count one request for a file. In any thread."""
        with self._counting:
            self.requests += 1

    def send_ahead(self) -> None:
        """See `origin_interface.Origin`."""

    def cancel_request(self) -> None:
        """See `origin_interface.Origin`."""

    def check_end(self, start: int, version: Version) -> None:
        """See `origin_interface.Origin`. Does nothing: the manifest states the length of the data."""


class TreeBody:
    """See `origin_interface.Answer`: the data's bytes [start, past). One thread uses it at a time."""

    def __init__(self, origin: TreeOrigin, settings: OriginSettings, start: int, past: int, waiting: Callable[[], None] | None) -> None:
        self.place = origin.manifest.base[:200]
        self.head = Head(200)
        self.start, self.length, self.remaining = start, origin.manifest.length, max(0, past - start)
        self.vary, self.version = origin.vary, origin.version
        self.ranged = self.not_modified = self.bounded = self.end_unknown = False
        self._origin, self._manifest, self._past = origin, origin.manifest, past
        self._waiting = waiting
        self._transfers = None if scheme_of(origin.manifest.base) == "file" else CurlTransfers(origin.cancel)
        self._settings = settings.replace(kept=self._transfers)
        self._top = None if scheme_of(origin.manifest.base) else self._settings.http(origin.manifest.base, origin.cancel)
        self._next = origin.manifest.first(start)
        self._ahead: deque[tuple[int, Origin]] = deque()
        self._body: Answer | None = None
        self._file = self._left = self._received = 0
        self._slow = 0.0
        """Seconds that this side has waited for the last `_received` bytes, as in `body.Body`."""

    def begin(self) -> None:
        """Open the first file, so that an error with it is raised at once."""
        self._advance()
        self._waiting = None  # the caller waits for the head only

    def read_into(self, buffer: memoryview, waiting: Callable[[], None] | None = None) -> int:
        """See `body.Body.read_into`; `waiting` does not end the opening of a file.

        Raises TreeChanged for a file that differs from the manifest, OriginError and its subclasses, SourceGone.
        """
        if not self.remaining:
            return 0
        floor = self._origin.floor
        if floor and self._slow > SILENCE + STEP / floor:
            raise OriginSlow(f"{self.place} sends less than {floor:.0f} bytes per second, by files of {WORTH} bytes or more")
        began = time.monotonic()
        got = self._read(buffer, waiting)
        self._slow += time.monotonic() - began
        self._received += got
        if self._received >= STEP:
            self._received, self._slow = 0, 0.0
        return got

    def _read(self, buffer: memoryview, waiting: Callable[[], None] | None) -> int:
        if self._body is None:
            self._advance()
        body, path = self._body, self._manifest.paths[self._file]
        assert body is not None
        try:
            with naming(path):
                got = body.read_into(buffer[: self._left], waiting)
                if not got:
                    raise TreeChanged(f"its answer ends {self._left} bytes before the listed size")
                if got == self._left:
                    self._check_end(body)
        except OriginError:
            self._origin.record_version(self._file, body.version)  # the rest of the file is requested under this version
            raise
        self._left -= got
        self.start += got
        self.remaining -= got
        if not self._left:
            body.close()
            self._body = None
            if not self.remaining:
                self._advance()  # empty files may be left
        return got

    def _check_end(self, body: Answer) -> None:
        """Read the end of a file whose response has no length."""
        at, size = self._manifest.range(self._file)
        if body.length < 0 and body.remaining < 0 and at + size <= self._past and body.read_into(memoryview(bytearray(1))):
            raise TreeChanged(f"its answer has more than the {size} bytes that were listed")

    # Files.

    def _advance(self) -> None:
        """Open the next file that has bytes in this range; empty files before it are checked."""
        while self._next < len(self._manifest):
            n = self._next
            at, size = self._manifest.range(n)
            if at >= self._past and (size or self._past < self._manifest.length):
                return
            self._next += 1
            if size and at + size <= self.start:
                continue
            self._open(n, max(0, self.start - at), min(size, self._past - at))
            body = self._body
            assert body is not None
            if size:
                return
            with naming(self._manifest.paths[n]):
                self._check_end(body)
            body.close()
            self._body = None

    def _open(self, n: int, first: int, past: int) -> None:
        """Open file n from its byte `first` to before `past`."""
        path, size, tries = self._manifest.paths[n], self._manifest.sizes[n], 0
        while True:
            known = self._origin.version_of(n)
            if first and known is None:
                raise OriginChanged(f"{path}: nothing proves that the origin still has the same file")
            ahead, origin = self._asked(n)
            try:
                with naming(path):
                    body = origin.open(first, None if past == size else past, version=known, waiting=self._waiting)
                    self._take(body, first, size)
                break
            except OriginChanged as error:
                tries += 1
                if tries >= TRIES:
                    raise TreeChanged(f"{error}: the tree has changed since it was listed") from None
                self._wait(AGAIN * tries)
            except OriginError as error:
                error.path = path
                if error.status in (404, 410):
                    changed = TreeChanged(f"{error}: the tree has changed since it was listed", error.status)
                    changed.path = path
                    raise changed from None
                if not ahead or error.status not in REFUSES:
                    raise
                self._origin.ahead = 0
                self._drop_ahead()
                self._wait(AGAIN)
        self._body, self._file, self._left = body, n, past - first
        self._received += max(0, WORTH - self._left)
        if past - first < size:
            self._origin.record_version(n, body.version)
        self._ask_ahead()

    def _take(self, body: Answer, first: int, size: int) -> None:
        """Check that the response has the listed size, and read on to byte `first`. Closes it on an error."""
        try:
            if body.length not in (-1, size):
                raise OriginChanged(f"{body.place} answers with {body.length} bytes, and {size} were listed")
            if body.start != first and self.bounded:
                raise OriginError(f"{body.place} answers a range with the whole file", 200)
            read_past(body, first, lambda: self._origin.cancel.is_set)
        except BaseException:
            body.close()
            raise

    def _asked(self, n: int) -> tuple[bool, Origin]:
        """The origin of file n, and whether it was requested ahead."""
        if self._ahead and self._ahead[0][0] == n:
            return True, self._ahead.popleft()[1]
        return False, self._origin_of(n)

    def _origin_of(self, n: int) -> Origin:
        self._origin.count_request()
        if self._top is None:
            return origin_of(self._manifest.url(n), self._settings, self._origin.cancel)
        return self._top.child(self._manifest.link(n))

    def _ask_ahead(self) -> None:
        n = self._ahead[-1][0] + 1 if self._ahead else self._next
        while len(self._ahead) < self._origin.ahead and self._left <= 16 * SMALL and n < len(self._manifest):
            at, size = self._manifest.range(n)
            if size > SMALL or at + size > self._past or at >= self._past:
                return
            origin = self._origin_of(n)
            origin.send_ahead()
            self._ahead.append((n, origin))
            n += 1

    def _drop_ahead(self) -> None:
        while self._ahead:
            self._ahead.pop()[1].cancel_request()

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._origin.cancel.is_set:
                raise SourceGone("the download was stopped")
            if self._waiting is not None:
                self._waiting()
            time.sleep(0.05)

    def close(self) -> None:
        """End all requests. Idempotent."""
        body, self._body = self._body, None
        if body is not None:
            body.close()
        self._drop_ahead()
        if self._transfers is not None:
            self._transfers.close()
