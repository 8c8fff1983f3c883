"""Eviction of copies for disk space. The disk is a number of bytes; a write fails when it is too small."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from dfengine.errors import DiskFull, StorageError
from dfengine.supernode.copies import eviction
from dfengine.supernode.copies.eviction import DiskSpace


class Disk:
    """Copies by task: (order, last use, bytes); a copy that is being fetched has order 2. It is a Cache and a Usage."""

    def __init__(self, size: int, **copies: tuple[int, float, int]) -> None:
        self.size = size
        self.tasks = dict(copies)
        self.gone: list[str] = []
        self.quota = False
        """Whether writes are refused although space is free."""

    def free_bytes(self) -> int:
        return self.size - sum(size for *_, size in self.tasks.values())

    def copies(self) -> Iterator[tuple[float, str, int]]:
        yield from [(used, task, size) for task, (_, used, size) in self.tasks.items()]

    def eviction_rank(self, task: str) -> int:
        return self.tasks[task][0]

    def running(self, task: str) -> bool:
        return self.tasks[task][0] == 2

    def drop(self, task: str) -> bool:
        self.quota = False
        self.gone.append(task)
        del self.tasks[task]
        return True

    def write(self, task: str, size: int) -> int:
        if self.quota or size > self.free_bytes():
            raise DiskFull("No space left")
        order, used, before = self.tasks.get(task, (2, 99.0, 0))
        self.tasks[task] = order, used, before + size
        return size


@pytest.fixture
def room_of() -> Iterator[Callable[..., DiskSpace]]:
    """Make a Room whose event loop runs in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield lambda disk, low=0, high=0: DiskSpace(disk, disk, loop, low, high)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_checking_for_room_evicts_nothing(room_of: Callable[..., DiskSpace]) -> None:
    disk = Disk(100, a=(0, 1.0, 30), b=(0, 2.0, 30), c=(1, 0.0, 20), used=(2, 0.0, 10))
    room = room_of(disk)
    for length in (-1, 0, 10, 90):
        room.check_fits(length)
    for length in (91, 8 << 40):
        with pytest.raises(StorageError, match=f"no room for {length} bytes: 10 are free, 80 more can be"):
            room.check_fits(length)
    assert disk.gone == []


def test_a_write_evicts_only_as_many_copies_as_needed(room_of: Callable[..., DiskSpace]) -> None:
    disk = Disk(100, served=(1, 0.0, 20), late=(0, 3.0, 30), early=(0, 1.0, 30), used=(2, 0.0, 10))
    room = room_of(disk)
    assert room.write("new", lambda: disk.write("new", 10), 10) == 10
    assert room.write("new", lambda: disk.write("new", 20), 20) == 20
    assert disk.gone == ["early"]
    assert room.write("new", lambda: disk.write("new", 50), 50) == 50
    assert disk.gone == ["early", "late", "served"]
    with pytest.raises(DiskFull):
        room.write("new", lambda: disk.write("new", 50), 50)


@pytest.mark.parametrize(("need", "rest"), [(60, 0), (5, 1000)])
def test_nothing_is_evicted_when_all_copies_would_not_be_enough(room_of: Callable[..., DiskSpace], need: int, rest: int) -> None:
    disk = Disk(50, a=(0, 1.0, 25), b=(0, 2.0, 25))
    room = room_of(disk)
    with pytest.raises(DiskFull):
        room.write("new", lambda: disk.write("new", need), need, lambda: rest)
    assert disk.gone == []


def test_a_write_that_exceeds_a_hidden_quota_evicts_a_copy(room_of: Callable[..., DiskSpace]) -> None:
    disk = Disk(1000, a=(0, 1.0, 30), b=(0, 2.0, 30))
    disk.quota = True
    assert room_of(disk).write("new", lambda: disk.write("new", 10), 10) == 10
    assert disk.gone == ["a"]


def test_copies_are_evicted_from_the_low_mark_up_to_the_high_mark(room_of: Callable[..., DiskSpace]) -> None:
    disk = Disk(100, a=(0, 1.0, 30), b=(0, 2.0, 30), c=(0, 3.0, 30))
    room = room_of(disk, 20, 60)
    room.keep_free()
    assert disk.gone == ["a", "b"]
    room.keep_free()
    assert disk.gone == ["a", "b"]


def test_when_the_disk_is_full_the_largest_running_fetch_fails(room_of: Callable[..., DiskSpace]) -> None:
    disk = Disk(100, big=(2, 0.0, 90))
    room = room_of(disk)
    refused = threading.Event()

    def try_small() -> int:
        try:
            return disk.write("small", 20)
        except DiskFull:
            refused.set()
            raise

    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(room.write, "small", try_small, 20)
        assert refused.wait(20)
        with pytest.raises(DiskFull):
            room.write("big", lambda: disk.write("big", 20), 20)
        del disk.tasks["big"]
        room.space_freed()
        assert waits.result(20) == 20


def test_a_disk_that_stays_full_is_reported_once(room_of: Callable[..., DiskSpace], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, object, object]] = []
    monkeypatch.setattr(eviction, "PAUSE", 0.0)
    disk = Disk(100, used=(2, 0.0, 90))
    room = room_of(disk, 20, 40)
    room._events = SimpleNamespace(  # type: ignore[assignment]
        info=lambda kind, **fields: None, warning=lambda kind, **fields: told.append((kind, fields["needed"], fields["free"])))
    for _ in range(3):
        room.keep_free()
    assert told == [("no_space", 30, 10)], "bytes to be freed, and bytes that are free"
    disk.tasks["used"] = 2, 0.0, 70
    room.keep_free()
    disk.tasks["used"] = 2, 0.0, 95
    for _ in range(3):
        room.keep_free()
    assert told == [("no_space", 30, 10), ("no_space", 35, 5)], "reported again after space had been free"


def test_a_write_that_waits_for_room_fails_when_the_process_ends() -> None:
    loop = asyncio.new_event_loop()  # no thread runs it
    disk = Disk(10, a=(0, 1.0, 10))
    room = DiskSpace(disk, disk, loop, 0, 0)  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(room.write, "new", lambda: disk.write("new", 5), 5)
        room.close()
        with pytest.raises(DiskFull):
            waits.result(20)
    loop.close()
