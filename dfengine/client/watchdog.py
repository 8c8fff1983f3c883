"""Ends the process on a signal or at the deadline when the main thread, which should end it, is blocked.

A name lookup or a read from an unresponsive disk cannot be interrupted: Python runs signal handlers only after such a call. But the
signal's number is written into a pipe at once (signal.set_wakeup_fd), and a thread reads that pipe.
"""

from __future__ import annotations

import math
import os
import select
import signal
import threading
import time

from dfengine.client import thread_start
from dfengine.errors import LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

GRACE = 0.7
"""Seconds for the main thread to end by itself: it notifies the supernode, and stops its threads."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Watchdog:
    """A context of the main thread around one download. seconds: until its deadline, 0 = none.

    end: called by a thread of the watchdog with the number of the first signal, or 0 for the deadline; it must end the process. After a
    second signal it is called at once. `__enter__` raises LocalError if the system has no thread for it.
    """

    def __init__(self, seconds: float, end: Callable[[int], None]) -> None:
        self._deadline = time.monotonic() + seconds + GRACE if seconds else math.inf
        self._end = end

    def __enter__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        try:
            thread_start.start(self._thread)
        except LocalError:
            signal.set_wakeup_fd(self._before)
            os.close(self._read)
            os.close(self._write)
            raise

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._before)
        os.close(self._write)
        self._thread.join()
        os.close(self._read)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        deadline, first = self._deadline, 0
        while (left := deadline - time.monotonic()) > 0:
            if not poll.poll(min(left, 86400.0) * 1000):
                continue
            numbers = os.read(self._read, 64)
            if not numbers:
                return  # the main thread has left the context
            for number in numbers:
                if number in SIGNALS and first:
                    deadline = 0.0
                elif number in SIGNALS:
                    first, deadline = number, min(deadline, time.monotonic() + GRACE)
        self._end(first)
