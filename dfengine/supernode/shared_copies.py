"""The supernode's own copies of content that hosts share: read to be kept for a time, or to prove or disprove what was announced.

A copy is read from the sharers by a thread, piece by piece (`copies.replica`). A sharer that sends other bytes than were announced is left,
and all who announced a wrong claim are.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from random import shuffle

from dfengine import wire
from dfengine.errors import RemoteError, SourceGone
from dfengine.net.access import Access
from dfengine.net.dial import Connection
from dfengine.net.dialer import Dialer
from dfengine.supernode.copies.claimed import Claim, Claimed
from dfengine.supernode.copies.fetch import FAILED, RUNNING, SUCCESS, Fetch
from dfengine.supernode.copies.repair import missing_runs, verify_found
from dfengine.supernode.copies.replica import Holders, replicate
from dfengine.supernode.origin_fetches import OriginFetches
from dfengine.supernode.swarm._state import ABSENT
from dfengine.supernode.swarm.peers import Complaint
from dfengine.supernode.swarm.swarm import Swarm
from dfengine.supernode.verifier import CONNECT, may_ask

AT_ONCE = 8
"""Contents that are read at once; each takes the memory of a piece."""

AGAIN = 5.0
"""Seconds between two readings, of which the first did not come to its end."""

MOST_KEEP = 30 * 86400.0
"""Seconds for which a host may have a copy kept."""

ANSWER = 1.0
"""Seconds that a thread waits for the loop's answer."""


