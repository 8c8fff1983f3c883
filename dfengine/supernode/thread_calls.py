"""Calls of requests that block or compute for long, made in the loop's default executor, which has few threads.

Requests wait for their turn on the loop, not in the executor's queue, so that other work for the executor waits behind few of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from dfengine.net.http import BadRequest

_Result = TypeVar("_Result")


async def in_thread(call: Callable[[], _Result]) -> _Result:
    """Return `call()`, made in a thread. If the caller is cancelled, this ends nevertheless only after the call, which nothing can stop."""
    running = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        raise


def too_many_waiting() -> BadRequest:
    """Return the refusal of a request that would have to wait behind too many others."""
    return BadRequest(429, "too many requests for copies are waiting: ask again later")


class ThreadCalls:
    """Calls of one kind. max_running: at the same time. max_waiting: requests that wait for a turn; further ones are refused."""

    def __init__(self, max_running: int, max_waiting: int) -> None:
        self._turns = asyncio.Semaphore(max_running)
        self._max_waiting = max_waiting
        self._waiting = 0

    async def run(self, call: Callable[[], _Result]) -> _Result:
        """Return `call()`. Raises BadRequest if max_waiting requests wait already."""
        if self._turns.locked() and self._waiting >= self._max_waiting:
            raise too_many_waiting()
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            return await in_thread(call)
        finally:
            self._turns.release()
