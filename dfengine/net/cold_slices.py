"""Reads slices from the disk before they are sent: in a few threads, in turn between clients. Used on the loop's thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from dfengine.net.client_quota import SHARE, Quota
from dfengine.task import client_of

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

MAX_LOADS = min(32, (os.cpu_count() or 1) + 4)
"""Threads that read slices from the disk, of which one client has its share; further slices wait."""


class Sender(Protocol):
    """A connection whose next slice is not in memory."""

    client: str

    def begin_load(self) -> Callable[[], None]:
        """Begin to wait for the disk; return the function that reads the slice, for a thread."""

    def loaded(self) -> None:
        """Continue after the read."""

    def close(self) -> None:
        """Close the connection."""


class ColdSlices:
    """The reads of one server. share: percent of MAX_LOADS for one client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, share: int = SHARE) -> None:
        self._loop = loop
        self._running = Quota(MAX_LOADS, share)
        self._count = 0
        # They do nothing else: slices do not wait behind other work of the process.
        self._threads: ThreadPoolExecutor | None = None
        self._waiting: dict[str, dict[Sender, None]] = {}
        """Client -> its connections in turn; the clients are in turn as well."""

    def __len__(self) -> int:
        """Number of slices that wait for a thread."""
        return sum(map(len, self._waiting.values()))

    def join(self, connection: Sender) -> None:
        """Read the connection's slice in its client's turn."""
        self._waiting.setdefault(client_of(connection.client), {})[connection] = None
        self._begin()

    def leave(self, connection: Sender) -> None:
        """Forget a connection that waits."""
        client = client_of(connection.client)
        waiting = self._waiting.get(client, {})
        waiting.pop(connection, None)
        if not waiting:
            self._waiting.pop(client, None)

    def _begin(self) -> None:
        while self._count < MAX_LOADS:
            connection = self._next()
            if connection is None:
                return
            self._count += 1
            self._running.add(connection.client, 1)
            load = connection.begin_load()
            try:
                reading = self._loop.run_in_executor(self._pool(), load)
            except RuntimeError:  # no thread can be started, and a read on the loop's thread would delay all clients
                self._release(connection)
                connection.close()
            else:
                reading.add_done_callback(partial(self._ended, connection))

    def _next(self) -> Sender | None:
        """Take the next connection out of the queue; None: none waits whose client is within its share."""
        for client, waiting in self._waiting.items():
            connection = next(iter(waiting))
            if not self._running.full(connection.client):
                del self._waiting[client], waiting[connection]
                if waiting:
                    self._waiting[client] = waiting
                return connection
        return None

    def _ended(self, connection: Sender, _: object) -> None:
        self._release(connection)
        connection.loaded()
        self._begin()

    def _release(self, connection: Sender) -> None:
        self._count -= 1
        self._running.release(connection.client)

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            from concurrent.futures import ThreadPoolExecutor

            self._threads = ThreadPoolExecutor(MAX_LOADS, "cold-slice")
        return self._threads

    def close(self) -> None:
        """Wait for the slices that are being read: a result would be for a loop that is closed. All connections were closed before."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
