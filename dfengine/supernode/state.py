"""The supernode's state in this process: the swarm, the copies, registrations and parked pulls. All of it lives on the loop's thread.

The server's routes call in, fetches report in, and after each event what became answerable is answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from copy import copy
from typing import cast

from dfengine import wire
from dfengine._bitset import Bitset
from dfengine.errors import OriginBusy, OriginChanged, OriginError, OriginForbidden, RemoteError, UnknownDownload, UnknownTask
from dfengine.net.access import Access
from dfengine.net.dialer import Dialer
from dfengine.net.http import Line, Response
from dfengine.net.loop_watch import LoopWatch
from dfengine.settings import SupernodeSettings
from dfengine.supernode.copies.cache import Cache
from dfengine.supernode.copies.cdn import Cdn
from dfengine.supernode.copies.complaints import Complaints
from dfengine.supernode.copies.eviction import Room
from dfengine.supernode.copies.fetch import FAILED, SUCCESS, Fetch
from dfengine.supernode.copies.origin_queue import OriginQueue
from dfengine.supernode.copies.repair import lacks
from dfengine.supernode.copies.wanted import Wanted
from dfengine.supernode.credentials import Credentials
from dfengine.supernode.idle_sweep import Usage
from dfengine.supernode.negative_cache import NegativeCache
from dfengine.supernode.parked_pulls import Parked, ParkedPulls
from dfengine.supernode.quota import TaskQuota
from dfengine.supernode.reachability import Reachability
from dfengine.supernode.swarm.limits import Limits
from dfengine.supernode.swarm.members import Key, Member, Members
from dfengine.supernode.swarm.scheduler import CDN, Pull
from dfengine.supernode.swarm.swarm import TURN, Swarm
from dfengine.supernode.turns import Turns
from dfengine.supernode.verifier import Verifier
from dfengine.task import cdn_cid, cdn_path

LEAST_RATE = 64 << 10
"""Bytes per second that a client may be as slow as before the piece's lease is over."""

LEAST_LEASE = 30.0
"""Seconds that a lease lasts at least."""

HEAD_SECONDS = 20.0
"""How long one registration waits for the origin's head; less than a client waits for its answer. It may register again."""


