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
from dfengine.supernode.console.console_token import ConsoleToken
from dfengine.supernode.request_limits import Caller
from dfengine.supernode.router import Router
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.supernode.thread_calls import ThreadCalls

THREADS = 6
ALICE, BOB = "10.0.0.1", "10.0.0.2"
TOKEN = "0123456789abcdef"
Ask = Callable[..., asyncio.Future[Response]]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def supernode(home: Path) -> AsyncIterator[tuple[SupernodeState, Ask]]:
    """A supernode without ports on a loop with THREADS threads, and a function that sends it a GET from an address."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS))
    state = SupernodeState(SupernodeSettings(home_dir=str(home), advertise_ip="127.0.0.1", download_port=8001), str(home), loop)
    token = home / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    router = Router(state, console=ConsoleToken(str(token)))

    def ask(path: str, address: str, token: str = "") -> asyncio.Future[Response]:
        answer = router(Request("GET", path.encode(), {"authorization": f"Bearer {token}"} if token else {}, b"", address))
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


def path(step: str) -> str:
    return "/cache" if step == "copies" else f"/cache/{os.urandom(32).hex()}"


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
            addresses = [ALICE if n < most * 5 // 8 else BOB for n in range(most)]
            answers = [ask(path(step), address) for address in addresses]
            await until(lambda: reached == most - 64)
            if step == "tasks":  # the other requests still read the disk
                await until(lambda: state.copy_lookups._searches.waiting.count == 64)
            further = [ask(path(step), address) for address in (ALICE, BOB, "10.0.0.3")]
            await asyncio.wait_for(state.loop.run_in_executor(None, bool), 60)
            assert await statuses(further) == {429: 3}
            goes_on.set()
            assert await statuses(answers) == {200 if step == "copies" else 404: most}

    asyncio.run(scene())


@pytest.mark.parametrize("step", ["has", "tasks", "copies"])
def test_a_client_cannot_keep_others_from_copies(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()

    async def scene() -> None:
        async with supernode(tmp_path) as (state, ask):
            before = getattr(state.cache, step)

            def blocking(*arguments: str) -> object:
                goes_on.wait(60)
                return before(*arguments)

            monkeypatch.setattr(state.cache, step, blocking)
            many = [ask(path(step), ALICE) for _ in range(140)]
            refused = 140 - (51 if step == "copies" else 48 + (1 if step == "tasks" else 4))
            await until(lambda: sum(answer.done() for answer in many) == refused)
            others = [ask(path(step), BOB), ask(path(step), ALICE, TOKEN)]
            if step == "tasks":
                await until(lambda: state.copy_lookups._searches.waiting.count == 50)
            goes_on.set()
            found = 200 if step == "copies" else 404
            assert await statuses(others) == {found: 2}
            assert await statuses(many) == {429: refused, found: 140 - refused}

    asyncio.run(scene())


def test_a_call_of_a_client_that_has_left_keeps_its_turn_until_it_ends() -> None:
    goes_on, running = threading.Event(), threading.Semaphore(0)

    def call() -> int:
        running.release()
        goes_on.wait(60)
        return 5

    async def scene() -> None:
        calls = ThreadCalls(1, 1)
        first, second = (asyncio.ensure_future(calls.run(call, Caller())) for _ in range(2))
        await until(lambda: running.acquire(blocking=False))
        with pytest.raises(BadRequest, match="waiting"):
            await calls.run(call, Caller())
        first.cancel()
        await asyncio.sleep(0.05)
        assert not running.acquire(blocking=False)
        second.cancel()
        await asyncio.sleep(0)
        third = asyncio.ensure_future(calls.run(call, Caller()))
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
                await calls.run(lambda: 1 // 0, Caller())

    asyncio.run(scene())
