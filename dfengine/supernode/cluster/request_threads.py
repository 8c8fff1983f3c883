"""Runs requests to Redis, each in a daemon thread, AT_ONCE at the same time.

A caller stops waiting after its time limit, so a hanging Redis blocks none. Further requests wait for their turn within the same limit:
many tasks may begin at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, TypeVar

from dfengine.supernode.cluster.redis_scripts import ClusterError

if TYPE_CHECKING:
    Result = TypeVar("Result")

AT_ONCE = 8
"""Requests at the same time."""

TURN = 0.01
"""Seconds between two attempts of a request on the loop to get its turn."""


class RequestThreads:
    """The requests of one supernode. Any thread may use it."""

    def __init__(self) -> None:
        self._slots = threading.Semaphore(AT_ONCE)

    def run(self, call: Callable[[], Result], seconds: float) -> Result:
        """Return the answer to a request; blocks. Raises ClusterError, also when it takes longer than `seconds`."""
        until = time.monotonic() + seconds
        found: list[Result | BaseException] = []
        answered = threading.Event()

        def done(answer: Result | BaseException) -> None:
            found.append(answer)
            answered.set()

        if not self._slots.acquire(timeout=seconds):
            raise ClusterError("Redis does not answer earlier requests")
        self._start(call, done)
        if not answered.wait(max(0.0, until - time.monotonic())):
            raise ClusterError(f"Redis does not answer within {seconds:g} s")
        return _result(found[0])

    async def run_on_loop(self, call: Callable[[], Result], seconds: float) -> Result:
        """Return the answer to a request without blocking the loop. Raises ClusterError as `run` does."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        answered: asyncio.Future[Result | BaseException] = loop.create_future()

        def settle(answer: Result | BaseException) -> None:
            if not answered.done():
                answered.set_result(answer)

        def done(answer: Result | BaseException) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, answer)

        while not self._slots.acquire(blocking=False):
            if loop.time() >= until:
                raise ClusterError("Redis does not answer earlier requests")
            await asyncio.sleep(TURN)
        self._start(call, done)
        try:
            return _result(await asyncio.wait_for(answered, until - loop.time()))
        except TimeoutError:
            raise ClusterError(f"Redis does not answer within {seconds:g} s") from None

    def _start(self, call: Callable[[], Result], done: Callable[[Result | BaseException], object]) -> None:
        """Run a request that has its turn, and pass its answer or failure to `done`. Raises ClusterError if no thread can be started."""

        def run() -> None:
            found: Result | BaseException
            try:
                found = call()
            except BaseException as error:
                found = error.with_traceback(None)
            self._slots.release()
            done(found)

        try:
            threading.Thread(target=run, name="cluster-ask", daemon=True).start()
        except RuntimeError as error:  # no thread can be started
            self._slots.release()
            raise ClusterError(str(error)) from None


def _result(found: Result | BaseException) -> Result:
    """Return an answer. Raises ClusterError for a failure."""
    if isinstance(found, BaseException):
        # A copy: its traceback has the frame that awaited `found`, which together with `found` would be garbage in a cycle.
        raise copy(found) if isinstance(found, ClusterError) else ClusterError(repr(found)[:200])
    return found
