"""Slices that are not in memory: read in turn between clients, none of which gets all threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from dfengine.net import cold_slices
from dfengine.net.cold_slices import ColdSlices

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"


class Disk:
    """Reads that end when `ends` is released. begun: the clients in the order in which their reads began."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ends = threading.Semaphore(0)
        self.closed: list[str] = []
        self.loaded = 0


class Connection:
    """A connection with one slice."""

    def __init__(self, disk: Disk, client: str) -> None:
        self.disk, self.client = disk, client

    def begin_load(self) -> Callable[[], None]:
        self.disk.begun.append(self.client)

        def load() -> None:
            self.disk.ends.acquire(timeout=60)

        return load

    def loaded(self) -> None:
        self.disk.loaded += 1

    def close(self) -> None:
        self.disk.closed.append(self.client)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def test_clients_are_in_turn_and_leave_threads_to_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold_slices, "MAX_LOADS", 4)

    async def scene() -> None:
        disk, slices = Disk(), ColdSlices(asyncio.get_running_loop())
        left = Connection(disk, A)
        for connection in [*(Connection(disk, A) for _ in range(5)), left, *(Connection(disk, A) for _ in range(3))]:
            slices.join(connection)
        assert disk.begun == [A] * 3, "one client has at most its share of the threads"
        assert len(slices) == 6
        for client in (B, B, C):
            slices.join(Connection(disk, client))
        assert disk.begun == [A] * 3 + [B]
        slices.leave(left)
        slices.leave(left)
        for number in range(1, 12):
            disk.ends.release()
            await until(lambda: disk.loaded == number)  # noqa: B023
        assert set(disk.begun[4:7]) == {A, B, C}, "the clients take turns"
        assert disk.begun[7:] == [A] * 4
        assert len(slices) == 0
        slices.close()

    asyncio.run(scene())


def test_a_connection_is_closed_when_no_thread_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold_slices, "MAX_LOADS", 1)

    async def scene() -> None:
        disk, slices = Disk(), ColdSlices(asyncio.get_running_loop())
        with monkeypatch.context() as patch:

            def refuse(*_: object) -> None:
                raise RuntimeError("can't start new thread")

            patch.setattr(ThreadPoolExecutor, "submit", refuse)
            for client in (A, B):
                slices.join(Connection(disk, client))
        assert disk.closed == [A, B]
        slices.join(Connection(disk, C))
        disk.ends.release()
        await until(lambda: disk.loaded == 1)
        slices.close()

    asyncio.run(scene())
