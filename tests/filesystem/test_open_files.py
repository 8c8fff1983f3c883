"""The open files of a file system: one for each URL, kept open while idle for a limited time, closed after that."""

from __future__ import annotations

import gc
import multiprocessing
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dfengine.filesystem import open_files
from dfengine.filesystem.open_files import OpenFiles


class FakeFile:
    size = 3

    def __init__(self, url: str) -> None:
        self.url = url
        self.open = True

    def close(self) -> None:
        assert self.open, "closed twice"
        self.open = False


class Opener:
    def __init__(self) -> None:
        self.made: list[FakeFile] = []
        self.fails = False

    def __call__(self, url: str) -> Any:
        time.sleep(0.005)
        if self.fails:
            raise FileNotFoundError(url)
        self.made.append(FakeFile(url))
        return self.made[-1]

    @property
    def open(self) -> list[str]:
        return [file.url for file in self.made if file.open]


@pytest.fixture
def opener() -> Iterator[Opener]:
    yield Opener()
    gc.collect()
    for timer in [one for one in threading.enumerate() if one.name == "dfengine-idle-files"]:
        timer.join(5.0)
        assert not timer.is_alive()


@pytest.fixture
def files(opener: Opener) -> Iterator[OpenFiles]:
    made = OpenFiles(opener)
    yield made
    made.forget()
    assert opener.open == []


def test_users_of_one_url_share_one_file(opener: Opener, files: OpenFiles) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: files.acquire(f"u{n % 2}"), range(64)))
    assert sorted(opener.open) == ["u0", "u1"]
    for held, file in found:
        assert file is held.file
        files.release(held)
    assert sorted(opener.open) == ["u0", "u1"], "idle files remain open"
    with files.use("u0"):
        assert len(opener.made) == 2


def test_an_idle_file_is_closed_after_its_time(opener: Opener, files: OpenFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "IDLE", 0.05)
    held, _ = files.acquire("used")
    with files.use("idle"):
        pass
    end = time.monotonic() + 10
    while opener.open != ["used"] and time.monotonic() < end:
        time.sleep(0.01)
    assert opener.open == ["used"]
    files.release(held)


def test_the_longest_idle_files_are_closed_first(opener: Opener, files: OpenFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "MAX_IDLE", 2)
    for name in "abcab":
        with files.use(name):
            pass
    assert opener.open == ["a", "b"]
    assert [file.url for file in opener.made] == ["a", "b", "c", "a", "b"]


def test_a_forgotten_file_is_closed_by_its_last_user(opener: Opener, files: OpenFiles) -> None:
    first, _ = files.acquire("u")
    with files.use("other"):
        pass
    files.forget("u")
    files.forget("unknown")
    assert opener.open == ["u", "other"]
    with files.use("u") as file:
        assert file is not first.file
    files.release(first)
    assert opener.open == ["other", "u"]
    files.forget()
    assert opener.open == []


def test_a_failed_opening_is_tried_again(opener: Opener, files: OpenFiles) -> None:
    opener.fails = True
    with pytest.raises(FileNotFoundError), files.use("u"):
        raise AssertionError("not reached")
    opener.fails = False
    with files.use("u") as file:
        assert file.size == 3


def test_files_are_closed_with_the_file_system(opener: Opener) -> None:
    files = OpenFiles(opener)
    with files.use("u"):
        pass
    assert opener.open == ["u"]
    files.forget("nothing")
    del files
    gc.collect()
    assert opener.open == []


def in_child(files: OpenFiles, pipe: Any) -> None:
    with files.use("u") as file, files.use("v"):
        pipe.send(file.size)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_forked_while_the_lock_is_held_can_open_files(opener: Opener, files: OpenFiles) -> None:
    with files.use("u"):
        pass
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    with files._lock:
        child = context.Process(target=in_child, args=(files, there))
        child.start()
    assert here.poll(30)
    assert here.recv() == 3
    child.join(10)
    assert child.exitcode == 0
