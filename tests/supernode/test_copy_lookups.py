"""Requests for copies on the disk occupy few threads of the executor that they share with other work."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dfengine.net.http import BadRequest, Request, Response
from dfengine.settings import SupernodeSettings
from dfengine.supernode.router import Router
from dfengine.supernode.state import SupernodeState
from dfengine.supernode.thread_calls import ThreadCalls

THREADS = 6


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def supernode(home: Path) -> AsyncIterator[tuple[SupernodeState, Callable[[str], asyncio.Future[Response]]]]:
    """A supernode without ports on a loop with THREADS threads, and a function that sends it a GET."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS))
    state = SupernodeState(SupernodeSettings(home_dir=str(home), advertise_ip="127.0.0.1", download_port=8001), str(home), loop)
    router = Router(state)

    def ask(path: str) -> asyncio.Future[Response]:
        answer = router(Request("GET", path.encode(), {}, b"", "127.0.0.1"))
        assert not isinstance(answer, Response)
        return answer

    try:
        yield state, ask
    finally:
        router.close()
        state.close()


async def statuses(answers: list[asyncio.Future[Response]]) -> Counter[int]:
    found = await asyncio.gather(*answers, return_exceptions=True)
    return Counter(each.status if isinstance(each, (Response, BadRequest)) else -1 for each in found)


@pytest.mark.parametrize("step", ["has", "tasks", "copies"])
def test_requests_for_copies_leave_threads_to_other_work(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """step: of the lookup or of the list that blocks its thread."""
    goes_on = threading.Event()

    async def scene() -> None:
        async with supernode(tmp_path) as (state, ask):
            reached = 0
            before = getattr(state.cache, step)

            def blocking(*arguments: str) -> object:
                nonlocal reached
                reached += 1
                goes_on.wait(60)
                return before(*arguments)

            monkeypatch.setattr(state.cache, step, blocking)
            most = 64 + (1 if step == "tasks" else 4)
            answers = [ask("/cache" if step == "copies" else f"/cache/{os.urandom(32).hex()}") for _ in range(most)]
            await until(lambda: reached == most - 64)
            if step == "tasks":  # the other requests still read the disk
                await until(lambda: state.copy_lookups._searches._waiting == 64)
            further = [ask("/cache" if step == "copies" else f"/cache/{os.urandom(32).hex()}") for _ in range(3)]
            await asyncio.wait_for(state.loop.run_in_executor(None, bool), 60)
            assert await statuses(further) == {429: 3}
            goes_on.set()
            assert await statuses(answers) == {200 if step == "copies" else 404: most}

    asyncio.run(scene())


def test_a_call_of_a_client_that_has_left_keeps_its_turn_until_it_ends() -> None:
    goes_on, running = threading.Event(), threading.Semaphore(0)

    def call() -> int:
        running.release()
        goes_on.wait(60)
        return 5

    async def scene() -> None:
        calls = ThreadCalls(1, 1)
        first, second = (asyncio.ensure_future(calls.run(call)) for _ in range(2))
        await until(lambda: running.acquire(blocking=False))
        with pytest.raises(BadRequest, match="waiting"):
            await calls.run(call)
        first.cancel()
        await asyncio.sleep(0.05)
        assert not running.acquire(blocking=False)
        second.cancel()
        await asyncio.sleep(0)
        third = asyncio.ensure_future(calls.run(call))
        goes_on.set()
        assert await third == 5
        assert first.cancelled()
        assert second.cancelled()

    asyncio.run(scene())


def test_the_error_of_a_call_ends_its_turn() -> None:
    async def scene() -> None:
        calls = ThreadCalls(1, 0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await calls.run(lambda: 1 // 0)

    asyncio.run(scene())
