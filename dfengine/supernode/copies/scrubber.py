"""Scrubs pieces of the supernode's copies that a client reports as wrong or that could not be sent: reads them and compares the digests.

A few pieces are read at once, in threads. A piece that is right is not read again for QUIET seconds, even if other clients report it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from dfengine.errors import OutOfResources, StorageError
from dfengine.net.client_quota import SHARE, Quota
from dfengine.net.thread_pool import ThreadPool
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import Fetch

AT_ONCE = 2
MAX_WAITING = 1024
"""Maximum number of pieces that wait for scrubbing, or were right less than QUIET seconds ago; further reports are ignored."""

PAUSE = 1.0
"""Seconds between two searches for removable entries when there are MAX_WAITING."""

QUIET = 10.0
"""Seconds for which a piece that was right is not read again."""


class Scrubber:
    """Scrubs in threads. Used on the loop's thread. The fetch's event reports a wrong piece.

    share: percent of MAX_WAITING for one client.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, share: int = SHARE) -> None:
        self._loop = loop
        self._threads = ThreadPool(AT_ONCE, "scrubber")
        self._known: dict[tuple[str, int], tuple[float, str]] = {}
        """(task, piece) -> (monotonic seconds from which it may be read again, infinity while it is being read; the client's address)."""
        self._shares = Quota(MAX_WAITING, share)
        self._full_until = 0.0

    def scrub(self, fetch: Fetch | None, n: int, address: str) -> None:
        """Scrub piece n of a task's copy, reported by the client at `address`."""
        if fetch is not None and fetch.file is not None:
            self._submit(fetch, fetch.file, range(n, n + 1), address)

    def scrub_unreadable(self, fetch: Fetch, file: Copy, first: int, past: int) -> None:
        """Scrub pieces [first, past) of this copy of the task, which could not be sent."""
        self._submit(fetch, file, range(max(0, first), past), "")

    def _submit(self, fetch: Fetch, file: Copy, pieces: range, address: str) -> None:
        now = time.monotonic()
        if len(self._known) >= MAX_WAITING or self._shares.full(address):
            if now < self._full_until:
                return  # one pull may report thousands
            self._full_until = now + PAUSE
            for key in [key for key, (until, _) in self._known.items() if until <= now]:
                self._forget(key)
        for n in range(pieces.start, min(pieces.stop, len(file.available))):
            key = fetch.task, n
            if n not in file.available:
                continue
            if key in self._known and self._known[key][0] <= now:
                self._forget(key)
            if key not in self._known and len(self._known) < MAX_WAITING and self._shares.acquire(address):
                self._known[key] = float("inf"), address
                self._threads.submit(self._compare, fetch, file, n)

    def _forget(self, key: tuple[str, int]) -> None:
        self._shares.release(self._known.pop(key)[1])

    def _compare(self, fetch: Fetch, file: Copy, n: int) -> None:
        with contextlib.suppress(StorageError):
            for lost in file.drop_truncated():
                fetch.piece_damaged(lost)
        try:
            right = n in file.available and file.verify(n, file.buffer())
        except OutOfResources:
            right = False  # not known: the next report of the piece has it read again
        else:
            if not right:
                fetch.piece_damaged(n)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._compared, (fetch.task, n), right)

    def _compared(self, key: tuple[str, int], right: bool) -> None:
        if right:
            self._known[key] = time.monotonic() + QUIET, self._known[key][1]
        else:
            self._forget(key)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
