"""Somebody says that a piece of the supernode's own copy is wrong, or it could not be sent: it is read and compared with its digest.

In threads, a few at once. What is right is not read again for a while, whoever complains.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

from dfengine.errors import StorageError
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import Fetch

AT_ONCE = 2
MOST = 1024
"""Pieces that wait to be compared, or were found right lately; further complaints wait for the next one of their kind."""

PAUSE = 1.0
"""Seconds from one look for places among MOST to the next."""

QUIET = 10.0
"""Seconds in which a piece that was found right is not read again."""


class Complaints:
    """Used on the loop's thread. What is wrong is told by the fetch's own event."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._threads = ThreadPoolExecutor(AT_ONCE, "complaint")
        self._known: dict[tuple[str, int], float] = {}
        """(task, piece) -> when it may be read again, monotonic seconds; infinity while it is being read."""
        self._full_until = 0.0

    def complain(self, fetch: Fetch | None, n: int) -> None:
        """Of piece n of a task's copy."""
        if fetch is not None and fetch.file is not None:
            self.unreadable(fetch, fetch.file, n, n + 1)

    def unreadable(self, fetch: Fetch, file: Copy, first: int, past: int) -> None:
        """Pieces [first, past) of this copy of the task could not be sent."""
        now = time.monotonic()
        if len(self._known) >= MOST:
            if now < self._full_until:
                return  # one pull may have thousands
            self._full_until = now + PAUSE
            self._known = {key: until for key, until in self._known.items() if until > now}
        for n in range(max(0, first), min(past, len(file.here))):
            key = fetch.task, n
            if n in file.here and self._known.get(key, 0.0) < now and len(self._known) < MOST:
                self._known[key] = float("inf")
                self._threads.submit(self._compare, fetch, file, n)

    def _compare(self, fetch: Fetch, file: Copy, n: int) -> None:
        with contextlib.suppress(StorageError):
            for lost in file.cut_off():
                fetch.damaged(lost)
        right = n in file.here and file.prove(n, file.buffer())
        if not right:
            fetch.damaged(n)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._compared, (fetch.task, n), right)

    def _compared(self, key: tuple[str, int], right: bool) -> None:
        if right:
            self._known[key] = time.monotonic() + QUIET
        else:
            self._known.pop(key, None)

    def close(self) -> None:
        """The process ends."""
        self._threads.shutdown(wait=False, cancel_futures=True)
