"""Content that hosts share by its digest: its sharers, and whether all of it is available. `shared_copies` has the stored copies of it.

    announced    a host states the digests of the pieces: this makes a claim, or matches the known one; the host is a source of all pieces
    found        a download waits until all of the content is available, PATIENCE seconds at most
    read         the supernode reads the content: to store a copy, or because two hosts stated different pieces, or a digest was wrong
    lacking      some piece has had no source for LACKING seconds: the downloads of the content fail

A claim is one host's statement, and is not trusted: a download compares the whole with the digest in the name. When a claim is doubted, the
supernode reads all of the content. A wrong claim fails, with the hosts that announced it; a right one is proved permanently.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dfengine import wire
from dfengine._bitset import Bitset
from dfengine._piece import Geometry
from dfengine.copy_states import FAILED
from dfengine.errors import BadValue, RemoteError
from dfengine.net.dialer import Dialer
from dfengine.net.origin_access import OriginAccess
from dfengine.storage.content_digests import DIGEST
from dfengine.supernode.copies.announced_content import Claim
from dfengine.supernode.copies.cache import Cache
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.download_registry import DownloadRegistry
from dfengine.supernode.origin_fetches import OriginFetches
from dfengine.supernode.shared_copies import SharedCopies
from dfengine.supernode.swarm._state import ABSENT
from dfengine.supernode.swarm.swarm import Swarm

PATIENCE = 10.0
"""Seconds for which a registration waits for a host that shares the named content."""

SILENCE = 20.0
"""Seconds without an announcement after which a host is no sharer any more."""

LACKING = 5.0
PERIOD = 1.0
"""Seconds between two checks of the shared content."""


class _News:
    """What the registrations of one task wait for: its content may be available now."""

    __slots__ = ("arrived", "waiters")

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.waiters = 0
        """Registrations that wait; the last one to leave drops the entry."""


class Shares:
    """Used on the loop's thread. access: addresses that the supernode may connect to. dialer: returns the present Dialer."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, swarm: Swarm, registry: DownloadRegistry, fetches: OriginFetches, cache: Cache,
        access: OriginAccess, dialer: Callable[[], Dialer], wake: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._swarm = swarm
        self._registry = registry
        self._fetches = fetches
        self._fetch_pool = fetches.fetch_pool
        self._cache = cache
        self._wake = wake
        self.copies = SharedCopies(loop, swarm, fetches, access, dialer, wake, self._wake_registrations)
        self._waiting: dict[str, _News] = {}
        """Tasks for whose content registrations wait."""
        self._tasks: set[str] = set()
        """Tasks of shared content; some may have left memory."""
        self._timer: asyncio.TimerHandle | None = None

    # ANNOUNCEMENTS

    def renew(self, task: str, cid: str, keep: float) -> bool:
        """Renew an announcement. Return False if the claim is unknown: the host must then send its digests."""
        fetch = self._fetch_pool.fetches.get(task)
        claim = fetch.claim if fetch is not None else None
        if fetch is None or claim is None or cid not in claim.sharers or fetch.state == FAILED:
            return False
        claim.sharers[cid] = self._loop.time()
        self.copies.keep(fetch, claim, keep)
        return True

    def claim(self, task: str, announcement: wire.Announcement, address: str) -> Fetch | None:
        """Return the fetch of the announced content; None while a different claim is known and neither is proved.

        Raises BadValue, RemoteError, StorageError when the announcement is refused.
        """
        geometry = Geometry(announcement.length)
        if len(announcement.digests) != DIGEST * geometry.count:
            raise BadValue(f"{geometry.count} pieces have {DIGEST * geometry.count} bytes of digests, not {len(announcement.digests)}")
        self._cache.check_length(announcement.length)
        fetch = self._find(task, announcement.name)
        claim = fetch.claim if fetch is not None else None
        if fetch is not None and fetch.state == FAILED:
            if claim is not None and claim.has_pieces(announcement.length, announcement.digests):
                raise RemoteError(str(fetch.error))
            self._fetches.forget(task)
            fetch = None
        if fetch is None or claim is None:
            wanted = FetchRequest(announcement.name)
            self._fetches.quota.admit(task, wanted, address, len(announcement.digests))
            fetch = self._fetch_pool.share(task, wanted, Claim(geometry, announcement.digests))
            self._begin(fetch)
        elif not claim.has_pieces(announcement.length, announcement.digests):
            if claim.proved:
                raise RemoteError(f"the file to be shared as {announcement.name} has another digest: it was changed")
            self.copies.read(fetch, claim, address)
            return None
        return fetch

    def add_sharer(self, fetch: Fetch, cid: str, keep: float) -> None:
        """Make a registered sharer a source of every piece."""
        claim = fetch.claim
        assert claim is not None
        self._swarm.holds(fetch.task, cid, [(0, claim.geometry.count)], self._loop.time())
        claim.sharers[cid] = self._loop.time()
        self.copies.keep(fetch, claim, keep)
        self._wake_registrations(fetch.task)
        self._wake()

    def is_shared(self, task: str, cid: str) -> bool:
        """Whether this download has announced the content lately."""
        fetch = self._fetch_pool.fetches.get(task)
        return fetch is not None and fetch.claim is not None and cid in fetch.claim.sharers

    def remove_sharer(self, task: str, cid: str) -> None:
        """Remove a sharer."""
        fetch = self._fetch_pool.fetches.get(task)
        if fetch is not None and fetch.claim is not None:
            fetch.claim.sharers.pop(cid, None)

    def report_wrong_digest(self, task: object, cid: object, address: str) -> None:
        """Have the content read: the client at `address` reports that it got all pieces, and that the whole has another digest."""
        member = self._registry.members.get((task, cid)) if isinstance(task, str) and isinstance(cid, str) else None
        if member is None or not member.is_of(address) or not isinstance(task, str):
            return
        fetch = self._fetch_pool.fetches.get(task)
        claim = fetch.claim if fetch is not None else None
        if fetch is not None and claim is not None and fetch.state != FAILED and not claim.proved:
            self._fetches.sources.distrust_sharers(task, self._loop.time())
            self.copies.read(fetch, claim, address)

    # DOWNLOADS OF SHARED CONTENT

    def available(self, task: str, name: str) -> Fetch | None:
        """Return the fetch of content that is fully available now, unless it was doubted lately; else None."""
        fetch = self._find(task, name) if not self._fetches.sources.distrusts_sharers(task, self._loop.time()) else None
        if fetch is None or fetch.state == FAILED or self._is_incomplete(fetch):
            return None
        self._registry.used[task] = self._loop.time()
        return fetch

    async def find(self, task: str, name: str) -> Fetch:
        """Return the fetch of content once it is fully available. Raises RemoteError if it is not within PATIENCE seconds."""
        end = self._loop.time() + PATIENCE
        while True:
            fetch = self._find(task, name)
            if fetch is not None and fetch.state == FAILED:
                raise RemoteError(str(fetch.error))
            if fetch is not None and not self._is_incomplete(fetch):
                self._registry.used[task] = self._loop.time()
                return fetch
            try:
                async with asyncio.timeout_at(end):
                    await self._wait_for_news(task)
            except TimeoutError:
                some = "only a part of it is shared" if fetch is not None else "no host shares it"
                raise RemoteError(f"{name} is not available: {some}: `dfengine share FILE` on a host that has it") from None

    async def _wait_for_news(self, task: str) -> None:
        news = self._waiting.setdefault(task, _News())
        news.waiters += 1
        self._watch()
        try:
            await news.arrived.wait()
        finally:
            news.waiters -= 1
            if not news.waiters and self._waiting.get(task) is news:
                del self._waiting[task]

    def _find(self, task: str, name: str) -> Fetch | None:
        """Return the fetch in memory, or one for a whole copy on disk."""
        fetch = self._fetch_pool.fetches.get(task)
        if fetch is not None or task not in self._fetches.kept:
            return fetch
        found = self._cache.load(task)
        if found is None or found[1].url != name or not found[1].complete:
            return None
        file, description = found
        claim = Claim(file.geometry, bytes(file.record.digests), proved=True)
        wanted = FetchRequest(name)
        self._fetches.quota.admit(task, wanted, "", len(claim.digests))
        fetch = self._fetch_pool.share(task, wanted, claim)
        fetch.file, fetch.description, fetch.from_cache = file, description, True
        self._begin(fetch)
        self.copies.verify(fetch, claim)
        return fetch

    def _begin(self, fetch: Fetch) -> None:
        self._registry.used[fetch.task] = self._loop.time()
        self._fetches.fetch_head(fetch)
        self._swarm.digests_known(fetch.task)
        self._tasks.add(fetch.task)
        self._watch()

    def _is_incomplete(self, fetch: Fetch) -> bool:
        """Whether some piece is neither in the copy nor at a download that can be a source."""
        task, claim, file = self._swarm.tasks.get(fetch.task), fetch.claim, fetch.file
        if task is None or claim is None or file is None:
            return True
        count = claim.geometry.count
        # Pieces that are still to be verified on disk count as available.
        there = (file.record.available if claim.proved else file.available).copy()
        if there.first_clear() < 0:
            return False
        if any(cid in task.downloads and task.downloads[cid].holder_index != ABSENT for cid in claim.sharers):
            return False
        union = Bitset(max(task.size, count))
        union.update_or(there)
        for download in task.downloads.values():
            if download.holder_index != ABSENT:
                union.update_or(download.have)
        return not union.all_in_range(0, count)

    def _wake_registrations(self, task: str) -> None:
        """Wake the registrations that wait for this task."""
        news = self._waiting.pop(task, None)
        if news is not None:
            news.arrived.set()

    # CHECKS

    def _watch(self) -> None:
        if self._timer is None and (self._tasks or self._waiting):
            self._timer = self._loop.call_later(PERIOD, self._check)

    def _check(self) -> None:
        self._timer = None
        now = self._loop.time()
        for task in list(self._tasks):
            fetch = self._fetch_pool.fetches.get(task)
            if fetch is None or fetch.claim is None:
                self._tasks.discard(task)
            else:
                self._check_fetch(fetch, fetch.claim, now)
        for task in list(self._waiting):
            found = self._fetch_pool.fetches.get(task)
            if found is not None and not self._is_incomplete(found):
                self._wake_registrations(task)
        self._wake()
        self._watch()

    def _check_fetch(self, fetch: Fetch, claim: Claim, now: float) -> None:
        for cid in [cid for cid, seen in claim.sharers.items() if now - seen > SILENCE]:
            del claim.sharers[cid]
            self._registry.leave((fetch.task, cid))
        task = self._swarm.tasks.get(fetch.task)
        if task is None or not task.unfinished or not self._is_incomplete(fetch):
            claim.lacking_since = 0.0
        elif not claim.lacking_since:
            claim.lacking_since = now
        elif now - claim.lacking_since > LACKING:
            claim.lacking_since = 0.0
            self._registry.end_task(fetch.task, f"a part of {fetch.request.url} is not available any more: its sharers have left")
            self._fetches.forget(fetch.task)
        self.copies.read_again(fetch, claim, now)

    def close(self) -> None:
        """Stop at the end of the process."""
        if self._timer is not None:
            self._timer.cancel()
        self.copies.close()
