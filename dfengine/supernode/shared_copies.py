"""The supernode's own copies of content that hosts share: read to be stored for a time, or to prove or disprove a claim.

A thread reads a copy from the sharers, piece by piece (`copies.shared_content_reader`). A sharer that sends other bytes than
it announced is not used any more, and neither is any sharer that announced a wrong claim.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from random import shuffle

from dfengine import wire
from dfengine.copy_states import FAILED, RUNNING, SUCCESS
from dfengine.errors import RemoteError, SourceGone
from dfengine.net.dialer import Dialer
from dfengine.net.http_client import Connection
from dfengine.net.origin_access import OriginAccess
from dfengine.supernode.complaint_verifier import CONNECT, may_connect
from dfengine.supernode.copies.announced_content import AnnouncedContent, Claim
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.repair import missing_runs, verify_found
from dfengine.supernode.copies.shared_content_reader import HolderConnections, replicate
from dfengine.supernode.origin_fetches import OriginFetches
from dfengine.supernode.swarm._state import ABSENT
from dfengine.supernode.swarm.peers import Complaint
from dfengine.supernode.swarm.swarm import Swarm

AT_ONCE = 8
"""Contents that are read at the same time; each takes the memory of one piece."""

AGAIN = 5.0
"""Seconds between two readings of which the first was incomplete."""

MAX_KEEP = 30 * 86400.0
"""Longest time for which a host may have a copy stored, in seconds."""

ANSWER = 1.0
"""Seconds that a thread waits for an answer of the loop's thread."""


