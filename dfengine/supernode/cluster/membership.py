"""Keeps this supernode a member of its cluster, and answers fetches who leads their task.

    a thread of its own   says every BEAT seconds that this supernode is there, and hears who is
    threads of fetches    ask who leads a task, and wait ANSWER seconds at most; while Redis fails the last answer counts
    the loop              asks by `ask`, and goes on meanwhile

Redis is asked in daemon threads, one for each question, and those who wait leave after their time: nothing hangs with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from dfengine.errors import BadValue
from dfengine.net.event_log import EventLog
from dfengine.supernode.cluster import records
from dfengine.supernode.cluster.beliefs import BEAT, TTL, Beliefs, Other
from dfengine.supernode.cluster.notice_board import NoticeBoard
from dfengine.supernode.cluster.redis_facts import ClusterError, RedisFacts

if TYPE_CHECKING:
    from dfengine.net.dialer import Dialer
    from dfengine.settings import SupernodeSettings
    from dfengine.supernode.cluster.notices import Notice

    Result = TypeVar("Result")

ANSWER = 3.0
"""Seconds that anybody waits for Redis: to connect and for an answer, and some more."""

LEAVE = 0.3
"""Seconds for the last word."""

AT_ONCE = 8
"""Questions that are under way; more are not asked while these wait."""

RELEASES = 10_000
"""Tasks that wait to be released; of more the first ones stay this supernode's as long as it runs."""

STANDS = 1000
"""Tasks that it leads without having been told, and asks for; of more the first ones are not asked for."""

LEADS = "leads"
"""The kind of notice of a supernode that has taken a lead."""

MOST_RATE = 1e12
"""Bytes per second."""

CLAIM = 2 * TTL
"""Seconds for which these are asked for while another one has them; who is gone has none after TTL."""


