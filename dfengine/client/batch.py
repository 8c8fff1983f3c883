"""Many downloads of one process, several at the same time.

    caller's thread     receives results in the order in which downloads end; signals reach it
    worker threads      each takes the next file, downloads it, and queues the result

The list of files is read one by one, when a worker is free, so it may have any length.
"""

from __future__ import annotations

import threading
import time
from queue import Empty, Queue

from dfengine.client import thread_start
from dfengine.client.batch_progress import BatchProgress, FileProgress
from dfengine.client.download import FileDownload, run
from dfengine.client.shared_resources import SharedResources
from dfengine.errors import DfengineError, RemoteError
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dfengine.client.result import Result
    from dfengine.settings import GetSettings

STOP_TIMEOUT = 0.5
"""Seconds in which stopped downloads end: they notify their supernode and keep the pieces on disk."""


class BatchFile(Value):
    """One file. urls: alternatives; the next is tried when one fails. fault: why the file cannot be downloaded, None if it can.

    skipped: its output exists and need not be checked.
    """

    settings: GetSettings
    urls: tuple[str, ...]
    fault: DfengineError | None = None
    skipped: bool = False


class BatchOutcome(Value):
    """Outcome of one file: `result`, or `error`, or neither if it was skipped."""

    wanted: BatchFile
    result: Result | None = None
    error: BaseException | None = None


class Batch:
    """Runs downloads; call `run` once. at_once: downloads at the same time. limit: bytes per second of all together, 0 = no limit."""

    def __init__(self, files: Iterator[BatchFile], at_once: int, progress: BatchProgress, limit: int = 0) -> None:
        self._files = files
        self._progress = progress
        self._workers = at_once
        self._limit = limit
        self._resources = SharedResources(at_once, limit)
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._running: set[FileDownload] = set()
        self._started: dict[int, BatchFile] = {}
        """By its id: files that a worker has taken and whose result has not been reported."""
        self._stopped: BaseException | None = None
        self._exhausted = False
        # Bounded: a caller that takes no results, such as a command whose stdout is not read, blocks the workers.
        self._ended: Queue[BatchOutcome | BaseException | None] = Queue(4 * at_once)

    def run(self, on_ended: Callable[[BatchOutcome], None]) -> None:
        """Return when all files have ended. on_ended: called by this thread for each.

        Raises the error that ended the iteration, or LocalError if the system has no thread.
        """
        threads: list[threading.Thread] = []

        def start(n: int) -> None:
            thread_start.start(threading.Thread(target=self._work, name=f"download-{n}", daemon=True), threads)

        thread_start.start_some(self._workers, start)
        failure: BaseException | None = None
        left = len(threads)
        while left:
            ended = self._ended.get()
            if isinstance(ended, BatchOutcome):
                self._report(ended, on_ended)
            else:
                left -= 1
                failure = failure or ended
        if failure is not None:
            raise failure

    def stop(self, error: BaseException, on_ended: Callable[[BatchOutcome], None]) -> None:
        """End all running downloads with `error`, each reported by `on_ended`. After STOP_TIMEOUT, the rest are reported as ended by it."""
        with self._lock:
            self._stopped = error
            running = [*self._running]
        for download in running:
            download.stop(error)
        until = time.monotonic() + STOP_TIMEOUT
        while self._started:
            left = until - time.monotonic()
            try:
                ended = self._ended.get(left > 0, 0.01)
            except Empty:
                if left <= 0:
                    break
                continue
            if isinstance(ended, BatchOutcome):
                self._report(ended, on_ended)
        for ended in self.unfinished(error):
            on_ended(ended)

    def unfinished(self, error: BaseException) -> list[BatchOutcome]:
        """Return started files without a reported result, each once, as ended by `error`. May be called from any thread."""
        with self._lock:
            started, self._started = self._started, {}
        return [BatchOutcome(wanted, error=error) for wanted in started.values()]

    def _report(self, ended: BatchOutcome, on_ended: Callable[[BatchOutcome], None]) -> None:
        with self._lock:
            known = self._started.pop(id(ended.wanted), None) is not None
        if known:
            on_ended(ended)

    def _work(self) -> None:
        failure: BaseException | None = None
        try:
            while (wanted := self._next()) is not None:
                self._ended.put(self._process(wanted))
        except BaseException as error:
            failure = error
        self._ended.put(failure)

    def _next(self) -> BatchFile | None:
        with self._turn:
            if self._exhausted or self._stopped is not None:
                return None
            try:
                wanted = next(self._files, None)
            except BaseException:
                self._exhausted = True
                raise
            self._exhausted = wanted is None
            with self._lock:
                if wanted is None or self._stopped is not None:  # next() may have blocked for long
                    return None
                self._started[id(wanted)] = wanted
            return wanted

    def _process(self, wanted: BatchFile) -> BatchOutcome:
        file_progress = FileProgress(self._progress)
        failure: BaseException | None = wanted.fault
        if wanted.skipped or failure is not None:
            file_progress.end(failure is None)
            return BatchOutcome(wanted, error=failure)
        for url in wanted.urls:
            try:
                result = self._download(wanted.settings.replace(url=url), file_progress)
            except RemoteError as error:
                failure = failure or error
            except BaseException as error:
                failure = error
                break
            else:
                file_progress.end(True)
                return BatchOutcome(wanted, result)
        file_progress.end(False)
        return BatchOutcome(wanted, error=failure)

    def _download(self, settings: GetSettings, file_progress: FileProgress) -> Result:
        # A line is printed only for a file that fails.
        settings = settings.replace(quiet=True, locallimit=max(1, self._limit // self._workers) if self._limit else 0)
        download = FileDownload(settings, file_progress, self._resources)
        with self._lock:
            if self._stopped is not None:
                download.stop(self._stopped)
            self._running.add(download)
        try:
            return run(download)
        finally:
            with self._lock:
                self._running.discard(download)