class SharedCopies:
    """Used on the loop's thread. access: addresses that the supernode may connect to. dialer: returns the present Dialer.

    on_available: called with a task when more of its content may be available.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, swarm: Swarm, fetches: OriginFetches, access: OriginAccess, dialer: Callable[[], Dialer],
        wake: Callable[[], None], on_available: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._swarm = swarm
        self._fetches = fetches
        self._fetch_pool = fetches.fetch_pool
        self._access = access
        self._dialer = dialer
        self._wake = wake
        self._on_available = on_available
        self._reading: list[Fetch] = []
        """Fetches whose copies are being read or verified; may include ended ones."""
        self._connections: set[Connection] = set()

    def is_kept(self, task: str) -> bool:
        """Whether there is a whole, verified copy."""
        fetch = self._fetch_pool.fetches.get(task)
        proved = fetch is not None and fetch.claim is not None and fetch.claim.proved
        return proved and fetch is not None and fetch.file is not None and not missing_runs(fetch.file)

    def keep_refusal(self, task: str) -> str:
        """Return the reason why the supernode cannot make a copy, or ""."""
        fetch = self._fetch_pool.fetches.get(task)
        return fetch.claim.failure if fetch is not None and fetch.claim is not None else ""

    def keep(self, fetch: Fetch, claim: Claim, seconds: float) -> None:
        """Have a copy stored for `seconds`, as a sharer requests."""
        if seconds > 0:
            claim.keep_until = time.time() + min(seconds, MAX_KEEP)
            self._mark(fetch, claim)
            if not self.is_kept(fetch.task) and claim.retry_at < self._loop.time():
                self.read(fetch, claim, "")

    def _mark(self, fetch: Fetch, claim: Claim) -> None:
        """Protect a whole copy from eviction until its time is over. Claims without a copy leave no mark on the disk."""
        if claim.keep_until > time.time() and self.is_kept(fetch.task):
            self._fetches.kept.keep(fetch.task, fetch.request.url, claim.keep_until)

    def read(self, fetch: Fetch, claim: Claim, address: str) -> None:
        """Read all of the content, unless AT_ONCE readings run. address: of the client that needs it, "" for none."""
        if claim.reading or fetch.state == FAILED or self._readings >= AT_ONCE:
            return  # a client that needs it announces it again
        claim.reading = True
        self._reading.append(fetch)
        dialer = self._dialer()
        holders = HolderConnections(
            lambda n: self._call_on_loop(lambda: self._sources(fetch, n), []), lambda ip, port: dialer.connect(ip, port, timeout=CONNECT),
            lambda source, n: self._post(self._report_source, fetch, source.cid, n),
            lambda: self._post(self._report_all_sources, fetch), self._connections,
        )  # fmt: skip
        self._fetch_pool.submit(fetch, lambda fetch: replicate(fetch, holders), self._reading_ended, address)

    def read_again(self, fetch: Fetch, claim: Claim, now: float) -> None:
        """Read content again that is to be stored and is incomplete. now: loop time."""
        if claim.keep_until > time.time() and claim.retry_at < now and not claim.reading and not self.is_kept(fetch.task) and claim.sharers:
            self.read(fetch, claim, "")

    def verify(self, fetch: Fetch, claim: Claim) -> None:
        """Verify a copy that was found on disk: each piece is offered once it has been compared with its digest."""
        claim.reading = True
        self._reading.append(fetch)
        self._fetch_pool.submit(fetch, _verify, self._reading_ended)

    @property
    def _readings(self) -> int:
        # A fetch that has left memory never reports its end.
        known = self._fetch_pool.fetches
        self._reading = [each for each in self._reading if known.get(each.task) is each and each.claim is not None and each.claim.reading]
        return len(self._reading)

    def _reading_ended(self, fetch: Fetch) -> None:
        """Finish a reading or verification, whose thread has ended."""
        claim = fetch.claim
        assert claim is not None
        claim.reading, claim.retry_at = False, self._loop.time() + AGAIN
        if fetch.state == RUNNING:
            fetch.state = SUCCESS
        self._mark(fetch, claim)
        if fetch.state == SUCCESS and not claim.proved and claim.keep_until < time.time():
            self._discard(fetch, claim)
        self._on_available(fetch.task)

    def _discard(self, fetch: Fetch, claim: Claim) -> None:
        """Remove the pieces of a copy that is not needed any more."""
        file = fetch.file
        if file is not None and file.path:
            for n in file.available:
                self._swarm.uncached(fetch.task, n, self._loop.time())
            fetch.file = AnnouncedContent(claim.geometry, claim.digests)
            self._fetches.remove(fetch.task)

    def _sources(self, fetch: Fetch, n: int) -> list[wire.Source]:
        task = self._swarm.tasks.get(fetch.task)
        found = [each.source for each in task.downloads.values() if each.holder_index != ABSENT and each.has(n)] if task is not None else []
        found = [source for source in found if may_connect(source, self._access)]
        shuffle(found)
        return found[:8]

    def _report_source(self, fetch: Fetch, cid: str, n: int) -> None:
        """Report a source that sent the supernode wrong bytes, or announced wrong digests."""
        state = self._swarm.tasks.get(fetch.task)
        download = state.downloads.get(cid) if state is not None and self._fetch_pool.fetches.get(fetch.task) is fetch else None
        if download is not None:
            self._swarm.apply_verdict(Complaint(fetch.task, n, download.source, download.peer.key), "digest", self._loop.time())
            self._wake()

    def _report_all_sources(self, fetch: Fetch) -> None:
        for cid in list(fetch.claim.sharers) if fetch.claim is not None else ():
            self._report_source(fetch, cid, 0)

    def _post(self, function: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(function, *arguments)

    def _call_on_loop(self, function: Callable[[], Sequence[wire.Source]], default: Sequence[wire.Source]) -> Sequence[wire.Source]:
        """Return the answer of the loop's thread to another thread; `default` if the process ends."""

        async def answer() -> Sequence[wire.Source]:
            return function()

        try:
            return asyncio.run_coroutine_threadsafe(answer(), self._loop).result(ANSWER)
        except (RuntimeError, TimeoutError):
            return default

    def expire(self) -> None:
        """Remove copies whose time is over, unless a download needs them."""
        for task in self._fetches.kept.expired(time.time()):
            if self._fetches.eviction_rank(task) < 2:
                fetch = self._fetch_pool.fetches.get(task)
                if fetch is not None and fetch.claim is not None and fetch.claim.sharers:
                    fetch.claim.keep_until = 0.0
                    self._discard(fetch, fetch.claim)
                else:
                    self._fetches.drop(task)

    def close(self) -> None:
        """Stop at the end of the process."""
        for connection in self._connections.copy():
            connection.stop()


def _verify(fetch: Fetch) -> None:
    """Compare each piece of a copy found on disk with its digest; matching pieces are offered."""
    if fetch.file is not None:
        with contextlib.suppress(SourceGone, RemoteError):
            verify_found(fetch, fetch.file, fetch.piece_stored)
