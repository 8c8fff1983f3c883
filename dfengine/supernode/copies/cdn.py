"""The supernode's own copies: one fetch from the origin per task, however many ask, and a bound on the threads that do it.

Of these threads no client has more than its share: else a few URLs of an origin that hardly answers would keep everybody's files away.
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
    """All fetches. `post(function, *arguments)` calls on the loop's thread.

    workers: origins read at once; more wait their turn. share: percent of them for one client, by the address that asked first.
    connections: to one origin for one file, at most. room: on the disk, None: as much as there is.
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
        self._held: dict[str, dict[Fetch, Callable[[], None]]] = {}
        """Client -> its fetches that wait for their turn, and how each begins."""
        self._holding: dict[Fetch, str] = {}
        """Each of these -> the client."""
        self.fetches: dict[str, Fetch] = {}
        self.past_requests = self.past_bytes = 0
        """Of fetches that were forgotten. What one does after that is not counted."""

    def start(self, task: str, wanted: Wanted, address: str = "") -> Fetch:
        """Begin to fetch a task that is not known, or failed before; address: who asks for it."""
        self.forget(task)
        fetch = self.fetches[task] = Fetch(task, wanted, self.cache, self._current, self._events, self._access,
                                            connections=self._connections, grants=self._grants, room=self._room)

        def begin() -> None:
            if wanted.md5:
                self.follow(fetch)
            self._submit(lambda: run(fetch), address)

        self._turn(fetch, begin, address)
        return fetch

    def _turn(self, fetch: Fetch, begin: Callable[[], None], address: str) -> None:
        if self._shares.take(address):
            begin()
        else:
            self._holding[fetch] = client = client_of(address)
            self._held.setdefault(client, {})[fetch] = begin

    def _let_go(self, fetch: Fetch) -> Callable[[], None] | None:
        """It waits no longer: how it begins; None: it did not wait."""
        client = self._holding.pop(fetch, None)
        if client is None:
            return None
        held = self._held[client]
        begin = held.pop(fetch)
        if not held:
            del self._held[client]
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
        held = self._held.get(client_of(address))
        if held:
            fetch = next(iter(held))
            begin = self._let_go(fetch)
            assert begin is not None
            self._turn(fetch, begin, address)

    def revalidate(self, fetch: Fetch, answered: Callable[[Fetch], None], address: str = "") -> None:
        """Ask the origin whether a complete copy still holds; what it says comes as events; `answered` once it may be used.

        `fetch.asking` is true until that is over.
        """

        def over(fetch: Fetch) -> None:
            fetch.asking = False
            answered(fetch)

        def ask() -> None:
            run(fetch)
            self._current(over, fetch)

        fetch.asking = True
        self._turn(fetch, lambda: self._submit(ask, address), address)

    def mend(self, fetch: Fetch) -> None:
        """A copy that was complete lacks pieces: fetch them again."""
        fetch.state = RUNNING
        self._turn(fetch, lambda: self._submit(lambda: mend(fetch), ""), "")

    def _current(self, event: Callable[..., object], fetch: Fetch, *arguments: object) -> None:
        """Tell on the loop's thread, unless the task was forgotten: it may have been begun anew, with pieces of its own."""

        def tell() -> None:
            if self.fetches.get(fetch.task) is fetch:
                event(fetch, *arguments)

        self._post(tell)

    def follow(self, fetch: Fetch) -> None:
        """1.x's md5s are needed from now on. All of a copy are computed once."""
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
        """The thread that computed the md5s of `file` has ended; another generation may have begun while it did."""
        fetch.following = False
        if file is not fetch.file and not fetch.over:
            self.follow(fetch)
        fetch.notify()

    def forget(self, task: str) -> None:
        """The task leaves memory, and its origin is read no further; its copy stays on disk."""
        fetch = self.fetches.pop(task, None)
        if fetch is not None:
            self._let_go(fetch)
            fetch.stop()
            self.past_requests += fetch.origin_requests
            self.past_bytes += fetch.origin_bytes

    def close(self) -> None:
        """Cut the fetches and wait for their threads."""
        self._held.clear()
        self._holding.clear()
        for fetch in self.fetches.values():
            fetch.stop()
        self._fetching.shutdown(cancel_futures=True)
        self._following.shutdown(cancel_futures=True)