class Cluster:
    """Any thread may use it. address: HOST:PORT by which other supernodes reach this one. dialer: how it connects to them now.

    apart: hosts do not have its keys, so every member is a supernode. A task is named as all members name it, see
    `cluster_names`.
    """

    def __init__(
        self, facts: RedisFacts, keys: Sequence[bytes], address: str, events: EventLog, dialer: Callable[[], Dialer], apart: bool = True
    ) -> None:
        self._facts = facts
        self._keys = tuple(keys)
        self.key, self.apart = self._keys[0], apart
        self.own = Other(secrets.token_hex(16), address)
        self.dialer = dialer
        self.board = NoticeBoard(facts, self._keys, self.own.id)
        self._events = events
        self._beliefs = Beliefs()
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(AT_ONCE)
        self._news = threading.Condition()
        self._releases: list[str] = []
        self._stands: dict[str, float] = {}
        """Task -> when it began to lead it without having been told, monotonic seconds."""
        self._stopped = self._hurried = False
        self._reported = True
        """Operators believe that Redis answers."""
        self.failures = 0
        self._refused: set[tuple[str, str]] = set()
        """Of the last beat, see `decode_all`."""
        self._refusals = 0
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)

    @classmethod
    def of(cls, settings: SupernodeSettings, address: str, events: EventLog, dialer: Callable[[], Dialer]) -> Cluster | None:
        """None: no cluster is given. Raises BadValue."""
        if not settings.cluster:
            return None
        from dfengine.net.secret import read_secrets

        own = settings.cluster_key_file
        keys = list(map(records.key_of, read_secrets([own], "cluster's key") if own else read_secrets(settings.secret_file)))
        if not keys:
            raise BadValue("--cluster needs a key that Redis does not have: --cluster-key-file, or --secret-file")
        facts = RedisFacts(settings.cluster, records.prefix_of(keys[0]))
        return cls(facts, keys, address, events, dialer, bool(own))

    def start(self) -> None:
        """Become a member."""
        self._thread.start()

    @property
    def others(self) -> list[Other]:
        """The other members as they were told last."""
        with self._lock:
            return sorted((each for each in self._beliefs.others.values() if each.id != self.own.id), key=lambda each: each.address)

    def addresses(self) -> list[str]:
        """HOST:PORT of the others; none while Redis does not answer: nobody knows then whether they are there."""
        return [other.address for other in self.others] if self.reached else []

    @property
    def reached(self) -> bool:
        """Redis answered the last question."""
        return self._beliefs.reached

    @property
    def refused(self) -> int:
        """Notices that were refused, and members' records, each of these once for as long as Redis has it with the same fault."""
        return self._refusals + self.board.refused

    @property
    def leads(self) -> int:
        """Tasks that this supernode leads."""
        return self._beliefs.count(time.monotonic())

    def leader(self, task: str) -> str | None:
        """HOST:PORT of the supernode that leads the task; None: this one does, or nobody can tell. In a fetch's thread: it may wait."""
        now = time.monotonic()
        with self._lock:
            if self._beliefs.leads(task, now):
                return None
            last = self._beliefs.last_leader(task)
            if not self._beliefs.may_ask(now):
                return last.address if last is not None else None
        try:
            found = self._asked(lambda: self._facts.lead(task, self.own.id, self._record()), ANSWER)
            other = self._decoded(found) if found is not None else None
        except ClusterError as error:
            self._failed(error)
            return last.address if last is not None else None
        with self._lock:
            if other is None:
                self._beliefs.granted(task, now)
            else:
                self._beliefs.refused(task, other, now)
        self._works()
        return other.address if other is not None else None

    def stand_in(self, task: str, lost: Container[str]) -> str | None:
        """HOST:PORT of who leads the task while `leader` cannot tell, or tells of one of `lost`; None: this one. Waits for nothing."""
        with self._lock:
            other = self._beliefs.stand_in(task, self.own, lost)
            now = time.monotonic()
            if other is None and not self._beliefs.leads(task, now) and len(self._stands) < STANDS:
                self._stands.setdefault(task, now)
        return other.address if other is not None else None

    def turn(self, task: str, seconds: float) -> bool:
        """This supernode alone may probe the task's origin for so long. In a fetch's thread: it may wait. False also while Redis fails."""
        return self._answered(lambda: self._facts.turn(task, self.own.id, seconds))

    def take(self, task: str, leader: str, rate: float, seconds: float) -> bool:
        """This supernode leads the task instead of the one at `leader`, which hears of it, and nobody probes the origin for so long.

        rate: bytes per second at which it reads the origin; 0: not known. In a fetch's thread: it may wait. False: nothing is changed.
        """
        with self._lock:
            last, began = self._beliefs.last_leader(task), time.monotonic()
        if last is None or last.address != leader:
            return False
        if not self._answered(lambda: self._facts.take(task, self.own.id, self._record(), last.id, seconds)):
            return False
        with self._lock:
            self._beliefs.granted(task, began)
        self.board.send(f"{LEADS}:{task}", {"task": task, "address": self.own.address, "rate": rate}, seconds)
        self.hurry()
        return True

    def receive_leads(self, received: Callable[[str, str, float], object]) -> None:
        """Call `received` with the task, its new leader's HOST:PORT and rate, in the cluster's thread. Before it starts."""

        def receive(notice: Notice) -> None:
            task, address, rate = (notice.fields.get(name) for name in ("task", "address", "rate"))
            if not (isinstance(task, str) and isinstance(address, str) and isinstance(rate, int | float) and 0 <= rate < MOST_RATE):
                return
            leader = next((other for other in self.others if other.id == notice.by and other.address == address), None)
            if leader is not None:
                with self._lock:
                    self._beliefs.taken(task, leader)
                received(task, address, float(rate))

        self.board.listen(LEADS, receive)

    def _answered(self, question: Callable[[], bool]) -> bool:
        with self._lock:
            if not self._beliefs.may_ask(time.monotonic()):
                return False
        try:
            return self._asked(question, ANSWER)
        except ClusterError as error:
            self._failed(error)
            return False

    def release(self, task: str) -> None:
        """The task left memory: another one may lead it. On the loop's thread; waits for nothing."""
        with self._lock:
            led = self._beliefs.released(task)
            self._stands.pop(task, None)
        if led:
            with self._news:
                if len(self._releases) < RELEASES:
                    self._releases.append(task)

    def hurry(self) -> None:
        """Tell what waits to be told now rather than with the next beat."""
        with self._news:
            self._hurried = True
            self._news.notify_all()

    def _record(self) -> bytes:
        return records.encode(self.own.replace(leads=self.leads), time.time(), self._keys[0])

    def _decoded(self, record: bytes) -> Other:
        """Raises ClusterError."""
        try:
            return records.decode(record, time.time(), self._keys)
        except BadValue as error:
            raise ClusterError(str(error)) from None

    def _asked(self, question: Callable[[], Result], seconds: float) -> Result:
        """Raises ClusterError, also when the answer takes longer, or so many wait for one already."""
        found: list[Result | BaseException] = []
        over = threading.Event()

        def done(answer: Result | BaseException) -> None:
            found.append(answer)
            over.set()

        self._begin(question, done)
        if not over.wait(seconds):
            raise ClusterError(f"it does not answer within {seconds:g} s")
        return self._answer(found[0])

    async def claim(self, name: str) -> bool:
        """On the loop's thread: this supernode alone does what has this name, as long as it is a member. Raises ClusterError."""
        record = self._record()
        return await self.ask(lambda facts: facts.lead(name, self.own.id, record), ANSWER) is None

    async def unclaim(self, name: str) -> None:
        """Another one may do it. Raises ClusterError."""
        await self.ask(lambda facts: facts.release(name, self.own.id), ANSWER)

    async def ask(self, question: Callable[[RedisFacts], Result], seconds: float) -> Result:
        """On the loop's thread, which goes on meanwhile. Raises ClusterError; at once while Redis is left alone after a failure."""
        with self._lock:
            asks = self._beliefs.may_ask(time.monotonic())
        if not asks:
            raise ClusterError("it is left alone for a while")
        loop = asyncio.get_running_loop()
        over: asyncio.Future[Result | BaseException] = loop.create_future()

        def settle(answer: Result | BaseException) -> None:
            if not over.done():
                over.set_result(answer)

        def done(answer: Result | BaseException) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, answer)

        try:
            self._begin(partial(question, self._facts), done)
            try:
                return self._answer(await asyncio.wait_for(over, seconds))
            except TimeoutError:
                raise ClusterError(f"it does not answer within {seconds:g} s") from None
        except ClusterError as error:
            self._failed(error)
            raise

    def _begin(self, question: Callable[[], Result], done: Callable[[Result | BaseException], object]) -> None:
        """Ask in a thread of its own, which passes the answer or the failure on. Raises ClusterError when so many wait already."""
        if not self._turns.acquire(blocking=False):
            raise ClusterError("it does not answer what it was asked before")

        def ask() -> None:
            found: Result | BaseException
            try:
                found = question()
            except BaseException as error:
                found = error.with_traceback(None)
            self._turns.release()
            done(found)

        threading.Thread(target=ask, name="cluster-ask", daemon=True).start()

    @staticmethod
    def _answer(found: Result | BaseException) -> Result:
        """Raises ClusterError for a failure."""
        if isinstance(found, BaseException):
            raise found if isinstance(found, ClusterError) else ClusterError(repr(found)[:200])
        return found

    def hidden(self, name: str) -> str:
        """A name that all members have for `name`, and that tells Redis nothing of it."""
        return hmac.digest(self._keys[0], b"name:" + name.encode("utf-8", "surrogateescape"), "sha256").hex()[:32]

    def _failed(self, error: ClusterError) -> None:
        with self._lock:
            self._beliefs.failed(time.monotonic())
            reported, self._reported = self._reported, False
            self.failures += 1
        if reported:
            self._events.warning("cluster_lost", reason=str(error), members=len(self.others))

    def _works(self) -> None:
        with self._lock:
            reported, self._reported = self._reported, True
        if not reported:
            self._events.info("cluster_found", members=len(self.others))

    # The thread

    def _run(self) -> None:
        while not self._stopped:
            with self._lock:
                asks = self._beliefs.may_ask(time.monotonic())
            if asks:
                try:
                    self._beat()
                except ClusterError as error:
                    self._failed(error)
            with self._news:
                self._news.wait_for(lambda: self._stopped or self._hurried, BEAT)
                self._hurried = False

    def _beat(self) -> None:
        """Raises ClusterError."""
        before, began = {each.id: each for each in self.others}, time.monotonic()
        found = self._asked(lambda: self._facts.beat(self.own.id, self._record()), ANSWER)
        now, refused = records.decode_all(found, time.time(), self._keys)
        with self._lock:
            self._beliefs.beaten(now, began)
        self._works()
        after = {each.id: each for each in self.others}
        for id in after.keys() - before.keys():
            self._events.info("member_joined", address=after[id].address)
        for id in before.keys() - after.keys():
            self._events.info("member_left", address=before[id].address)
        for address, reason in sorted(refused - self._refused):
            self._refusals += 1
            self._events.warning("member_refused", **({"address": address} if address else {}), reason=reason)
        self._refused = refused
        with self._news:
            releases, self._releases = self._releases, []
        for task in releases:
            self._asked(partial(self._facts.release, task, self.own.id), ANSWER)
        self.board.exchange(lambda question: self._asked(question, ANSWER))
        self._claim()

    def _claim(self) -> None:
        """Have granted what this one leads without having been told, so that others hear of it. Raises ClusterError."""
        with self._lock:
            stands = list(self._stands.items())
        for task, since in stands:
            began = time.monotonic()
            found = self._asked(partial(self._facts.lead, task, self.own.id, self._record()), ANSWER)
            with self._lock:
                if found is None and task in self._stands:
                    self._beliefs.granted(task, began)
                if found is None or began - since > CLAIM:
                    self._stands.pop(task, None)

    def close(self) -> None:
        """The process ends: others lead from now on, if Redis hears it."""
        with self._news:
            self._stopped = True
            self._news.notify_all()
        with self._lock:
            reached = self._beliefs.reached
        if reached:
            try:
                self._asked(lambda: self._facts.leave(self.own.id), LEAVE)
            except ClusterError:
                return
            self._facts.close()
