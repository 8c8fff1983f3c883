"""Threads for blocking calls whose results coroutines await.

They are daemons: a program's exit does not wait for a read whose pieces do not arrive, as it would with the threads of an executor.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

MAX_CALLS = 32
"""Maximum number of concurrent calls; further calls are queued."""

IDLE = 10.0
"""Seconds after which an idle thread ends."""

Task = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class Threads:
    """A pool for all loops of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._unfinished = self._threads = 0
        """Numbers of unfinished calls and of threads."""

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Run `call`; return a future for its result. If that is cancelled, a call that has begun continues; otherwise it is skipped."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._lock:
            self._unfinished += 1
            starts = self._threads < min(self._unfinished, MAX_CALLS)
            self._threads += starts
            # Under the lock, so that an ending thread cannot miss it.
            self._tasks.put((call, loop, future))
        if starts:
            try:
                threading.Thread(target=self._work, name="dfengine-fsspec", daemon=True).start()
            except RuntimeError as error:
                self._without_thread(error)
        return future

    def _without_thread(self, error: RuntimeError) -> None:
        """No further thread can be started: the calls wait for the others. If there is none, they fail with `error`."""
        with self._lock:
            self._threads -= 1
            while not self._threads and not self._tasks.empty():
                _, loop, future = self._tasks.get()
                self._unfinished -= 1
                loop.call_soon_threadsafe(_set_outcome, future, None, error)

    def _work(self) -> None:
        while True:
            try:
                call, loop, future = self._tasks.get(timeout=IDLE)
            except queue.Empty:
                with self._lock:
                    if not self._tasks.empty():
                        continue
                    self._threads -= 1
                    return
            result, error = None, None
            if not future.cancelled():
                try:
                    result = call()
                except BaseException as raised:
                    error = raised
            with self._lock:
                self._unfinished -= 1
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_set_outcome, future, result, error)
            del call, loop, future, result, error


def _set_outcome(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


shared = Threads()
"""The pool of this process."""


def _forked() -> None:
    shared.__init__()  # type: ignore[misc]  # reset in the child, in place, since others refer to it


os.register_at_fork(after_in_child=_forked)
