"""Which of the supernode's slots are in use: a lease from the supernode has one only while its client takes the bytes.

    waiting   nobody has requested the piece yet. It has a slot for PATIENCE seconds, longer while requests usually need longer, or while
              its download takes another piece (a pipelined request is read when the answer before it has been sent).
    flowing   the client took bytes less than PATIENCE seconds ago, or the supernode itself holds them back. It has a slot.
    lapsed    neither. It has no slot, takes no room of its host, and its claim ends: others get slot, room and piece. The lease stays;
              once bytes flow it has slot and room again.

A client (by address) that requests nothing, or takes nothing for STALLED seconds, is idle for MARKED seconds: its new leases begin
as lapsed ones. So a series of downloads that take nothing does not block the others, not even others at the same address.

A lease that flows for longer than LATE times the task's mean piece time is late, and so are new leases of its client for MARKED
seconds. Late leases of one client count against others only within its share (`Task.used_by_others`): a client that takes a byte a second
leaves at least one slot.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from dfengine.supernode.swarm._state import Lease
from dfengine.supernode.swarm.deadlines import GRAIN, Deadlines
from dfengine.supernode.swarm.leases import Leases

PATIENCE, MOST_PATIENCE = 1.0, 2.0
"""Seconds from a grant to its request, depending on how long requests take; seconds without a byte."""

STALLED = 2.0
"""Seconds without a byte after which a client is idle."""

PERIOD = 0.5
"""Seconds between two checks of a lease whose piece was requested."""

LATE, LEAST_LATE = 8.0, 8.0
"""A lease is late after so many mean piece times, and so many seconds at least."""

MARKED = 60.0
"""Seconds for which a client is idle after a lapse, or its leases are late after a late one."""

MOST_MARKED = 4096
"""Clients remembered for either; the oldest is forgotten first."""

Taken = Callable[[], int]
"""Bytes that a client has taken on a connection so far; negative while the supernode itself holds them back."""


class LeaseWatch:
    """One lease from the supernode. taken: None until its piece is requested; before: what it returned last; moved: when it grew, seconds.

    bucket: of the next check.
    """

    __slots__ = ("before", "bucket", "lapsed", "lease", "moved", "taken")

    def __init__(self, lease: Lease, lapsed: bool) -> None:
        self.lease = lease
        self.lapsed = lapsed
        self.taken: Taken | None = None
        self.moved = lease.started
        self.before = self.bucket = 0


class SupernodeSlots:
    """Of all tasks. `Leases` reports each lease from the supernode, the download port each request for a piece."""

    def __init__(self, leases: Leases) -> None:
        self.patience = PATIENCE
        self._leases = leases
        self._watches: dict[Lease, LeaseWatch] = {}
        self._unrequested: dict[tuple[str, int], list[LeaseWatch]] = {}
        """(task, piece) -> leases that wait for their request, in the order of their grants."""
        self._checks: Deadlines[LeaseWatch] = Deadlines()
        self._idle: dict[str, float] = {}
        self._slow: dict[str, float] = {}
        """Clients that are idle, and whose leases are late -> until when, seconds."""
        self._mean = self._deviation = 0.0

    def granted(self, lease: Lease) -> bool:
        """A lease from the supernode begins; True: it has a slot."""
        idle = self._idle.get(lease.download.peer.address, -inf) > lease.started
        watch = self._watches[lease] = LeaseWatch(lease, idle)
        self._unrequested.setdefault((lease.download.task.id, lease.n), []).append(watch)
        self._check_at(watch, lease.started + self.patience)
        return not watch.lapsed

    def released(self, lease: Lease) -> None:
        """A lease from the supernode has ended."""
        watch = self._watches.pop(lease)
        self._checks.discard(watch, watch.bucket)
        if watch.taken is None:
            self._is_requested(watch)

    def requested(self, task_id: str, n: int, client: str, taken: Taken, now: float) -> None:
        """The answer to a request for piece n begins. If that client has no waiting lease of it, it counts for the oldest waiting one."""
        waiting = self._unrequested.get((task_id, n))
        if not waiting:
            return
        watch = next((watch for watch in waiting if watch.lease.download.peer.address == client), waiting[0])
        self._is_requested(watch)
        watch.taken, watch.before, watch.moved = taken, taken(), now
        self._measure(now - watch.lease.started)
        if self._slow.get(watch.lease.download.peer.address, -inf) > now:
            self._leases.make_late(watch.lease)
        self._checks.discard(watch, watch.bucket)
        self._check_at(watch, now + PERIOD)

    def check(self, now: float, most: int) -> None:
        """Check the leases that are due, up to `most`; the rest stays due."""
        for watch in self._checks.due(now, most):
            lease = watch.lease
            _update(watch, now)
            if watch.moved == now and watch.lapsed:
                watch.lapsed = False
                if not (lease.ending or lease.download.is_straggler):
                    self._leases.use_slot(lease)
            elif watch.moved == now:
                self._note_late(lease, now)
            elif now - watch.moved >= PATIENCE and not self._takes_another(watch, now):
                self._lapse(watch, now)
            if watch.taken is not None or not watch.lapsed:
                self._check_at(watch, now + (self.patience if watch.taken is None else PERIOD))
        self._leases.watch_due = self._checks.soonest()

    def _takes_another(self, watch: LeaseWatch, now: float) -> bool:
        """The lease waits for its request, while the same download takes another piece."""
        if watch.taken is not None:
            return False
        others = [self._watches[lease] for lease in watch.lease.download.running.values() if lease.source is None]
        return any(other.taken is not None and now - other.moved < PATIENCE for other in others)

    def _lapse(self, watch: LeaseWatch, now: float) -> None:
        lease, download = watch.lease, watch.lease.download
        watch.lapsed = True
        if watch.taken is None or now - watch.moved >= STALLED:
            _mark(self._idle, download.peer.address, now)
        if download.task.in_flight_claims[lease.n] is lease:
            download.task.end_claim(lease.n)
        self._leases.leave_room(lease)
        self._leases.free_slot(lease)

    def _note_late(self, lease: Lease, now: float) -> None:
        task, client = lease.download.task, lease.download.peer.address
        late = now - lease.started > max(LEAST_LATE, LATE * task.piece_time)
        if late:
            _mark(self._slow, client, now)
        if late or self._slow.get(client, -inf) > now:
            self._leases.make_late(lease)

    def _is_requested(self, watch: LeaseWatch) -> None:
        key = watch.lease.download.task.id, watch.lease.n
        waiting = self._unrequested[key]
        waiting.remove(watch)
        if not waiting:
            del self._unrequested[key]

    def _check_at(self, watch: LeaseWatch, when: float) -> None:
        watch.bucket = self._checks.add(watch, when)
        self._leases.watch_due = min(self._leases.watch_due, watch.bucket * GRAIN)

    def _measure(self, took: float) -> None:
        """Seconds from a grant to its request."""
        self._mean += (took - self._mean) / 8
        self._deviation += (abs(took - self._mean) - self._deviation) / 4
        self.patience = min(MOST_PATIENCE, max(PATIENCE, self._mean + 4 * self._deviation))


def _update(watch: LeaseWatch, now: float) -> None:
    if watch.taken is not None:
        taken = watch.taken()
        if taken < 0 or taken > watch.before:
            watch.moved = now
        watch.before = taken


def _mark(clients: dict[str, float], client: str, now: float) -> None:
    clients.pop(client, None)
    clients[client] = now + MARKED
    if len(clients) > MOST_MARKED:
        del clients[next(iter(clients))]
