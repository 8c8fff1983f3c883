"""Calls of requests that block or compute for long, made in the loop's default executor, which has few threads.

Requests wait for their turn on the loop, not in the executor's queue, so that other work for the executor waits behind few of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from dfengine.net.client_quota import SHARE
from dfengine.supernode.request_limits import Caller, RequestLimits

_Result = TypeVar("_Result")


async def in_thread(call: Callable[[], _Result]) -> _Result:
    """Return `call()`, made in a thread. If the caller is cancelled, this ends nevertheless only after the call, which nothing can stop."""
    running = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        raise


TOO_MANY_WAITING = "too many requests for copies are waiting: ask again later"
"""Refusal of a request that would have to wait behind too many others."""


class ThreadCalls:
    """Calls of one kind. max_running: at the same time. max_waiting: requests that wait for a turn, see RequestLimits; further ones are
    refused. share: percent of these for one client."""

    def __init__(self, max_running: int, max_waiting: int, share: int = SHARE) -> None:
        self._turns = asyncio.Semaphore(max_running)
        self.waiting = RequestLimits(max_waiting, TOO_MANY_WAITING, share)

    async def run(self, call: Callable[[], _Result], caller: Caller) -> _Result:
        """Return `call()`. Raises BadRequest if too many requests wait already."""
        if self._turns.locked():
            with self.waiting.place(caller):
                await self._turns.acquire()
        else:
            await self._turns.acquire()  # at once
        try:
            return await in_thread(call)
        finally:
            self._turns.release()