class SharedCopies:
    """Used on the loop's thread. access: which addresses the supernode may connect to. dialer: how it connects now.

    tell: called with a task of which something is here that was not.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, swarm: Swarm, fetches: OriginFetches, access: Access, dialer: Callable[[], Dialer],
        wake: Callable[[], None], tell: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._swarm = swarm
        self._fetches = fetches
        self._cdn = fetches.cdn
        self._access = access
        self._dialer = dialer
        self._wake = wake
        self._tell = tell
        self._reading: list[Fetch] = []
        """Those whose copies threads read or verify, and some of which that is over."""
        self._connections: set[Connection] = set()

    def kept(self, task: str) -> bool:
        """There is a whole, verified copy."""
        fetch = self._cdn.fetches.get(task)
        proved = fetch is not None and fetch.claim is not None and fetch.claim.proved
        return proved and fetch is not None and fetch.file is not None and not missing_runs(fetch.file)

    def why_not_kept(self, task: str) -> str:
        """What keeps the supernode from making a copy; "" if nothing does."""
        fetch = self._cdn.fetches.get(task)
        return fetch.claim.failure if fetch is not None and fetch.claim is not None else ""

    def keep(self, fetch: Fetch, claim: Claim, seconds: float) -> None:
        """A sharer wants a copy for so long."""
        if seconds > 0:
            claim.keep = time.time() + min(seconds, MOST_KEEP)
            self._mark(fetch, claim)
            if not self.kept(fetch.task) and claim.again < self._loop.time():
                self.read(fetch, claim, "")

    def _mark(self, fetch: Fetch, claim: Claim) -> None:
        """A copy that is whole stays; what was only announced leaves no mark on the disk."""
        if claim.keep > time.time() and self.kept(fetch.task):
            self._fetches.kept.keep(fetch.task, fetch.wanted.url, claim.keep)

    def read(self, fetch: Fetch, claim: Claim, address: str) -> None:
        """Read all of it, unless too much is read already. address: of a client that wants it, "" none."""
        if claim.reading or fetch.state == FAILED or self._readings >= AT_ONCE:
            return  # a client that wants it will announce so again
        claim.reading = True
        self._reading.append(fetch)
        dialer = self._dialer()
        holders = Holders(
            lambda n: self._ask(lambda: self._sources(fetch, n), []), lambda ip, port: dialer.connect(ip, port, timeout=CONNECT),
            lambda source, n: self._post(self._blame, fetch, source.cid, n),
            lambda: self._post(self._blame_all, fetch), self._connections,
        )  # fmt: skip
        self._cdn.work(fetch, lambda fetch: replicate(fetch, holders), self._over, address)

    def want(self, fetch: Fetch, claim: Claim, now: float) -> None:
        """Read again what is to be kept and is not here yet. now: loop time."""
        if claim.keep > time.time() and claim.again < now and not claim.reading and not self.kept(fetch.task) and claim.sharers:
            self.read(fetch, claim, "")

    def verify(self, fetch: Fetch, claim: Claim) -> None:
        """A copy was found on the disk: each piece of it is offered once it was compared with its digest."""
        claim.reading = True
        self._reading.append(fetch)
        self._cdn.work(fetch, _verify, self._over)

    @property
    def _readings(self) -> int:
        # Nobody says that a fetch which was forgotten has ended.
        known = self._cdn.fetches
        self._reading = [each for each in self._reading if known.get(each.task) is each and each.claim is not None and each.claim.reading]
        return len(self._reading)

    def _over(self, fetch: Fetch) -> None:
        """A thread that read or verified the copy has ended."""
        claim = fetch.claim
        assert claim is not None
        claim.reading, claim.again = False, self._loop.time() + AGAIN
        if fetch.state == RUNNING:
            fetch.state = SUCCESS
        self._mark(fetch, claim)
        if fetch.state == SUCCESS and not claim.proved and claim.keep < time.time():
            self._let_go(fetch, claim)
        self._tell(fetch.task)

    def _let_go(self, fetch: Fetch, claim: Claim) -> None:
        """Nobody wants the part of a copy that is here."""
        file = fetch.file
        if file is not None and file.path:
            for n in file.here:
                self._swarm.uncached(fetch.task, n, self._loop.time())
            fetch.file = Claimed(claim.geometry, claim.digests)
            self._fetches.remove(fetch.task)

    def _sources(self, fetch: Fetch, n: int) -> list[wire.Source]:
        task = self._swarm.tasks.get(fetch.task)
        found = [each.source for each in task.downloads.values() if each.holder_index != ABSENT and each.has(n)] if task is not None else []
        found = [source for source in found if may_ask(source, self._access)]
        shuffle(found)
        return found[:8]

    def _blame(self, fetch: Fetch, cid: str, n: int) -> None:
        """It sent the supernode itself wrong bytes, or told wrong ones."""
        state = self._swarm.tasks.get(fetch.task)
        download = state.downloads.get(cid) if state is not None and self._cdn.fetches.get(fetch.task) is fetch else None
        if download is not None:
            self._swarm.judged(Complaint(fetch.task, n, download.source, download.peer.key), "digest", self._loop.time())
            self._wake()

    def _blame_all(self, fetch: Fetch) -> None:
        for cid in list(fetch.claim.sharers) if fetch.claim is not None else ():
            self._blame(fetch, cid, 0)

    def _post(self, function: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(function, *arguments)

    def _ask(self, question: Callable[[], Sequence[wire.Source]], otherwise: Sequence[wire.Source]) -> Sequence[wire.Source]:
        """The answer of the loop's thread, from another one; `otherwise` if the process ends."""

        async def answer() -> Sequence[wire.Source]:
            return question()

        try:
            return asyncio.run_coroutine_threadsafe(answer(), self._loop).result(ANSWER)
        except (RuntimeError, TimeoutError):
            return otherwise

    def expire(self) -> None:
        """Remove copies that were to be kept until now, as far as no download needs them."""
        for task in self._fetches.kept.over(time.time()):
            if self._fetches.order(task) < 2:
                fetch = self._cdn.fetches.get(task)
                if fetch is not None and fetch.claim is not None and fetch.claim.sharers:
                    fetch.claim.keep = 0.0
                    self._let_go(fetch, fetch.claim)
                else:
                    self._fetches.drop(task)

    def close(self) -> None:
        """The process ends."""
        for connection in self._connections.copy():
            connection.stop()


def _verify(fetch: Fetch) -> None:
    """Each piece of a copy that was found on the disk is offered once it was compared with its digest."""
    if fetch.file is not None:
        with contextlib.suppress(SourceGone, RemoteError):
            verify_found(fetch, fetch.file, fetch.arrived)
