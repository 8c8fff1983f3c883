"""Batches of downloads: concurrency, order of URLs, reported outcomes and the end. No sockets: downloads are replaced."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dfengine.client import batch
from dfengine.client.batch import Batch, BatchFile, BatchOutcome
from dfengine.client.batch_progress import BatchProgress, FileProgress
from dfengine.errors import BadValue, Cancelled, LocalError, OriginError, StorageError
from dfengine.settings import GetSettings

PATIENCE = 60.0


class Downloads:
    """Replaces the downloads: `does` is called with each one's settings. most: maximum number running at once."""

    def __init__(self) -> None:
        self.does: Callable[[GetSettings], str] = lambda settings: settings.url
        self.seen: list[GetSettings] = []
        self.stopped = threading.Event()
        self.most = self._now = 0
        self._lock = threading.Lock()

    def run(self, download: Any) -> str:
        with self._lock:
            self.seen.append(download.settings)
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            return self.does(download.settings)
        finally:
            with self._lock:
                self._now -= 1


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> Downloads:
    made = Downloads()

    class FileDownload:
        def __init__(self, settings: GetSettings, observer: Any, resources: Any) -> None:
            self.settings = settings

        def stop(self, error: BaseException) -> None:
            made.stopped.set()

    monkeypatch.setattr(batch, "FileDownload", FileDownload)
    monkeypatch.setattr(batch, "run", made.run)
    return made


@pytest.mark.parametrize("permitted", [0, 1, 2])
def test_a_batch_runs_with_as_many_threads_as_the_system_permits(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch, permitted: int
) -> None:
    start, begun = threading.Thread.start, list[threading.Thread]()

    def limited(thread: threading.Thread) -> None:
        if len(begun) == permitted:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    ended: list[BatchOutcome] = []
    files = (BatchFile(GetSettings(url=f"http://o/{n}", output=str(n)), (f"http://o/{n}",)) for n in range(5))
    made = Batch(files, 4, BatchProgress())
    if permitted:
        made.run(ended.append)
        assert len(ended) == 5
    else:
        with pytest.raises(LocalError, match="too many threads"):
            made.run(ended.append)
    for thread in begun:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.001)


def wanted(count: int) -> Iterator[BatchFile]:
    for n in range(count):
        yield BatchFile(GetSettings(url="", output=f"f{n}"), (f"http://o/{n}",))


def all_of(files: Iterator[BatchFile], at_once: int, limit: int = 0) -> tuple[list[BatchOutcome], BatchProgress]:
    told: list[BatchOutcome] = []
    progress = BatchProgress()
    Batch(files, at_once, progress, limit).run(told.append)
    return told, progress


def test_each_file_ends_once_and_at_most_the_allowed_number_run(downloads: Downloads) -> None:
    told, progress = all_of(wanted(100), 5)
    assert sorted(str(each.result) for each in told) == sorted(f"http://o/{n}" for n in range(100))
    assert 1 <= downloads.most <= 5
    assert (progress.complete, progress.failed) == (100, 0)
    assert progress.name == "100 files"


@pytest.mark.parametrize("started", [0, 1])
def test_files_are_downloaded_by_as_many_threads_as_the_system_permits(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch, started: int
) -> None:
    start, running = threading.Thread.start, list[threading.Thread]()

    def limited(thread: threading.Thread) -> None:
        if len(running) >= started:
            raise RuntimeError("can't start new thread")
        running.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    if started:
        assert len(all_of(wanted(20), 5)[0]) == 20
        assert downloads.most == 1
    else:
        with pytest.raises(LocalError, match="too many threads"):
            all_of(wanted(20), 5)
        assert not downloads.seen


def test_the_rate_limit_is_divided_among_downloads(downloads: Downloads) -> None:
    all_of(wanted(3), 4, limit=1000)
    assert {settings.locallimit for settings in downloads.seen} == {250}
    downloads.seen.clear()
    all_of(wanted(1), 4)
    assert {settings.locallimit for settings in downloads.seen} == {0}


def test_files_are_taken_from_the_iterator_when_a_worker_is_free(downloads: Downloads) -> None:
    """The iterator may be endless: files taken ahead of the running ones are bounded by the outcomes reported."""
    taken = 0
    go_on = threading.Event()

    def files() -> Iterator[BatchFile]:
        nonlocal taken
        for each in wanted(10_000):
            taken += 1
            yield each

    def does(settings: GetSettings) -> str:
        assert go_on.wait(PATIENCE)
        return settings.url

    downloads.does = does
    told: list[BatchOutcome] = []

    def tell(ended: BatchOutcome) -> None:
        told.append(ended)
        assert taken <= len(told) + 3 * 5 + 1

    running = threading.Thread(target=Batch(files(), 3, BatchProgress()).run, args=(tell,))
    running.start()
    assert taken <= 3
    go_on.set()
    running.join(PATIENCE)
    assert (len(told), taken) == (10_000, 10_000)


