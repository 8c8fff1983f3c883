"""The open files of a file system. All readers of a URL use one download with one copy of its pieces.

    in use   has holders
    idle     has none. It stays open for IDLE seconds, because reads of ranges often follow each other. At most MAX_IDLE stay open

Law: a file is open while it has a holder. A file that was forgotten (`forget`) is closed when its last holder releases it, and the
next holder opens another one.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

IDLE = 30.0
"""Seconds until an idle file is closed."""

MAX_IDLE = 16


class File(Protocol):
    """An open file; see `dfengine.files.File`."""

    @property
    def size(self) -> int:
        """Bytes."""

    def opened(self) -> Any:
        """The object that it reads from, whose `version` is (length, generation)."""

    def pread(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on."""

    def pread_into(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer`; return the number of bytes."""

    def readv(self, ranges: list[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, count)."""

    def close(self) -> None:
        """Release everything."""


class OpenFile:
    """One URL's file. holders: their number. since: when it became idle, seconds."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.file: File | None = None
        self.opening = threading.Lock()
        self.holders = 0
        self.since = 0.0
        self.forgotten = False


class OpenFiles:
    """begin: opens a URL; it may block, and `acquire` raises its errors. For any thread, and for a forked child."""

    def __init__(self, begin: Callable[[str], File]) -> None:
        self._begin = begin
        self._held: dict[str, OpenFile] = {}
        # Reentrant: the garbage collector may drop, and so release, a holder while the lock is held.
        self._lock = threading.RLock()
        self._timer: list[threading.Timer] = []
        """The timer for the end of the oldest idle file, if there is one."""
        _all.add(self)
        weakref.finalize(self, _end, self._held, self._timer)

    def acquire(self, url: str) -> tuple[OpenFile, File]:
        """The open file of a URL, which is opened if necessary, for one more holder."""
        with self._lock:
            held = self._held.get(url)
            if held is None:
                held = self._held[url] = OpenFile(url)
            held.holders += 1
        try:
            with held.opening:
                if held.file is None:
                    held.file = self._begin(url)
                return held, held.file
        except BaseException:
            self.release(held)
            raise

    def release(self, held: OpenFile) -> None:
        """Release the file for one holder."""
        with self._lock:
            held.holders -= 1
            held.since = time.monotonic()
            if held.file is None and not held.holders and self._held.get(held.url) is held:
                del self._held[held.url]
            expired = self._take_expired(held.since)
            if held.forgotten and not held.holders:
                expired.append(held)
        _close(expired)

    @contextlib.contextmanager
    def use(self, url: str) -> Iterator[File]:
        """The file of a URL, held until the context ends."""
        held, file = self.acquire(url)
        try:
            yield file
        finally:
            self.release(held)

    def forget(self, url: str | None = None) -> None:
        """Do not use the open file of a URL (None: all) for later reads; close it if it is idle."""
        with self._lock:
            gone = [self._held.pop(each) for each in ([*self._held] if url is None else [url] if url in self._held else [])]
            for held in gone:
                held.forgotten = True
            expired = [held for held in gone if not held.holders] + self._take_expired(time.monotonic())
        _close(expired)

    def _take_expired(self, now: float) -> list[OpenFile]:
        """Remove and return the idle files to close, and set the timer for the next one. The lock must be held."""
        idle = [held for held in [*self._held.values()] if not held.holders and held.file is not None]
        idle.sort(key=lambda held: held.since)
        expired = [held for at, held in enumerate(idle) if at < len(idle) - MAX_IDLE or now - held.since >= IDLE]
        expired = [held for held in expired if self._held.pop(held.url, None) is not None]
        if len(expired) < len(idle) and not self._timer:
            timer = threading.Timer(idle[len(expired)].since + IDLE - now, _expire, (weakref.ref(self),))
            timer.name, timer.daemon = "dfengine-idle-files", True
            with contextlib.suppress(RuntimeError):  # too many threads: the next use sets a timer
                timer.start()
                self._timer.append(timer)
        elif len(expired) == len(idle) and self._timer:
            self._timer.pop().cancel()  # its thread ends
        return expired

    def expire(self) -> None:
        """Handle the timer: close idle files whose time is over."""
        with self._lock:
            self._timer.clear()
            expired = self._take_expired(time.monotonic())
        _close(expired)

    def forked(self) -> None:
        """Reset in a forked child, where the parent's threads do not exist. An open file opens itself again when it is used."""
        self._lock = threading.RLock()
        self._timer.clear()
        for held in self._held.values():
            held.opening = threading.Lock()


def _expire(found: weakref.ref[OpenFiles]) -> None:
    files = found()
    if files is not None:
        files.expire()


def _close(held: Iterable[OpenFile]) -> None:
    for each in held:
        file, each.file = each.file, None
        if file is not None:
            file.close()


def _end(held: dict[str, OpenFile], timer: list[threading.Timer]) -> None:
    for each in timer:
        each.cancel()
    _close(held.values())


_all: weakref.WeakSet[OpenFiles] = weakref.WeakSet()


def _forked() -> None:
    for files in list(_all):
        files.forked()


os.register_at_fork(after_in_child=_forked)
