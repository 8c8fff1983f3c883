"""Content that hosts share by its digest: who has it, whether that is all of it, and the copies that are kept of it.

    announced    a host says what its pieces are: a claim is made, or it is the claim that is known; it becomes a source of all pieces
    found        a download waits until somebody has all of it, PATIENCE seconds at most
    read         the supernode reads it itself: to keep a copy, or because two hosts told different pieces, or a download got wrong bytes
    lacking      some piece is nowhere for LACKING seconds: its downloads fail

A claim is what one host says. It binds nobody: a download compares the whole with the digest in the name. Where a claim is doubted the
supernode reads all of the content; a wrong claim fails, with those who announced it, and a right one is proved for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from random import shuffle
from typing import TypeVar

from dfengine import wire
from dfengine._bitset import Bitset
from dfengine._piece import Geometry
from dfengine.errors import BadValue, RemoteError, SourceGone
from dfengine.net.access import Access
from dfengine.net.dial import Connection
from dfengine.net.dialer import Dialer
from dfengine.supernode.copies.cache import Cache
from dfengine.supernode.copies.claimed import DIGEST, Claim, Claimed
from dfengine.supernode.copies.fetch import FAILED, RUNNING, SUCCESS, Fetch
from dfengine.supernode.copies.repair import missing_runs, verify_found
from dfengine.supernode.copies.replica import Holders, replicate
from dfengine.supernode.copies.wanted import Wanted
from dfengine.supernode.origin_fetches import OriginFetches
from dfengine.supernode.registry import Registry
from dfengine.supernode.swarm._state import ABSENT
from dfengine.supernode.swarm.peers import Complaint
from dfengine.supernode.swarm.swarm import Swarm
from dfengine.supernode.verifier import CONNECT, may_ask

PATIENCE = 10.0
"""Seconds for which a registration waits for somebody who shares what it names."""

SILENCE = 20.0
"""Seconds without an announcement after which a host shares nothing any more."""

LACKING = 5.0
LOOK = 1.0
"""Seconds between two looks at what is shared."""

AT_ONCE = 8
"""Contents that are read at once; each takes the memory of a piece."""

AGAIN = 5.0
"""Seconds between two readings, of which the first did not come to its end."""

MOST_KEEP = 30 * 86400.0
"""Seconds for which a host may have a copy kept."""

Result = TypeVar("Result")


class Shares:
    """Used on the loop's thread. access: which addresses the supernode may connect to. dialer: how it connects now."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, swarm: Swarm, registry: Registry, fetches: OriginFetches, cache: Cache, access: Access,
        dialer: Callable[[], Dialer], wake: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._swarm = swarm
        self._registry = registry
        self._fetches = fetches
        self._cdn = fetches.cdn
        self._cache = cache
        self._access = access
        self._dialer = dialer
        self._wake = wake
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._tasks: set[str] = set()
        """Those that may be in memory."""
        self._timer: asyncio.TimerHandle | None = None
        self._lines: set[Connection] = set()

    # WHO SHARES

    def alive(self, task: str, cid: str, keep: float) -> bool:
        """A download that announced itself is still there. False: it must say what it has."""
        fetch = self._cdn.fetches.get(task)
        claim = fetch.claim if fetch is not None else None
        if fetch is None or claim is None or cid not in claim.sharers or fetch.state == FAILED:
            return False
        claim.sharers[cid] = self._loop.time()
        self._swarm.touch(cid, self._loop.time())
        self._keep(fetch, claim, keep)
        return True

    def claim(self, task: str, told: wire.Announcement, address: str) -> Fetch | None:
        """The task of this announcement. None: others told other pieces, and somebody is being proved wrong.

        Raises BadValue, RemoteError, StorageError when it is refused.
        """
        geometry = Geometry(told.length)
        if len(told.digests) != DIGEST * geometry.count:
            raise BadValue(f"{geometry.count} pieces have {DIGEST * geometry.count} bytes of digests, not {len(told.digests)}")
        self._cache.check_length(told.length)
        fetch = self._find(task, told.name)
        claim = fetch.claim if fetch is not None else None
        if fetch is not None and fetch.state == FAILED:
            if claim is not None and claim.same(told.length, told.digests):
                raise RemoteError(str(fetch.error))
            self._fetches.forget(task)
            fetch = None
        if fetch is None or claim is None:
            wanted = Wanted(told.name)
            self._fetches.quota.admit(task, wanted, address, len(told.digests))
            fetch = self._cdn.share(task, wanted, Claim(geometry, told.digests))
            self._begin(fetch)
        elif not claim.same(told.length, told.digests):
            if claim.proved:
                raise RemoteError(f"what is to be shared as {told.name} has another digest: it was changed")
            self._read(fetch, claim, address)
            return None
        return fetch

    def joined(self, fetch: Fetch, cid: str, keep: float) -> None:
        """The download of this announcement has registered: it is a source of every piece."""
        claim = fetch.claim
        assert claim is not None
        self._swarm.holds(fetch.task, cid, [(0, claim.geometry.count)], self._loop.time())
        claim.sharers[cid] = self._loop.time()
        self._keep(fetch, claim, keep)
        self._tell(fetch.task)
        self._wake()

    def is_shared(self, task: str, cid: str) -> bool:
        """This download has announced the content lately."""
        fetch = self._cdn.fetches.get(task)
        return fetch is not None and fetch.claim is not None and cid in fetch.claim.sharers

    def withdrawn(self, task: str, cid: str) -> None:
        """It shares it no longer."""
        fetch = self._cdn.fetches.get(task)
        if fetch is not None and fetch.claim is not None:
            fetch.claim.sharers.pop(cid, None)

    def kept(self, task: str) -> bool:
        """There is a whole, verified copy."""
        fetch = self._cdn.fetches.get(task)
        proved = fetch is not None and fetch.claim is not None and fetch.claim.proved
        return proved and fetch is not None and fetch.file is not None and not missing_runs(fetch.file)

    def why_not_kept(self, task: str) -> str:
        """What keeps the supernode from making a copy; "" if nothing does."""
        fetch = self._cdn.fetches.get(task)
        return fetch.claim.failure if fetch is not None and fetch.claim is not None else ""

    def doubt(self, task: object, cid: object, address: str) -> None:
        """Somebody at `address` says of this download that all pieces came, and the whole has another digest than its name."""
        member = self._registry.members.get((task, cid)) if isinstance(task, str) and isinstance(cid, str) else None
        if member is None or not member.is_of(address) or not isinstance(task, str):
            return
        fetch = self._cdn.fetches.get(task)
        claim = fetch.claim if fetch is not None else None
        if fetch is not None and claim is not None and fetch.state != FAILED and not claim.proved:
            self._read(fetch, claim, address)

    # WHO WANTS IT

    async def find(self, task: str, name: str) -> Fetch:
        """The task of content of which all is there. Raises RemoteError when it is not, PATIENCE seconds later."""
        end = self._loop.time() + PATIENCE
        while True:
            fetch = self._find(task, name)
            if fetch is not None and fetch.state == FAILED:
                raise RemoteError(str(fetch.error))
            if fetch is not None and not self._lacks(fetch):
                self._registry.used[task] = self._loop.time()
                return fetch
            news = self._waiting.get(task)
            if news is None:
                news = self._waiting[task] = self._loop.create_future()
            self._watch()
            try:
                await asyncio.wait_for(asyncio.shield(news), end - self._loop.time())
            except TimeoutError:
                some = "only a part of it is" if fetch is not None else "nobody shares it"
                raise RemoteError(f"{name} is not here: {some}: `dfengine share FILE` on a host that has it") from None

    def _find(self, task: str, name: str) -> Fetch | None:
        """In memory, or a whole copy on the disk."""
        fetch = self._cdn.fetches.get(task)
        if fetch is not None or task not in self._fetches.kept:
            return fetch
        found = self._cache.load(task)
        if found is None or found[1].url != name or not found[1].complete:
            return None
        file, description = found
        claim = Claim(file.geometry, bytes(file.record.digests), proved=True)
        wanted = Wanted(name)
        self._fetches.quota.admit(task, wanted, "", len(claim.digests))
        fetch = self._cdn.share(task, wanted, claim)
        fetch.file, fetch.description, fetch.from_cache, claim.reading = file, description, True, True
        self._begin(fetch)
        self._cdn.work(fetch, lambda fetch: _verify(fetch), self._over)
        return fetch

    def _begin(self, fetch: Fetch) -> None:
        self._registry.used[fetch.task] = self._loop.time()
        self._fetches.fetch_head(fetch)
        self._swarm.digests_known(fetch.task)
        self._tasks.add(fetch.task)
        self._watch()

    def _lacks(self, fetch: Fetch) -> bool:
        """Some piece is neither in the copy nor at a download that may be asked for it."""
        task, claim, file = self._swarm.tasks.get(fetch.task), fetch.claim, fetch.file
        if task is None or claim is None or file is None:
            return True
        count = claim.geometry.count
        # One that is read from the disk is as good as here.
        there = (file.record.here if claim.proved else file.here).copy()
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

    def _tell(self, task: str) -> None:
        """Something has changed for registrations that wait."""
        news = self._waiting.pop(task, None)
        if news is not None and not news.done():
            news.set_result(None)

    # THE SUPERNODE'S OWN COPY

    def _keep(self, fetch: Fetch, claim: Claim, seconds: float) -> None:
        if seconds > 0:
            claim.keep = time.time() + min(seconds, MOST_KEEP)
            self._mark(fetch, claim)
            if not self.kept(fetch.task) and claim.again < self._loop.time():
                self._read(fetch, claim, "")

    def _mark(self, fetch: Fetch, claim: Claim) -> None:
        """A copy that is whole stays; what was only announced leaves no mark on the disk."""
        if claim.keep > time.time() and self.kept(fetch.task):
            self._fetches.kept.keep(fetch.task, fetch.wanted.url, claim.keep)

    def _read(self, fetch: Fetch, claim: Claim, address: str) -> None:
        if claim.reading or fetch.state == FAILED or self._readings >= AT_ONCE:
            return  # whoever wishes it will say so again
        claim.reading = True
        dialer = self._dialer()
        holders = Holders(
            lambda n: self._ask(lambda: self._sources(fetch, n), []), lambda ip, port: dialer.connect(ip, port, timeout=CONNECT),
            lambda source, n: self._post(self._blame, fetch, source.cid, n),
            lambda: self._post(self._blame_all, fetch), self._lines,
        )  # fmt: skip
        self._cdn.work(fetch, lambda fetch: replicate(fetch, holders), self._over, address)

    @property
    def _readings(self) -> int:
        found = (self._cdn.fetches.get(task) for task in self._tasks)
        return sum(fetch is not None and fetch.claim is not None and fetch.claim.reading for fetch in found)

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
            return asyncio.run_coroutine_threadsafe(answer(), self._loop).result(LOOK)
        except (RuntimeError, TimeoutError):
            return otherwise

    # TIME

    def _watch(self) -> None:
        if self._timer is None and (self._tasks or self._waiting):
            self._timer = self._loop.call_later(LOOK, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for task in list(self._tasks):
            fetch = self._cdn.fetches.get(task)
            if fetch is None or fetch.claim is None:
                self._tasks.discard(task)
            else:
                self._look_at(fetch, fetch.claim, now)
        for task in list(self._waiting):
            found = self._cdn.fetches.get(task)
            if found is not None and not self._lacks(found):
                self._tell(task)
            elif self._waiting[task].cancelled():
                del self._waiting[task]
        self._wake()
        self._watch()

    def _look_at(self, fetch: Fetch, claim: Claim, now: float) -> None:
        for cid in [cid for cid, seen in claim.sharers.items() if now - seen > SILENCE]:
            del claim.sharers[cid]
            self._registry.leave((fetch.task, cid))
        task = self._swarm.tasks.get(fetch.task)
        if task is None or not task.unfinished or not self._lacks(fetch):
            claim.lacking = 0.0
        elif not claim.lacking:
            claim.lacking = now
        elif now - claim.lacking > LACKING:
            claim.lacking = 0.0
            self._registry.end_task(fetch.task, f"a part of {fetch.wanted.url} is nowhere any more: who shared it has left")
            self._fetches.forget(fetch.task)
        if claim.keep > time.time() and claim.again < now and not claim.reading and not self.kept(fetch.task) and claim.sharers:
            self._read(fetch, claim, "")

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
        if self._timer is not None:
            self._timer.cancel()
        for line in self._lines.copy():
            line.stop()


def _verify(fetch: Fetch) -> None:
    """Each piece of a copy that was found on the disk is offered once it was compared with its digest."""
    if fetch.file is not None:
        with contextlib.suppress(SourceGone, RemoteError):
            verify_found(fetch, fetch.file, fetch.arrived)
