"""Threads for blocking calls: results, errors, their number, their end, and a fork."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from functools import partial
from typing import Any

import pytest

from dfengine.filesystem import threads
from dfengine.filesystem.threads import Threads


def names() -> int:
    return sum(one.name == "dfengine-fsspec" for one in threading.enumerate())


def test_results_and_errors_are_returned_and_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "MAX_CALLS", 4)
    monkeypatch.setattr(threads, "IDLE", 0.05)
    before, made = names(), Threads()
    at_once = most = 0
    turn = threading.Lock()

    def call(n: int) -> int:
        nonlocal at_once, most
        with turn:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.002)
        with turn:
            at_once -= 1
        if n % 3 == 0:
            raise KeyError(n)
        return n

    async def main() -> list[Any]:
        return await asyncio.gather(*[made.run(partial(call, n)) for n in range(50)], return_exceptions=True)

    for _ in range(2):
        found = asyncio.run(main())
        assert [each for each in found if isinstance(each, int)] == [n for n in range(50) if n % 3]
        assert [each.args[0] for each in found if isinstance(each, KeyError)] == [n for n in range(50) if n % 3 == 0]
    assert most == 4
    end = time.monotonic() + 10
    while names() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert names() == before


def test_cancelled_calls_and_closed_loops_do_not_block_later_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "MAX_CALLS", 1)
    monkeypatch.setattr(threads, "IDLE", 0.05)
    made, go, begun = Threads(), threading.Event(), []

    async def main() -> None:
        first, second = made.run(go.wait), made.run(lambda: begun.append(1))
        second.cancel()
        first.cancel()
        third = made.run(lambda: 3)
        go.set()
        assert await third == 3

    asyncio.run(main())
    assert begun == []

    async def closing() -> None:
        made.run(lambda: time.sleep(0.1))

    asyncio.run(closing())  # the loop is closed before the call ends
    time.sleep(0.2)
    asyncio.run(main_of(made))


async def main_of(made: Threads) -> None:
    assert await made.run(lambda: 7) == 7


def in_child(pipe: Any) -> None:
    async def main() -> int:
        return await threads.shared.run(lambda: 5)

    pipe.send(asyncio.run(main()))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own() -> None:
    asyncio.run(main_of(threads.shared))
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    with threads.shared._lock:
        child = context.Process(target=in_child, args=(there,))
        child.start()
    assert here.poll(30)
    assert here.recv() == 5
    child.join(10)
    child.close()
