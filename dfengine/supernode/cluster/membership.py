"""Keeps this supernode a member of its cluster, and answers which supernode leads a task.

    a thread of its own   sends this supernode's record every HEARTBEAT_PERIOD seconds, and receives the members
    threads of fetches    request the leader of a task, for REQUEST_TIMEOUT seconds at most; while Redis fails the last answer applies
    the loop              sends requests by `request`, without blocking
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from dfengine.errors import BadValue
from dfengine.net.event_log import EventLog
from dfengine.supernode.cluster import member_records
from dfengine.supernode.cluster.cluster_view import HEARTBEAT_PERIOD, TTL, ClusterMember, ClusterView
from dfengine.supernode.cluster.lead_releases import LeadReleases
from dfengine.supernode.cluster.notice_exchange import NoticeExchange
from dfengine.supernode.cluster.redis_scripts import ClusterError, RedisScripts
from dfengine.supernode.cluster.request_threads import RequestThreads

if TYPE_CHECKING:
    from dfengine.net.dialer import Dialer
    from dfengine.settings import SupernodeSettings
    from dfengine.supernode.cluster.notices import Notice

    Result = TypeVar("Result")

REQUEST_TIMEOUT = 3.0
"""Longest wait for Redis, in seconds: to connect and for an answer, and a margin."""

LEAVE_TIMEOUT = 0.3
"""Longest wait for the last request, in seconds."""

MAX_UNGRANTED = 1000
"""Tasks that this supernode leads without a grant, and requests a grant for; as many that it may lead without knowing. For further ones it
sends no requests."""

LEAD_TAKEN = "leads"
"""The kind of notice that a supernode sends when it has taken a lead."""

MAX_RATE = 1e12
"""Upper bound of a rate in a notice, in bytes per second."""

GRANT_PATIENCE = 2 * TTL
"""Seconds for which a grant of these is requested while another supernode leads; a supernode that is gone leads none after TTL."""


class Cluster:
    """A supernode's membership. Any thread may use it. address: HOST:PORT of this supernode for the others. dialer: returns the Dialer.

    separate_key: hosts do not have the cluster's keys, so every member is a supernode. Tasks have the names that all members use, see
    `cluster_names`.
    """

    def __init__(
        self, scripts: RedisScripts, keys: Sequence[bytes], address: str, events: EventLog, dialer: Callable[[], Dialer],
        separate_key: bool = True,
    ) -> None:  # fmt: skip
        self._scripts = scripts
        self._keys = tuple(keys)
        self.key, self.separate_key = self._keys[0], separate_key
        self.own = ClusterMember(secrets.token_hex(16), address)
        self.dialer = dialer
        self.notices = NoticeExchange(scripts, self._keys, self.own.id)
        self._events = events
        self._view = ClusterView()
        self._lock = threading.Lock()
        self._requests = RequestThreads()
        self._wakeup = threading.Condition()
        self._releases = LeadReleases(scripts, self.own.id)
        self._ungranted: dict[str, float] = {}
        """Task -> the time since which this supernode leads it without a grant, monotonic seconds."""
        self._unanswered: dict[str, float] = {}
        """Task -> the time of the last request for its leader, which Redis did not answer in time, and may process later."""
        self._stopped = self._send_due = False
        self._reported = True
        """Whether Redis answers, according to the last event."""
        self.failures = 0
        self._refused: set[tuple[str, str]] = set()
        """Refused records of the last heartbeat, see `decode_all`."""
        self._refusals = 0
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)

    @classmethod
    def of(cls, settings: SupernodeSettings, address: str, events: EventLog, dialer: Callable[[], Dialer]) -> Cluster | None:
        """Return the cluster of these settings, None without --cluster. Raises BadValue."""
        if not settings.cluster:
            return None
        from dfengine.net.secret import read_secrets

        own = settings.cluster_key_file
        keys = list(map(member_records.cluster_key, read_secrets([own], "cluster's key") if own else read_secrets(settings.secret_file)))
        if not keys:
            raise BadValue("--cluster needs a key that Redis does not have: --cluster-key-file, or --secret-file")
        scripts = RedisScripts(settings.cluster, member_records.key_prefix(keys[0]))
        return cls(scripts, keys, address, events, dialer, bool(own))

    def start(self) -> None:
        """Start the thread that makes this supernode a member."""
        self._thread.start()

    @property
    def others(self) -> list[ClusterMember]:
        """The other members, of the last answer."""
        with self._lock:
            return sorted((each for each in self._view.members.values() if each.id != self.own.id), key=lambda each: each.address)

    def addresses(self) -> list[str]:
        """Return HOST:PORT of the others; none while Redis does not answer, because it is unknown then whether they run."""
        return [other.address for other in self.others] if self.reached else []

    @property
    def reached(self) -> bool:
        """Whether Redis answered the last request."""
        return self._view.reached

    @property
    def refused(self) -> int:
        """Refused notices, and refused records of members, each counted once for as long as Redis has it with the same fault."""
        return self._refusals + self.notices.refused

    @property
    def leads(self) -> int:
        """The number of tasks that this supernode leads."""
        return self._view.count(time.monotonic())

    def leader(self, task: str) -> str | None:
        """Return HOST:PORT of the task's leader; None: this supernode, or unknown. Called in a fetch's thread; may block."""
        now = time.monotonic()
        with self._lock:
            self._releases.keep(task)
            if self._view.leads(task, now):
                return None
            last = self._view.last_leader(task)
            if not self._view.may_request(now):
                return last.address if last is not None else None
        try:
            found = self._requests.run(lambda: self._acquire_lead(task), REQUEST_TIMEOUT)
        except ClusterError as error:
            self._failed(error, now)
            with self._lock:
                if task in self._unanswered or len(self._unanswered) < MAX_UNGRANTED:
                    self._unanswered[task] = now
            return last.address if last is not None else None
        with self._lock:
            self._unanswered.pop(task, None)
            if found is None:
                self._view.granted(task, now, time.monotonic())
            else:
                self._view.refused(task, self._decode(found), now, time.monotonic())
            last = self._view.last_leader(task)
        self._succeeded()
        return last.address if last is not None else None

    def _acquire_lead(self, task: str) -> bytes | None:
        """Request the lead, see `RedisScripts.acquire_lead`. Called in a request's thread. Raises ClusterError."""
        self._releases.settle()
        return self._scripts.acquire_lead(task, self.own.id, self._record())

    def has_lead(self, task: str) -> bool:
        """Whether Redis has made this supernode the task's leader. Sends no request."""
        with self._lock:
            return self._view.leads(task, time.monotonic())

    def fallback_leader(self, task: str, unreachable: Container[str]) -> str | None:
        """Return HOST:PORT of the member that leads the task while its leader is unknown or in `unreachable`; None: this one."""
        with self._lock:
            other = self._view.fallback_leader(task, self.own, unreachable)
            now = time.monotonic()
            if other is None and not self._view.leads(task, now) and len(self._ungranted) < MAX_UNGRANTED:
                self._ungranted.setdefault(task, now)
        return other.address if other is not None else None

    def reserve_probes(self, task: str, seconds: float) -> bool:
        """Reserve probes of the task's origin for `seconds`. Called in a fetch's thread; may block. Return False also while Redis fails."""
        return self._request_unless_paused(lambda: self._scripts.reserve_probes(task, self.own.id, seconds))

    def take_lead(self, task: str, leader: str, rate: float, seconds: float) -> bool:
        """Take the task's lead from the supernode at `leader`, which is notified, and reserve probes of the origin for `seconds`.

        rate: bytes per second at which this supernode reads the origin; 0: unknown. In a fetch's thread; may block. False: no change,
        because Redis fails, another one leads, or the one at `leader` has taken the lead itself and may not lose it yet.
        """
        with self._lock:
            last, began = self._view.last_leader(task), time.monotonic()
        if last is None or last.address != leader:
            return False

        def take() -> bool:
            self._releases.settle()
            return self._scripts.take_lead(task, self.own.id, self._record(), last.id, seconds)

        if not self._request_unless_paused(take):
            return False
        with self._lock:
            self._view.granted(task, began, time.monotonic())
        self.notices.send(f"{LEAD_TAKEN}:{task}", {"task": task, "address": self.own.address, "rate": rate}, seconds)
        self.send_now()
        return True

    def on_lead_taken(self, listener: Callable[[str, str, float], object]) -> None:
        """Call `listener` with a task, its new leader's HOST:PORT and rate, in the cluster's thread. Call before the cluster starts."""

        def receive(notice: Notice) -> None:
            task, address, rate = (notice.fields.get(name) for name in ("task", "address", "rate"))
            if not (isinstance(task, str) and isinstance(address, str) and isinstance(rate, int | float) and 0 <= rate < MAX_RATE):
                return
            leader = next((other for other in self.others if other.id == notice.by and other.address == address), None)
            if leader is not None:
                with self._lock:
                    self._view.lead_taken(task, leader)
                listener(task, address, float(rate))

        self.notices.subscribe(LEAD_TAKEN, receive)

    def _request_unless_paused(self, call: Callable[[], bool]) -> bool:
        began = time.monotonic()
        with self._lock:
            if not self._view.may_request(began):
                return False
        try:
            return self._requests.run(call, REQUEST_TIMEOUT)
        except ClusterError as error:
            self._failed(error, began)
            return False

    def release(self, task: str) -> None:
        """Let another supernode lead a task that has left memory. Called on the loop's thread; does not block."""
        with self._lock:
            led = self._view.released(task)
            self._ungranted.pop(task, None)
            self._unanswered.pop(task, None)
            if led:
                self._releases.add(task)

    def send_now(self) -> None:
        """Send waiting notices now rather than with the next heartbeat."""
        with self._wakeup:
            self._send_due = True
            self._wakeup.notify_all()

    def _record(self) -> bytes:
        return member_records.encode(self.own.replace(leads=self.leads), time.time(), self._keys[0])

    def _decode(self, record: bytes) -> ClusterMember | None:
        """Decode another supernode's record; None: it is refused, as with a wrong clock, which the next heartbeat reports."""
        try:
            return member_records.decode(record, time.time(), self._keys)
        except BadValue:
            return None

    async def reserve(self, name: str) -> bool:
        """Reserve the work of this name for this supernode, as long as it is a member. Called on the loop's thread. Raises ClusterError."""
        self._releases.keep(name)
        return await self.request(lambda _: self._acquire_lead(name), REQUEST_TIMEOUT) is None

    def release_reservation(self, name: str) -> None:
        """Release such a reservation with the next heartbeat that Redis answers. Does not block."""
        self._releases.add(name)

    async def request(self, call: Callable[[RedisScripts], Result], seconds: float) -> Result:
        """Return the answer to a request without blocking the loop. Raises ClusterError, at once in the pause after a failure."""
        began = time.monotonic()
        with self._lock:
            may_request = self._view.may_request(began)
        if not may_request:
            raise ClusterError("Redis is not asked for a while after it failed")
        try:
            return await self._requests.run_on_loop(partial(call, self._scripts), seconds)
        except ClusterError as error:
            self._failed(error, began)
            raise

    def keyed_name(self, name: str) -> str:
        """Return a keyed digest of `name`, the same at all members, that reveals nothing of it to Redis."""
        return hmac.digest(self._keys[0], b"name:" + name.encode("utf-8", "surrogateescape"), "sha256").hex()[:32]

    def _failed(self, error: ClusterError, began: float) -> None:
        with self._lock:
            lost = self._view.failed(began, time.monotonic()) and self._reported
            self._reported = self._reported and not lost
            self.failures += 1
        if lost:
            self._events.warning("redis_lost", reason=str(error), members=len(self.others))

    def _succeeded(self) -> None:
        with self._lock:
            reported, self._reported = self._reported, True
        if not reported:
            self._events.info("redis_restored", members=len(self.others))

    # The thread

    def _run(self) -> None:
        while not self._stopped:
            began = time.monotonic()
            with self._lock:
                may_request = self._view.may_request(began)
            if may_request:
                try:
                    self._heartbeat()
                except ClusterError as error:
                    self._failed(error, began)
            with self._wakeup:
                self._wakeup.wait_for(lambda: self._stopped or self._send_due, HEARTBEAT_PERIOD)
                self._send_due = False

    def _heartbeat(self) -> None:
        """Send this supernode's record, and apply the others'; release tasks, exchange notices. Raises ClusterError."""
        before, began = {each.id: each for each in self.others}, time.monotonic()
        found = self._requests.run(lambda: self._scripts.heartbeat(self.own.id, self._record()), REQUEST_TIMEOUT)
        now, refused = member_records.decode_all(found, time.time(), self._keys)
        with self._lock:
            self._view.heartbeat_acked(now, began, time.monotonic())
        self._succeeded()
        after = {each.id: each for each in self.others}
        for id in after.keys() - before.keys():
            self._events.info("member_joined", address=after[id].address)
        for id in before.keys() - after.keys():
            self._events.info("member_left", address=before[id].address)
        for address, reason in sorted(refused - self._refused):
            self._refusals += 1
            self._events.warning("member_refused", **({"address": address} if address else {}), reason=reason)
        self._refused = refused
        self._releases.send(lambda call: self._requests.run(call, REQUEST_TIMEOUT))
        self.notices.exchange(lambda call: self._requests.run(call, REQUEST_TIMEOUT))
        self._confirm_leads()
        self._request_grants(began + HEARTBEAT_PERIOD)

    def _confirm_leads(self) -> None:
        """Find out which tasks Redis has granted to this supernode by requests that it did not answer in time. Raises ClusterError."""
        with self._lock:
            tasks = list(self._unanswered)
        if not tasks:
            return

        def confirm() -> list[str]:
            self._releases.settle()
            return self._scripts.confirm_leads(tasks, self.own.id, self._record())

        began = time.monotonic()
        led = self._requests.run(confirm, REQUEST_TIMEOUT)
        with self._lock:
            for task in led:
                if self._unanswered.pop(task, None) is not None:
                    self._view.granted(task, began, time.monotonic())
            for task in [task for task, at in self._unanswered.items() if began - at > GRANT_PATIENCE]:
                del self._unanswered[task]

    def _request_grants(self, until: float) -> None:
        """Request grants for the tasks that this supernode leads without one, so that others learn of it; the next heartbeat is due at
        `until`. Raises ClusterError."""
        with self._lock:
            ungranted = list(self._ungranted.items())
        for task, since in ungranted:
            began = time.monotonic()
            found = self._requests.run(partial(self._acquire_lead, task), REQUEST_TIMEOUT)
            with self._lock:
                if found is None and task in self._ungranted:
                    self._view.granted(task, began, time.monotonic())
                ungranted_since = self._ungranted.pop(task, None)
                if found is not None and ungranted_since is not None and began - since <= GRANT_PATIENCE:
                    self._ungranted[task] = ungranted_since  # behind the tasks that are not requested before the next heartbeat
            if began >= until:
                return

    def close(self) -> None:
        """Give up all leads at the end of the process, if Redis answers."""
        with self._wakeup:
            self._stopped = True
            self._wakeup.notify_all()
        with self._lock:
            reached = self._view.reached
        if reached:
            try:
                self._requests.run(lambda: self._scripts.leave(self.own.id), LEAVE_TIMEOUT)
            except ClusterError:
                return
            self._scripts.close()
