"""Files of a tree that the origin lists and refuses to serve.

Laws:

1. A file is refused by a response to a GET of its own, while no other request of this module is under way. Its status is one that a retry
   does not change, or one that the file had twice.
2. A failure that does not concern a single file, as an origin that cannot be reached, refuses none.
3. Once one file is refused all files are requested, so that there are not as many manifests as refused files.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable

from dfengine.errors import BadListing, OriginError
from dfengine.location import scheme_of
from dfengine.manifest import File
from dfengine.origin.body import naming
from dfengine.origin.cancel import Cancel
from dfengine.origin.curl_transfers import CurlTransfers
from dfengine.origin.origin_settings import OriginSettings
from dfengine.origin.retry import TRANSIENT
from dfengine.origin.schemes import origin as origin_of
from dfengine.origin.version import Version

AT_ONCE = 8
"""Limit of concurrent requests for metadata that a listing does not contain."""

SHORT = 4096
"""Limit in bytes up to which the body of a response is read to its end although only the head is needed."""

PASSING = TRANSIENT | {416, 421}
"""Statuses from 400 on that do not depend on the file."""


def refuses(error: OriginError) -> bool:
    """Whether the response refuses this file permanently."""
    return 400 <= error.status < 500 and error.status not in PASSING


class FileRequests:
    """Requests files of a tree, a few at a time. until: the deadline, monotonic seconds; after it `check` raises BadListing."""

    def __init__(self, settings: OriginSettings, cancel: Cancel, until: float) -> None:
        self._settings = settings
        self._cancel = cancel
        self._until = until
        self._error: BaseException | None = None

    def for_each(self, which: Iterable[int], ask: Callable[[int, OriginSettings], None]) -> None:
        """Call `ask` for each number, in several threads with connections of their own. Raises the first exception of `ask`."""
        numbers = [*which]
        left = iter(numbers)
        threads: list[threading.Thread] = []
        # A process at its limit of threads sends requests from those that it could start.
        with contextlib.suppress(RuntimeError):
            for _ in numbers[1:AT_ONCE]:
                thread = threading.Thread(target=self._work, args=(left, ask), name="look", daemon=True)
                thread.start()
                threads.append(thread)
        if numbers:
            self._work(left, ask)
        for thread in threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def _work(self, left: object, ask: Callable[[int, OriginSettings], None]) -> None:
        transfers = CurlTransfers(self._cancel)
        try:
            settings = self._settings.replace(kept=transfers)
            for n in left:  # type: ignore[attr-defined]  # a list's iterator, which threads may share
                if self._error is not None:
                    return
                ask(n, settings)
        except BaseException as error:
            self._error = self._error or error
        finally:
            transfers.close()

    def head(self, file: File, settings: OriginSettings) -> Version:
        """The version in the response to HEAD. Raises OriginError, SourceGone, which name the path; BadListing after `until`."""
        with naming(file.path):
            return settings.http(file.url, self._cancel).version_by_head(self.check)

    def get(self, file: File, settings: OriginSettings) -> None:
        """As `head`, by a GET of the first byte."""
        with naming(file.path):
            body = origin_of(file.url, settings, self._cancel).open(0, 1 if file.size else None, waiting=self.check)
            try:
                # Reading to the end lets the connection be kept, and the origin does not handle this response and the next request at once.
                while 0 < body.remaining <= SHORT and body.read_into(memoryview(bytearray(SHORT))):
                    pass
            finally:
                body.close()

    def check(self) -> None:
        """Raise BadListing after the deadline."""
        if time.monotonic() > self._until:
            raise BadListing("the listing has not ended within its time: it does not state how large its files are")

    def find_refused(self, files: list[File], suspects: dict[str, int], everyone: bool) -> dict[str, int]:
        """Return path -> status of the refused files. suspects: files that were refused before. everyone: request the other files, too."""
        found: dict[str, int] = {}

        def ask(n: int, settings: OriginSettings) -> None:
            file = files[n]
            before = suspects.get(file.path, 0)
            try:
                if not before and not scheme_of(file.url):
                    try:  # its connection is kept for the next file
                        self.head(file, settings)
                        return
                    except OriginError as error:
                        if not refuses(error):
                            return
                self.get(file, settings)
            except OriginError as error:
                if refuses(error) or (500 <= error.status <= 599 and before >= 500):
                    found[file.path] = error.status

        self.for_each((n for n, file in enumerate(files) if everyone or file.path in suspects), ask)
        # Some origins refuse concurrent requests: a refused file is requested again alone.
        for n in [n for n, file in enumerate(files) if found.pop(file.path, 0)]:
            self.for_each((n,), ask)
        return found
