"""The supernode's own copies: one fetch from the origin per task, however many ask, and a bound on the threads that do it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from dfengine.net.access import Access
from dfengine.supernode.cache import Cache
from dfengine.supernode.fetch import Events, Fetch, Wanted


class Cdn:
    """All fetches. `post(function, *arguments)` calls on the loop's thread. workers: origins read at once; more wait their turn."""

    def __init__(self, cache: Cache, post: Callable[..., object], events: Events, workers: int = 64, access: Access | None = None) -> None:
        self.cache = cache
        self._post = post
        self._events = events
        self._access = access
        self._fetching = ThreadPoolExecutor(workers, "fetch")
        self._following = ThreadPoolExecutor(workers, "follow")
        self.fetches: dict[str, Fetch] = {}

    def start(self, task: str, wanted: Wanted) -> Fetch:
        """Begin to fetch a task that is not known, or failed before."""
        fetch = self.fetches[task] = Fetch(task, wanted, self.cache, self._post, self._events, self._access)
        if wanted.md5:
            self.follow(fetch)
        self._fetching.submit(fetch.run)
        return fetch

    def revalidate(self, fetch: Fetch, answered: Callable[[Fetch], None]) -> None:
        """Ask the origin whether a complete copy still holds; what it says comes as events, and last of all `answered`."""

        def ask() -> None:
            fetch.run()
            self._post(answered, fetch)

        self._fetching.submit(ask)

    def follow(self, fetch: Fetch) -> None:
        """1.x's md5s are needed from now on."""
        if not fetch.following:
            fetch.following = True
            self._following.submit(fetch.follow)

    def forget(self, task: str) -> None:
        """The task leaves memory; its copy stays on disk."""
        self.fetches.pop(task, None)

    def close(self) -> None:
        """Cut the fetches and wait for their threads."""
        for fetch in self.fetches.values():
            fetch.stop()
        self._fetching.shutdown(cancel_futures=True)
        self._following.shutdown(cancel_futures=True)