class SupernodeState:
    """Everything a supernode knows. `loop` must be the running one; `download_port` is set when it is bound."""

    def __init__(self, settings: SupernodeSettings, home: str, loop: asyncio.AbstractEventLoop) -> None:
        self.settings = settings
        self.loop = loop
        self.now = loop.time
        self.advertise_ip = settings.advertise_ip or "127.0.0.1"
        self.download_port = settings.download_port
        limits = Limits(up=settings.up_limit, down=settings.down_limit, supernode=settings.supernode_limit, peer_gc=settings.peer_gc_delay)
        self.swarm = Swarm(limits, seed=int(time.time()))
        self.cache = Cache(home, "blake3" if settings.secret_file or settings.tls_cert else "xxh3", settings.max_length)
        access = Access(settings.origin_allow, settings.origin_deny)
        self.room = Room(self.cache, Usage(self), loop, settings.disk_low, settings.disk_high)
        self.cdn = Cdn(self.cache, loop.call_soon_threadsafe, self, access=access, share=settings.client_share,
                       connections=settings.origin_connections, room=self.room)
        self.credentials = Credentials(home)
        self.dialer = Dialer()  # to peers; replaced when the secrets are read again
        self.reachability = Reachability(self)
        self._verifier = Verifier(self, self.reachability.access)
        self.complaints = Complaints(loop)
        self.members = Members(settings.client_share)
        self.quota = TaskQuota(settings.client_share, loop.call_soon_threadsafe, self._drop)
        self.refusals = NegativeCache(settings.fail_access_interval)
        self.parked = ParkedPulls(loop, self.swarm)
        self.origins = OriginQueue(loop, settings.origin_limit, settings.client_share)
        self.used: dict[str, float] = {}
        """Task -> when it was last registered for or asked for (monotonic seconds)."""
        self.validated: dict[str, float] = {}
        self.counts = dict.fromkeys(
            ("registered", "pulls", "triggered", "cdn_failed", "cache_hits", "failed_downloads", "finished_downloads", "back_to_source",
             "damaged_pieces"), 0,
        )
        self.answers: dict[tuple[str, int], int] = {}
        """(route, HTTP status) -> answers of the control port."""
        self.preheats: dict[str, float] = {}  # task -> unix time of its preheat
        self.sent_bytes: Callable[[], int] = int
        self.loaded_slices: Callable[[], int] = int
        self.plain_pulls: Callable[[], int] = int  # that neither `counts` nor `answers` has
        self.failures: Callable[[], int] = int
        self.scrape: Callable[[], bytes | asyncio.Future[bytes]] = bytes
        self.watch: LoopWatch | None = None
        self._heads: dict[str, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._waking = False
        self.turns = Turns(loop)
        self.due = float("inf")

    # TASKS

    async def ensure(self, task: str, wanted: Wanted, address: str = "") -> Fetch:
        """The fetch of a task whose head is known, begun for who is at `address` if there is none. Raises OriginError, DfengineError."""
        now = self.now()
        fetch = self.cdn.fetches.get(task)
        if fetch is not None and fetch.state == FAILED:
            self.fetch_failed(fetch)  # which its thread is about to tell
        if fetch is not None:
            self.used[task] = now
        self.refusals.check(task, now, "cache ")
        if fetch is None:
            self.quota.admit(task, wanted, address)
        if fetch is None or fetch.state == FAILED:
            self.quota.resumed(task)
            # The copy of one that failed takes its room on the disk as long as anybody holds it.
            self.cdn.forget(task)
            fetch = None
            self.counts["triggered"] += 1
            fetch = self.cdn.start(task, wanted, address)
            self.used[task] = self.validated[task] = now
            self._heads[task] = self.loop.create_future()
        elif fetch.state == SUCCESS and not fetch.asking and self._is_old(fetch, now):
            self.validated[task] = now
            self._heads[task] = self.loop.create_future()
            self.cdn.revalidate(fetch, self._validated, address)
        head = self._heads.get(task)
        if head is not None:
            try:
                await asyncio.wait_for(asyncio.shield(head), HEAD_SECONDS)
            except TimeoutError:
                if fetch.state == SUCCESS and task in self.swarm.tasks:
                    return fetch  # a long comparison with what the origin has now: its downloads go on meanwhile
                raise OriginBusy(fetch.waits or "the origin has not answered yet") from None
        given_up = RemoteError("the task was given up meanwhile: register again")
        if fetch.stopped and self.cdn.fetches.get(task) is not fetch:
            raise given_up
        if fetch.state == FAILED:
            assert fetch.error is not None
            # A copy: what is raised keeps the frames that it passes, and these the fetch and its file on a disk that may be full.
            raise copy(fetch.error)
        self.refusals.check(task, self.now())
        if task not in self.swarm.tasks:
            raise given_up
        return fetch

    def _is_old(self, fetch: Fetch, now: float) -> bool:
        """Its origin is to be asked whether the copy still holds."""
        return now - self.validated.get(fetch.task, 0.0) > self.settings.revalidate_interval * fetch.trust

    def _validated(self, fetch: Fetch) -> None:
        self._head_known(fetch.task)
        self.mend(fetch)

    def _head_known(self, task: str) -> None:
        head = self._heads.pop(task, None)
        if head is not None and not head.done():
            head.set_result(None)

    # WHAT FETCHES TELL

    def fetch_head(self, fetch: Fetch) -> None:
        """Events: the geometry is known."""
        self.counts["cache_hits"] += fetch.from_cache
        self.refusals.forget(fetch.task)
        geometry = fetch.geometry
        count = -1 if geometry.length < 0 else geometry.count
        if fetch.task not in self.swarm.tasks:
            self.swarm.add_task(fetch.task, count, self.now(), lease=max(LEAST_LEASE, geometry.piece_size / LEAST_RATE))
        self._head_known(fetch.task)

    def fetch_piece(self, fetch: Fetch, n: int) -> None:
        """Events: piece n is in the copy."""
        if fetch.task in self.swarm.tasks:
            self.swarm.cached(fetch.task, n, self.now())
            self.wake()

    def fetch_pieces(self, fetch: Fetch, pieces: Bitset) -> None:
        """Events: the copy has these from before."""
        if fetch.task in self.swarm.tasks:
            self.swarm.cached_all(fetch.task, pieces, self.now())
            self.wake()

    def fetch_md5(self, fetch: Fetch, n: int) -> None:
        """Events: an md5 is known."""
        if fetch.task in self.swarm.tasks and n >= 0:
            self.swarm.legacy_ready(fetch.task, n, self.now())
            self.wake()

    def fetch_ended(self, fetch: Fetch) -> None:
        """Events: the copy is complete."""
        if fetch.task in self.swarm.tasks:
            if self.swarm.tasks[fetch.task].count < 0:
                self._check_lengths(fetch)
            self.swarm.set_count(fetch.task, fetch.geometry.count)
            self.wake()

    def _check_lengths(self, fetch: Fetch) -> None:
        """The length is known at last: who expects another one ends."""
        refused = []
        for key in [(fetch.task, cid) for cid in self.swarm.tasks[fetch.task].downloads]:
            try:
                self.members[key].check_length(fetch.geometry.length)
            except RemoteError as error:
                self.members.dismiss(key)
                refused.append((key, wire.Pulled(wire.CDN_FAILED, msg=str(error))))
        self.turns.begin(self._leave(refused))

    def _leave(self, refused: list[tuple[Key, wire.Pulled]]) -> Iterator[None]:
        for key, answer in refused:
            if key not in self.members:
                self.parked.answer(key, answer)
                self.swarm.leave(*key, self.now())
            yield

    def fetch_damaged(self, fetch: Fetch, n: int) -> None:
        """Events: piece n must be fetched again, by the thread that runs if there is one."""
        self.counts["damaged_pieces"] += 1
        if fetch.task in self.swarm.tasks and n < self.swarm.tasks[fetch.task].size:
            self.swarm.uncached(fetch.task, n, self.now())
        self.mend(fetch)

    def mend(self, fetch: Fetch) -> None:
        """Have fetched again what a copy that nobody works at lacks."""
        if fetch.state == SUCCESS and not fetch.asking and fetch.file is not None and lacks(fetch.file):
            self.cdn.mend(fetch)

    def fetch_failed(self, fetch: Fetch) -> None:
        """Events: the task fails for all; a second time nothing happens."""
        if fetch.failure_told:
            return
        fetch.failure_told = True
        error = fetch.error
        self.counts["cdn_failed"] += 1
        self.quota.failed(fetch.task)
        if isinstance(error, OriginError) and not isinstance(error, OriginForbidden | OriginChanged) and fetch.file is None:
            fetch.error = copy(error)
            fetch.error.args = (self._refused(fetch, error),)
        self._give_up(fetch.task, str(error))
        self._head_known(fetch.task)

    def fetch_refused(self, fetch: Fetch, error: OriginError) -> None:
        """Events: the origin has it no more; who has begun may end."""
        self._refused(fetch, error)

    def _refused(self, fetch: Fetch, error: OriginError) -> str:
        return self.refusals.remember(fetch.task, fetch.wanted.url, error.status, str(error), self.now())

    def fetch_renewed(self, fetch: Fetch) -> None:
        """Events: the origin's file changed."""
        self._give_up(fetch.task, "the file changed at its origin: download it anew")
        fetch.following = False
        if fetch.task not in self._heads:
            # Whoever comes now waits for the new generation's head.
            self._heads[fetch.task] = self.loop.create_future()

    def _give_up(self, task: str, reason: str) -> None:
        """All downloads of a task end: pieces of two versions must not meet."""
        state = self.swarm.tasks.get(task)
        if state is not None:
            ended = [(key, self.parked.get(key)) for key in [(task, cid) for cid in state.downloads]]
            self.swarm.drop_task(task)
            self.turns.begin(self._end(ended, reason))
            self.wake()

    def _end(self, ended: list[tuple[Key, Parked | None]], reason: str) -> Iterator[None]:
        """Answer and dismiss them; who has registered again meanwhile stays."""
        answer = wire.Pulled(wire.CDN_FAILED, msg=reason)
        for key, parked in ended:
            task, cid = key
            if parked is not None and self.parked.get(key) is parked:
                self.parked.answer(key, answer)
            if task not in self.swarm.tasks or cid not in self.swarm.tasks[task].downloads:
                self.members.dismiss(key)
            yield

    # PULLS

    def pulled(self, task: str, cid: str, pull: Pull) -> wire.Pulled:
        """The native answer that says what `pull` decided."""
        geometry = (fetch := self.cdn.fetches[task]).geometry
        if pull.kind == "finished":
            return wire.Pulled(wire.FINISHED, length=geometry.length, count=geometry.count)
        if not pull.pieces:
            return wire.Pulled(wire.WAIT, length=geometry.length, count=geometry.count)
        assert fetch.file is not None
        digest = fetch.file.record.digest
        offers = []
        for n, sources in pull.pieces:
            named: tuple[object, ...] = sources
            if sources[0] is CDN or sources[-1] is CDN:
                cdn = self.source(task, self.members[task, cid].super_node_ip)
                named = tuple([cdn if source is CDN else source for source in sources])
            offers.append(wire.Offer(n, digest(n).hex(), cast(tuple[wire.Source, ...], named)))
        return wire.Pulled(wire.CONTINUE, offers, geometry.length, geometry.count)

    def source(self, task: str, ip: str) -> wire.Source:
        """This supernode as a source of a task, for a client that calls it `ip`."""
        return wire.Source(cdn_cid(self.advertise_ip, task), ip, self.download_port, cdn_path(task))

    def park(self, task: str, cid: str, k: int, seconds: float) -> asyncio.Future[Response]:
        """A pull of k pieces waits; answered WAIT after `seconds`. The client going away cancels it."""
        return self.parked.park((task, cid), k, seconds)

    def release(self, task: str, cid: str) -> None:
        """A newer pull of the same CID came: the older one is answered."""
        self.parked.answer((task, cid), None)

    def lost(self, line: Line) -> None:
        """The connection of a native download is gone: what is assigned to it is others' at once.

        It need not have ended. What it gets nevertheless it may report, and pull again by another connection.
        """
        member: Member = line.party
        line.party = None
        if member.line is line:
            member.line = None
            self.release(*member.key)  # or it would be given the pieces again
            self.swarm.unassign(*member.key)
            self.wake()

    def wake(self) -> None:
        """After each event: answer what became answerable, about TURN at a time, and be there when the next deadline is."""
        swarm, left = self.swarm, TURN
        while swarm.wakeable and left > 0:
            task = next(iter(swarm.wakeable))
            left -= 1
            for cid, pull in swarm.answer_parked(task, self.now()):
                self.parked.answer((task, cid), self.pulled(task, cid, pull))
                left -= 1
        if swarm.wakeable and not self._waking:
            self._waking = True
            self.loop.call_soon(self._wake_on)
        if swarm.doubts:
            self._verifier.look()
        if swarm.departed:
            for key in swarm.departed:
                self.members.dismiss(key)
                self.parked.answer(key, wire.Pulled(wire.NOT_FOUND, msg="this download was silent for too long: register again"))
            swarm.departed.clear()
        due = swarm.next_due()
        if due < self.due:
            if self._timer is not None:
                self._timer.cancel()
            self.due = due
            self._timer = self.loop.call_at(due + 0.001, self._tick)

    def _wake_on(self) -> None:
        self._waking = False
        self.wake()

    def _tick(self) -> None:
        self.due, self._timer = float("inf"), None
        self.swarm.tick(self.now())
        self.wake()

    def member(self, task: str, cid: str, address: str) -> Member:
        """A registered download; address: of who speaks in its name, where it must have registered from.

        Raises UnknownTask, UnknownDownload, or why its task failed (RemoteError).
        """
        member = self.members.get((task, cid))
        if member is None or task not in self.swarm.tasks or not member.is_of(address):
            fetch = self.cdn.fetches.get(task)
            if fetch is not None and fetch.state == FAILED and fetch.error is not None:
                raise RemoteError(str(fetch.error)) from None
            missing = f"{cid}@{task}"
            message = (
                f"failed to get dfgetTask with taskID ({task}) clientID ({cid}): failed to get key {missing} from map: "
                '{"Code":0,"Msg":"data not found"}'
            )
            raise (UnknownDownload if task in self.swarm.tasks else UnknownTask)(message)
        self.used[task] = self.now()
        return member

    def forget(self, task: str) -> None:
        """The task leaves memory; its copy stays."""
        self._give_up(task, "the task was removed: register again")
        self._head_known(task)
        self._drop(task)
        self.quota.dismiss(task)
        self.refusals.forget(task)

    def _drop(self, task: str) -> None:
        self.cdn.forget(task)
        self.used.pop(task, None)
        self.validated.pop(task, None)

    def close(self) -> None:
        """The process ends."""
        if self._timer is not None:
            self._timer.cancel()
        for key in list(self.parked):
            self.parked.answer(key, wire.Pulled(wire.SYSTEM_ERROR, msg="the supernode is going away"))
        self.room.close()
        self.cdn.close()
        self.reachability.close()
        self._verifier.close()
        self.complaints.close()
