"""One fetch from the origin per task, however many clients ask for it, by a bounded number of threads.

Each client gets at most a share of the threads. Otherwise a few URLs of an origin that hardly answers would block all other files.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from dfengine.net.access import Access
from dfengine.net.quota import SHARE, Quota
from dfengine.origin.connections import Grants
from dfengine.supernode.copies.cache import Cache
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.eviction import Room
from dfengine.supernode.copies.fetch import RUNNING, Events, Fetch
from dfengine.supernode.copies.fetch_thread import mend, run
from dfengine.supernode.copies.legacy_md5 import follow
from dfengine.supernode.copies.wanted import Wanted
from dfengine.task import client_of


class Cdn:
    """All fetches. Used on the loop's thread; `post(function, *arguments)` calls a function there from any thread.

    workers: fetches that read an origin at once; further ones are queued. share: percent of them for one client, by the address that asked
    first. connections: most to one origin for one file. room: on the disk; None: unlimited.
    """

    def __init__(
        self, cache: Cache, post: Callable[..., object], events: Events, workers: int = 64, access: Access | None = None,
        share: int = SHARE, connections: int = 4, room: Room | None = None,
    ) -> None:
        self.cache = cache
        self._post = post
        self._events = events
        self._access = access
        self._connections = connections
        self._room = room
        self._grants = Grants()
        self._fetching = ThreadPoolExecutor(workers, "fetch")
        self._following = ThreadPoolExecutor(workers, "follow")
        self._shares = Quota(workers, share)
        self._queued: dict[str, dict[Fetch, Callable[[], None]]] = {}
        """Client -> its fetches that wait for a thread, each with the function that begins it."""
        self._client_of: dict[Fetch, str] = {}
        """Queued fetch -> its client."""
        self.fetches: dict[str, Fetch] = {}
        self.past_requests = self.past_bytes = 0
        """Sums of the fetches that were forgotten, up to then."""

    def start(self, task: str, wanted: Wanted, address: str = "") -> Fetch:
        """Fetch a task that is not known, or has failed; address: of the client that asks for it."""
        self.forget(task)
        fetch = self.fetches[task] = Fetch(task, wanted, self.cache, self._current, self._events, self._access,
                                            connections=self._connections, grants=self._grants, room=self._room)

        def begin() -> None:
            if wanted.md5:
                self.follow(fetch)
            self._submit(lambda: run(fetch), address)

        self._begin(fetch, begin, address)
        return fetch

    def _begin(self, fetch: Fetch, begin: Callable[[], None], address: str) -> None:
        if self._shares.take(address):
            begin()
        else:
            self._client_of[fetch] = client = client_of(address)
            self._queued.setdefault(client, {})[fetch] = begin

    def _dequeue(self, fetch: Fetch) -> Callable[[], None] | None:
        """Take it out of the queue. Returns the function that begins it; None: it was not queued."""
        client = self._client_of.pop(fetch, None)
        if client is None:
            return None
        queued = self._queued[client]
        begin = queued.pop(fetch)
        if not queued:
            del self._queued[client]
        return begin

    def _submit(self, run: Callable[[], None], address: str) -> None:
        def work() -> None:
            try:
                run()
            finally:
                self._post(self._ended, address)

        self._fetching.submit(work)

    def _ended(self, address: str) -> None:
        self._shares.give_back(address)
        queued = self._queued.get(client_of(address))
        if queued:
            fetch = next(iter(queued))
            begin = self._dequeue(fetch)
            assert begin is not None
            self._begin(fetch, begin, address)

    def revalidate(self, fetch: Fetch, answered: Callable[[Fetch], None], address: str = "") -> None:
        """Ask the origin whether a complete copy is still current. The result is reported by events; then `answered` is called.

        `fetch.asking` is true meanwhile.
        """

        def over(fetch: Fetch) -> None:
            fetch.asking = False
            answered(fetch)

        def ask() -> None:
            run(fetch)
            self._current(over, fetch)

        fetch.asking = True
        self._begin(fetch, lambda: self._submit(ask, address), address)

    def mend(self, fetch: Fetch) -> None:
        """Fetch again what a complete copy has lost."""
        fetch.state = RUNNING
        self._begin(fetch, lambda: self._submit(lambda: mend(fetch), ""), "")

    def _current(self, event: Callable[..., object], fetch: Fetch, *arguments: object) -> None:
        """Report an event on the loop's thread, unless the task was forgotten: another fetch of it may have other pieces."""

        def tell() -> None:
            if self.fetches.get(fetch.task) is fetch:
                event(fetch, *arguments)

        self._post(tell)

    def follow(self, fetch: Fetch) -> None:
        """Compute the md5s that 1.x needs from now on; once for each copy."""
        if not fetch.following and not fetch.md5:
            fetch.following = True
            self._following.submit(self._follow, fetch)

    def _follow(self, fetch: Fetch) -> None:
        file = fetch.file
        try:
            file = follow(fetch)
        finally:
            self._post(self._followed, fetch, file)

    def _followed(self, fetch: Fetch, file: Copy | None) -> None:
        """The thread that computed the md5s of `file` has ended. If another generation has begun meanwhile, its md5s are next."""
        fetch.following = False
        if file is not fetch.file and not fetch.over:
            self.follow(fetch)
        fetch.notify()

    def forget(self, task: str) -> None:
        """Remove the task from memory and stop reading its origin; its copy stays on disk."""
        fetch = self.fetches.pop(task, None)
        if fetch is not None:
            self._dequeue(fetch)
            fetch.stop()
            self.past_requests += fetch.origin_requests
            self.past_bytes += fetch.origin_bytes

    def close(self) -> None:
        """Stop all fetches and wait for their threads."""
        self._queued.clear()
        self._client_of.clear()
        for fetch in self.fetches.values():
            fetch.stop()
        self._fetching.shutdown(cancel_futures=True)
        self._following.shutdown(cancel_futures=True)