def test_the_next_url_is_tried_after_a_remote_failure_and_the_first_failure_is_reported(downloads: Downloads) -> None:
    def does(settings: GetSettings) -> str:
        if settings.url.endswith("bad"):
            raise OriginError(f"no {settings.url}", 404)
        if settings.url.endswith("full"):
            raise StorageError("no room")
        return settings.url

    downloads.does = does
    settings = GetSettings(url="", output="f")
    told, progress = all_of(iter([BatchFile(settings, ("1/bad", "2/good")), BatchFile(settings, ("3/bad", "4/bad")),
                                  BatchFile(settings, ("5/full", "6/good"))]), 1)  # fmt: skip
    assert [(str(each.result), str(each.error)) for each in told] == [("2/good", "None"), ("None", "no 3/bad"), ("None", "no room")]
    assert (progress.complete, progress.failed) == (1, 2)
    assert [each.url for each in downloads.seen] == ["1/bad", "2/good", "3/bad", "4/bad", "5/full"]


def test_invalid_and_present_files_are_reported_without_a_download(downloads: Downloads) -> None:
    settings = GetSettings(url="", output="f")
    told, _ = all_of(iter([BatchFile(settings, ("",), BadValue("no URL")), BatchFile(settings, ("1",), skipped=True)]), 1)
    assert [(str(each.error), each.result) for each in told] == [("no URL", None), ("None", None)]
    assert not downloads.seen


def test_an_error_of_the_iterator_is_raised_after_the_started_downloads_end(downloads: Downloads) -> None:
    def files() -> Iterator[BatchFile]:
        yield from wanted(5)
        raise StorageError("the list cannot be read")

    told: list[BatchOutcome] = []
    with pytest.raises(StorageError, match="cannot be read"):
        Batch(files(), 3, BatchProgress()).run(told.append)
    assert len(told) == 5


def test_an_internal_error_is_reported_for_its_file(downloads: Downloads) -> None:
    def does(settings: GetSettings) -> str:
        raise ZeroDivisionError

    downloads.does = does
    told, _ = all_of(wanted(2), 2)
    assert [type(each.error) for each in told] == [ZeroDivisionError] * 2


def test_stop_ends_running_downloads_and_starts_none(downloads: Downloads) -> None:
    """Called by the thread that ran them, as after a signal."""

    class Interrupt(BaseException):
        pass

    def does(settings: GetSettings) -> str:
        if settings.output == "f0":
            return settings.url
        assert downloads.stopped.wait(PATIENCE)
        raise Cancelled("stopped")

    def interrupted(ended: BatchOutcome) -> None:
        raise Interrupt

    downloads.does = does
    told: list[BatchOutcome] = []
    made = Batch(wanted(50), 2, BatchProgress())
    with pytest.raises(Interrupt):
        made.run(interrupted)
    until(lambda: len(downloads.seen) == 3, "two running downloads")
    made.stop(Cancelled("stopped"), told.append)
    assert [type(each.error) for each in told] == [Cancelled] * 2
    assert len(downloads.seen) == 3


@pytest.mark.parametrize("slow", ["stuck", "ending"])
def test_stop_reports_downloads_that_do_not_end_in_time(downloads: Downloads, monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
    """A download is stuck, or its thread has no time to hand over its outcome."""
    go_on, told = threading.Event(), list[BatchOutcome]()

    class Interrupt(BaseException):
        pass

    def interrupted(ended: BatchOutcome) -> None:
        raise Interrupt

    def does(settings: GetSettings) -> str:
        assert settings.output == "f0" or (go_on if slow == "stuck" else downloads.stopped).wait(PATIENCE)
        return settings.url

    def end(member: FileProgress, complete: bool) -> None:
        assert slow == "stuck" or not downloads.stopped.is_set() or go_on.wait(PATIENCE)

    monkeypatch.setattr(batch, "STOP_TIMEOUT", 0.05)
    monkeypatch.setattr(FileProgress, "end", end)
    downloads.does = does
    made, before = Batch(wanted(50), 3, BatchProgress()), {*threading.enumerate()}
    with pytest.raises(Interrupt):
        made.run(interrupted)
    until(lambda: len(downloads.seen) == 4, "three running downloads")
    made.stop(Cancelled("stopped"), told.append)
    assert sorted((each.wanted.settings.output, type(each.error)) for each in told) == [(f"f{n}", Cancelled) for n in (1, 2, 3)]
    assert not made.unfinished(Cancelled("stopped"))
    go_on.set()
    for thread in {*threading.enumerate()} - before:
        thread.join(PATIENCE)


class Watched:
    def __init__(self, *counts: int) -> None:
        self.counts = counts

    def counters(self) -> tuple[int, int, int, int, int]:
        peers, supernode, origin, resumed = self.counts
        return -1, peers, supernode, origin, resumed


def test_byte_counters_are_summed_over_downloads_and_never_decrease(capsys: pytest.CaptureFixture[str]) -> None:
    progress = BatchProgress(3, 1000)
    first, second = FileProgress(progress), FileProgress(progress)
    running = Watched(1, 2, 3, 4)
    first.follow(running)
    second.follow(Watched(10, 20, 30, 40))
    assert progress.counters() == (1000, 11, 22, 33, 44)
    first.follow(Watched(0, 0, 5, 0))  # another URL of the same file
    assert progress.counters() == (1000, 11, 22, 38, 44)
    first.end(False)
    second.end(True)
    assert progress.counters() == (1000, 11, 22, 38, 44)
    assert progress.name == "2/3 files"
    for _ in range(3):
        first.print("the same")
    progress.print("always")
    progress.print("always")
    assert capsys.readouterr().err == "the same\nalways\nalways\n"
