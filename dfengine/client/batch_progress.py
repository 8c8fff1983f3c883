"""Combined progress of the downloads of one command, for a display."""

from __future__ import annotations

import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Following(Protocol):
        """Counters of one download, in bytes, as in `monitor.Monitor.counters`."""

        def counters(self) -> tuple[int, int, int, int, int]: ...

    class Shown(Protocol):
        def print(self, text: str) -> None: ...

MAX_PRINTED = 1000
"""Distinct messages that are remembered, so that a message about many files is printed once."""


class BatchProgress:
    """Sums over all downloads, for use by any thread. files: their number, -1 = unknown. length: bytes of all of them, -1 = unknown."""

    def __init__(self, files: int = -1, length: int = -1) -> None:
        self.files = files
        self.length = length
        self.complete = self.failed = 0
        self.state = "", ""
        self.display: Shown | None = None
        self._lock = threading.Lock()
        self._running: set[Following] = set()
        self._bytes = [0, 0, 0, 0]
        self._printed: set[str] = set()
        self._started = time.monotonic()

    @property
    def name(self) -> str:
        """Files that have ended, such as `12/200 files`."""
        done = self.complete + self.failed
        return f"{done}/{self.files} files" if self.files >= 0 else f"{done} files"

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def counters(self) -> tuple[int, int, int, int, int]:
        """Sums of `monitor.Monitor.counters`; the length is that of all files."""
        with self._lock:
            sums = [*self._bytes]
            for each in self._running:
                _add(sums, each)
        return self.length, sums[0], sums[1], sums[2], sums[3]

    def begin(self, download: Following) -> None:
        """Count a download that starts to run."""
        with self._lock:
            self._running.add(download)

    def leave(self, download: Following) -> None:
        """Remove a download that has ended; its bytes stay counted, also if it failed."""
        with self._lock:
            self._running.discard(download)
            _add(self._bytes, download)

    def end(self, complete: bool) -> None:
        """Count one more file as complete or failed."""
        with self._lock:
            if complete:
                self.complete += 1
            else:
                self.failed += 1

    def once(self, text: str) -> None:
        """Print `text` unless it was printed before."""
        with self._lock:
            if text in self._printed or len(self._printed) >= MAX_PRINTED:
                return
            self._printed.add(text)
        self.print(text)

    def print(self, text: str) -> None:
        """Print a line on stderr, through the display if there is one."""
        if self.display is not None:
            self.display.print(text)
        elif sys.stderr is not None:
            with self._lock:
                sys.stderr.write(text + "\n")
                sys.stderr.flush()


class FileProgress:
    """Observer of one file's downloads, which run one after the other (see `monitor.Display`)."""

    def __init__(self, progress: BatchProgress) -> None:
        self._progress = progress
        self._followed: Following | None = None

    def follow(self, monitor: Following) -> None:
        """See `monitor.Display`."""
        self.leave()
        self._followed = monitor
        self._progress.begin(monitor)

    def print(self, text: str) -> None:
        """See `monitor.Display`."""
        self._progress.once(text)

    def leave(self) -> None:
        """Stop following the download, which has ended."""
        followed, self._followed = self._followed, None
        if followed is not None:
            self._progress.leave(followed)

    def end(self, complete: bool) -> None:
        """Count the file, for which no further download is tried."""
        self.leave()
        self._progress.end(complete)


def _add(sums: list[int], download: Following) -> None:
    for at, count in enumerate(download.counters()[1:]):
        sums[at] += count
