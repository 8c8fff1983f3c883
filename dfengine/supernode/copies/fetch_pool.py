"""One fetch from the origin per task, however many clients request it, by a bounded number of threads.

Each client gets at most a share of the threads. Otherwise a few URLs of an origin that hardly responds would block all other files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dfengine.copy_states import RUNNING, SUCCESS
from dfengine.net.client_quota import SHARE
from dfengine.net.origin_access import OriginAccess
from dfengine.origin.connection_limits import ConnectionLimits
from dfengine.origin.local_root import Roots
from dfengine.origin.origin_settings import OriginPermissions
from dfengine.origin.round_robin import RoundRobin
from dfengine.supernode.copies.announced_content import AnnouncedContent, Claim
from dfengine.supernode.copies.cache import Cache
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.eviction import DiskSpace
from dfengine.supernode.copies.fair_pool import FairPool
from dfengine.supernode.copies.fetch import Events, Fetch
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.copies.fetch_thread import refetch_lost, run
from dfengine.supernode.copies.legacy_md5 import compute_md5s
from dfengine.supernode.copies.listing_budget import ListingBudget
from dfengine.supernode.copies.manifests import Manifests
from dfengine.supernode.copies.origin_pauses import OriginPauses

if TYPE_CHECKING:
    from dfengine.supernode.copies.copy_store import CopyStore
    from dfengine.supernode.copies.fetch import Cluster


class FetchPool:
    """All fetches. Used on the loop's thread; `post(function, *arguments)` calls a function on it from any thread.

    workers: fetches that read an origin at once; further ones are queued. share: percent of them for one client, by the address of the
    first request. connections: maximum to one origin for one file. disk: space for copies.
    own: this supernode's own resources for any client; see `origin_settings.OriginPermissions`. store: object store of finished copies.
    """

    def __init__(
        self, cache: Cache, post: Callable[..., object], events: Events, disk: DiskSpace, workers: int = 64,
        access: OriginAccess | None = None, share: int = SHARE, connections: int = 4, own: OriginPermissions | None = None,
        store: CopyStore | None = None,
    ) -> None:
        self.cache = cache
        self._post = post
        self._events = events
        self._access = access
        self._connections = connections
        self._disk = disk
        self.own = own if own is not None else OriginPermissions(Roots(()))
        self._store = store
        self.cluster: Cluster | None = None
        """Determines which supernode leads a task; None: this one leads all."""
        self._connection_limits = ConnectionLimits()
        self._turns = RoundRobin(connections)
        self.pauses = OriginPauses()
        self._manifests = Manifests()
        self._budget = ListingBudget(share)
        self._fetch_threads = FairPool("fetch", workers, share, post)
        self._md5_threads = FairPool("follow", workers, share, post)
        self.fetches: dict[str, Fetch] = {}
        self.past_requests = self.past_bytes = 0
        """Sums over forgotten fetches."""

    def start(self, task: str, wanted: FetchRequest, address: str = "") -> Fetch:
        """Fetch a task that is unknown or has failed. address: of the requesting client."""
        self.forget(task)
        fetch = self.fetches[task] = Fetch(task, wanted, self.cache, self._post_if_current, self._events, self._disk, self._access,
                                            connections=self._connections, connection_limits=self._connection_limits, turns=self._turns,
                                            own=self.own,
                                            manifests=self._manifests, budget=self._budget, address=address, store=self._store,
                                            cluster=self.cluster, pauses=self.pauses)
        self._fetch_threads.submit(fetch, lambda: run(fetch), address, (lambda: self.compute_md5s(fetch, address)) if wanted.md5 else None)
        return fetch

    def share(self, task: str, wanted: FetchRequest, claim: Claim) -> Fetch:
        """Register a task whose content hosts share: nothing is fetched, and the claim has the digests of its pieces."""
        self.forget(task)
        fetch = self.fetches[task] = Fetch(task, wanted, self.cache, self._post_if_current, self._events, self._disk)
        fetch.claim, fetch.file, fetch.state = claim, AnnouncedContent(claim.geometry, claim.digests), SUCCESS
        fetch.description.generation, fetch.description.digest = claim.generation, self.cache.digest
        return fetch

    def submit(self, fetch: Fetch, work: Callable[[Fetch], None], over: Callable[[Fetch], None], address: str = "") -> None:
        """Run `work` on the copy of shared content in a thread, for the client at `address`; then call `over` as an event."""

        def run() -> None:
            try:
                work(fetch)
            finally:
                self._post_if_current(over, fetch)

        fetch.state = RUNNING
        self._fetch_threads.submit(fetch, run, address)

    def revalidate(self, fetch: Fetch, answered: Callable[[Fetch], None], address: str = "") -> None:
        """Check with the origin whether a complete copy is still current. The result is reported by events; then `answered` is called.

        Meanwhile `fetch.revalidating` is true.
        """

        def over(fetch: Fetch) -> None:
            fetch.revalidating = False
            answered(fetch)

        def ask() -> None:
            run(fetch)
            self._post_if_current(over, fetch)

        fetch.revalidating = True
        self._fetch_threads.submit(fetch, ask, address)

    def refetch_lost(self, fetch: Fetch) -> None:
        """Fetch lost pieces of a complete copy again."""
        fetch.state = RUNNING
        self._fetch_threads.submit(fetch, lambda: refetch_lost(fetch), "")

    def _post_if_current(self, event: Callable[..., object], fetch: Fetch, *arguments: object) -> None:
        """Report an event on the loop's thread, unless the task was forgotten: another fetch of it may have other pieces."""

        def tell() -> None:
            if self.fetches.get(fetch.task) is fetch:
                event(fetch, *arguments)

        self._post(tell)

    def compute_md5s(self, fetch: Fetch, address: str = "") -> None:
        """Compute the md5s that Dragonfly 1.x needs from now on, once per copy. address: of the client that needs them first."""
        if not fetch.computing_md5 and not fetch.md5:
            fetch.computing_md5 = True
            self._md5_threads.submit(fetch, lambda: self._compute_md5s(fetch, address), address)

    def _compute_md5s(self, fetch: Fetch, address: str) -> None:
        file = fetch.file
        try:
            file = compute_md5s(fetch)
        finally:
            self._post(self._md5s_computed, fetch, file, address)

    def _md5s_computed(self, fetch: Fetch, file: Copy | None, address: str) -> None:
        """Handle the end of the thread that computed the md5s of `file`. If a new generation has begun meanwhile, compute its md5s next."""
        fetch.computing_md5 = False
        if file is not fetch.file and not fetch.ended:
            self.compute_md5s(fetch, address)
        fetch.notify()

    def lead_taken(self, name: str, leader: str, rate: float) -> None:
        """See `Fetch.lead_taken`. name: the task's name in the cluster."""
        for fetch in self.fetches.values():
            if fetch.request.cluster_name == name:
                fetch.lead_taken(leader, rate)

    def forget(self, task: str) -> None:
        """Remove the task from memory and stop reading its origin; its copy stays on disk."""
        fetch = self.fetches.pop(task, None)
        if fetch is not None:
            self._fetch_threads.dequeue(fetch)
            self._md5_threads.dequeue(fetch)
            fetch.stop()
            self.past_requests += fetch.origin_requests
            self.past_bytes += fetch.origin_bytes

    def close(self) -> None:
        """Stop all fetches and wait for their threads."""
        for fetch in self.fetches.values():
            fetch.stop()
        self._fetch_threads.close()
        self._md5_threads.close()
