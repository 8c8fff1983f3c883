"""Ends a server's process at SIGTERM or SIGINT, within a second, whatever its threads wait for."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from functools import partial

GRACE = 0.8
"""Seconds for a server to close its connections and deregister; then the process ends. What it wrote is as after a kill: whole pieces."""


def stop_on_signals(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event, drain: Callable[[], float] = float) -> None:
    """The first signal sets `stopped`, a second one ends the process at once, with its exit code.

    drain: the seconds that the server takes to end what runs, before it closes its connections.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, partial(_stop, stopped, int(number), drain))


def _stop(stopped: asyncio.Event, number: int, drain: Callable[[], float]) -> None:
    if stopped.is_set():
        os._exit(128 + number)
    stopped.set()
    # A thread in the system's resolver, or on a disk that does not answer, would be waited for when the interpreter ends.
    timer = threading.Timer(drain() + GRACE, os._exit, (0,))
    timer.daemon = True
    timer.start()
