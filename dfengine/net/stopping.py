"""Ends a server's process at SIGTERM or SIGINT, within a second after draining, whatever its threads wait for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from dfengine.net.thread_pool import ThreadPool

DEFAULT_THREADS = min(32, (os.cpu_count() or 1) + 4)
"""Threads of the loop's default executor; asyncio's own number."""

GRACE = 0.8
"""Seconds for a server to close its connections and deregister; then the process ends. Its files are as after a kill: whole pieces."""


def serve(main: Coroutine[Any, Any, None]) -> None:
    """Run a server's main coroutine on uvloop. While no thread can be started, calls for the loop's default executor wait."""
    import uvloop

    async def started() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPool(DEFAULT_THREADS, "default"))
        await main

    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        runner.run(started())
    except BaseException:
        with contextlib.suppress(RuntimeError):
            runner.close()
        raise
    try:
        runner.close()
    except RuntimeError as error:
        if "thread" not in str(error):
            raise
        os._exit(0)  # the loop would wait for its executor in a thread, which cannot be started; all files are closed


def stop_on_signals(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event, drain: Callable[[], float] = float) -> None:
    """Set `stopped` at the first signal; end the process at once at a second one, with its exit code.

    drain: returns the seconds that the server waits for running work before it closes its connections.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, partial(_stop, stopped, int(number), drain))


def _stop(stopped: asyncio.Event, number: int, drain: Callable[[], float]) -> None:
    if stopped.is_set():
        os._exit(128 + number)
    stopped.set()
    # At its end the interpreter would wait for a thread in the system's resolver, or on a disk that does not respond.
    timer = threading.Timer(drain() + GRACE, os._exit, (0,))
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # too many threads
        timer.start()
