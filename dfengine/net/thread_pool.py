"""The threads of a server's process, where the system may allow no further one for a while (`ulimit -u`, a cgroup's pids.max)."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

RETRY = 0.5
"""Seconds between two attempts to start a thread for the calls that wait."""


class ThreadPool(ThreadPoolExecutor):
    """`submit` raises RuntimeError only after `shutdown`. While no thread can be started, calls wait, and one is started for them later.

    `ThreadPoolExecutor` raises then, although it has queued the call, and starts a thread for that call only at the next `submit`, which
    may never come. The caller bounds the number of waiting calls. Must be created on the thread of a running event loop, which starts the
    threads later; without one it is a plain ThreadPoolExecutor.
    """

    def __init__(self, workers: int, name: str) -> None:
        super().__init__(workers, name)
        self._loop: asyncio.AbstractEventLoop | None
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        self._retries = False

    def _adjust_thread_count(self) -> None:
        """Called by `submit`, with the executor's locks held, once the call is queued."""
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if self._loop is None:
                raise
            if not self._retries:
                self._loop.call_soon_threadsafe(self._loop.call_later, RETRY, self._retry)
                self._retries = True

    def _retry(self) -> None:
        self._retries = False
        with self._shutdown_lock:
            if not (self._shutdown or self._work_queue.empty()):
                self._adjust_thread_count()
