"""Many downloads of one process, several at the same time.

    caller's thread     receives results in the order in which downloads end; signals reach it
    worker threads      each takes the next file, downloads it, and queues the result

The list of files is read one by one, when a worker is free, so it may have any length.
"""

from __future__ import annotations

import threading
import time
from queue import Empty, Queue

from dfengine.client.batch_progress import BatchProgress, Member
from dfengine.client.download import FileDownload, run
from dfengine.client.shared_resources import Pooled
from dfengine.errors import DfengineError, RemoteError
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dfengine.client.result import Result
    from dfengine.settings import GetSettings

LEAVING = 0.5
"""Seconds in which stopped downloads end: they notify their supernode and keep the pieces on disk."""


class Wanted(Value):
    """One file. urls: alternatives; the next is tried when one fails. fault: why the file cannot be downloaded, None if it can.

    skipped: its output exists and need not be checked.
    """

    settings: GetSettings
    urls: tuple[str, ...]
    fault: DfengineError | None = None
    skipped: bool = False


class Ended(Value):
    """Outcome of one file: `result`, or `error`, or neither if it was skipped."""

    wanted: Wanted
    result: Result | None = None
    error: BaseException | None = None


class Batch:
    """Runs downloads; call `run` once. at_once: downloads at the same time. limit: bytes per second of all together, 0 = no limit."""

    def __init__(self, files: Iterator[Wanted], at_once: int, progress: BatchProgress, limit: int = 0) -> None:
        self._files = files
        self._progress = progress
        self._workers = at_once
        self._limit = limit
        self._pooled = Pooled(at_once, limit)
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._running: set[FileDownload] = set()
        self._started: dict[int, Wanted] = {}
        """By its id: files that a worker has taken and whose result has not been reported."""
        self._stopped: BaseException | None = None
        self._over = False
        # Bounded: a caller that takes no results, such as a command whose stdout is not read, blocks the workers.
        self._ended: Queue[Ended | BaseException | None] = Queue(4 * at_once)

    def run(self, tell: Callable[[Ended], None]) -> None:
        """Return when all files have ended. tell: called by this thread for each. At the end, raises the error that ended the iteration."""
        threads = [threading.Thread(target=self._work, name=f"download-{n}", daemon=True) for n in range(self._workers)]
        for thread in threads:
            thread.start()
        failure: BaseException | None = None
        left = len(threads)
        while left:
            ended = self._ended.get()
            if isinstance(ended, Ended):
                self._report(ended, tell)
            else:
                left -= 1
                failure = failure or ended
        if failure is not None:
            raise failure

    def stop(self, error: BaseException, tell: Callable[[Ended], None]) -> None:
        """End all running downloads with `error`; `tell` each outcome. After LEAVING seconds, report the rest as ended by `error`."""
        with self._lock:
            self._stopped = error
            running = [*self._running]
        for download in running:
            download.stop(error)
        until = time.monotonic() + LEAVING
        while self._started:
            left = until - time.monotonic()
            try:
                ended = self._ended.get(left > 0, 0.01)
            except Empty:
                if left <= 0:
                    break
                continue
            if isinstance(ended, Ended):
                self._report(ended, tell)
        for ended in self.unfinished(error):
            tell(ended)

    def unfinished(self, error: BaseException) -> list[Ended]:
        """Return started files without a reported result, each once, as ended by `error`. May be called from any thread."""
        with self._lock:
            started, self._started = self._started, {}
        return [Ended(wanted, error=error) for wanted in started.values()]

    def _report(self, ended: Ended, tell: Callable[[Ended], None]) -> None:
        with self._lock:
            known = self._started.pop(id(ended.wanted), None) is not None
        if known:
            tell(ended)

    def _work(self) -> None:
        failure: BaseException | None = None
        try:
            while (wanted := self._next()) is not None:
                self._ended.put(self._one(wanted))
        except BaseException as error:
            failure = error
        self._ended.put(failure)

    def _next(self) -> Wanted | None:
        with self._turn:
            if self._over or self._stopped is not None:
                return None
            try:
                wanted = next(self._files, None)
            except BaseException:
                self._over = True
                raise
            self._over = wanted is None
            with self._lock:
                if wanted is None or self._stopped is not None:  # next() may have blocked for long
                    return None
                self._started[id(wanted)] = wanted
            return wanted

    def _one(self, wanted: Wanted) -> Ended:
        member = Member(self._progress)
        failure: BaseException | None = wanted.fault
        if wanted.skipped or failure is not None:
            member.end(failure is None)
            return Ended(wanted, error=failure)
        for url in wanted.urls:
            try:
                result = self._download(wanted.settings.replace(url=url), member)
            except RemoteError as error:
                failure = failure or error
            except BaseException as error:
                failure = error
                break
            else:
                member.end(True)
                return Ended(wanted, result)
        member.end(False)
        return Ended(wanted, error=failure)

    def _download(self, settings: GetSettings, member: Member) -> Result:
        # A line is printed only for a file that fails.
        settings = settings.replace(quiet=True, locallimit=max(1, self._limit // self._workers) if self._limit else 0)
        download = FileDownload(settings, member, self._pooled)
        with self._lock:
            if self._stopped is not None:
                download.stop(self._stopped)
            self._running.add(download)
        try:
            return run(download)
        finally:
            with self._lock:
                self._running.discard(download)
