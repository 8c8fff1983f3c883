"""A thread pool with a share per client: otherwise a few fetches from a slow origin would block all other files."""

from __future__ import annotations

from collections.abc import Callable

from dfengine.net.client_quota import Quota
from dfengine.net.thread_pool import ThreadPool
from dfengine.supernode.copies.fetch import Fetch
from dfengine.task import client_of


class FairPool:
    """Thread pool. Used on the loop's thread; `post(function, *arguments)` calls a function on it from any thread.

    workers: threads. share: percent of them for one client. A client's further work is queued, at most one item for each fetch.
    """

    def __init__(self, name: str, workers: int, share: int, post: Callable[..., object]) -> None:
        self._post = post
        self._threads = ThreadPool(workers, name)
        self.shares = Quota(workers, share)
        self.queued: dict[str, dict[Fetch, tuple[Callable[[], None], Callable[[], None] | None]]] = {}
        """Client -> its fetches that wait for a thread, each with its work and the function to call when that begins."""
        self.client_of: dict[Fetch, str] = {}
        """Queued fetch -> its client."""

    def submit(self, fetch: Fetch, work: Callable[[], None], address: str, on_start: Callable[[], None] | None = None) -> None:
        """Run `work` in a thread for the client at `address`; `on_start` is called before, when the client's share allows a thread."""
        if not self.shares.acquire(address):
            self.client_of[fetch] = client = client_of(address)
            self.queued.setdefault(client, {})[fetch] = work, on_start
            return
        if on_start is not None:
            on_start()

        def run() -> None:
            try:
                work()
            finally:
                self._post(self._ended, address)

        self._threads.submit(run)

    def _ended(self, address: str) -> None:
        self.shares.release(address)
        queued = self.queued.get(client_of(address))
        if queued:
            fetch, (work, begins) = next(iter(queued.items()))
            self.dequeue(fetch)
            self.submit(fetch, work, address, begins)

    def dequeue(self, fetch: Fetch) -> None:
        """Remove the fetch's queued work, if any."""
        client = self.client_of.pop(fetch, None)
        if client is not None:
            queued = self.queued[client]
            del queued[fetch]
            if not queued:
                del self.queued[client]

    def close(self) -> None:
        """Remove all queued work, and wait for the threads."""
        self.queued.clear()
        self.client_of.clear()
        self._threads.shutdown(cancel_futures=True)
