"""Which of the supernode's slots are in use: a lease from the supernode has one only while its client reads the bytes.

    waiting   the piece is not requested yet. The lease has a slot for PATIENCE seconds, longer while requests usually take longer, or while
              its download reads another piece (a pipelined request is handled when the response before it has been sent).
    flowing   the client read bytes less than PATIENCE seconds ago, or the supernode itself throttles it. The lease has a slot.
    lapsed    neither. The lease has no slot, uses no room of its host, and its claim ends: slot, room and piece are free for others. The
              lease continues; once bytes flow it has slot and room again.

A client (by address) that sends no request, or reads nothing for STALLED seconds, is idle for MARKED seconds: its new leases begin
as lapsed ones. A series of downloads that read nothing therefore does not block others, not even at the same address.

A lease that flows for longer than LATE times the task's mean piece time is late, and so are new leases of its client for MARKED
seconds. Late leases of one client count against others only within its share (`Task.used_by_others`): a client that reads a byte per second
leaves at least one slot to others.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from dfengine.supernode.swarm._state import Lease
from dfengine.supernode.swarm.deadlines import GRAIN, Deadlines
from dfengine.supernode.swarm.leases import Leases

PATIENCE, MAX_PATIENCE = 1.0, 2.0
"""Seconds from a grant to its request, minimum and maximum (adapted to measured times). The minimum is also the limit without a byte."""

STALLED = 2.0
"""Seconds without a byte after which a client is idle."""

PERIOD = 0.5
"""Seconds between two checks of a lease whose piece was requested."""

LATE, MIN_LATE = 8.0, 8.0
"""Multiple of the mean piece time, and minimum in seconds, after which a lease is late."""

MARKED = 60.0
"""Seconds for which a client is idle after a lapse, or its leases are late after a late one."""

MAX_MARKED = 4096
"""Maximum number of clients remembered for either; the oldest is forgotten first."""

BytesRead = Callable[[], int]
"""Returns the bytes that a client has read on a connection so far; negative while the supernode itself throttles it."""


class LeaseWatch:
    """One lease from the supernode. bytes_read: None until its piece is requested. last_read: its previous result.

    progress_at: when it last grew, seconds. bucket: of the next check.
    """

    __slots__ = ("bucket", "bytes_read", "lapsed", "last_read", "lease", "progress_at")

    def __init__(self, lease: Lease, lapsed: bool) -> None:
        self.lease = lease
        self.lapsed = lapsed
        self.bytes_read: BytesRead | None = None
        self.progress_at = lease.started
        self.last_read = self.bucket = 0


class SupernodeSlots:
    """Leases of all tasks. `Leases` reports each lease from the supernode, the download port each request for a piece."""

    def __init__(self, leases: Leases) -> None:
        self.patience = PATIENCE
        self._leases = leases
        self._watches: dict[Lease, LeaseWatch] = {}
        self._unrequested: dict[tuple[str, int], list[LeaseWatch]] = {}
        """(task, piece) -> leases that wait for their request, in the order of their grants."""
        self._checks: Deadlines[LeaseWatch] = Deadlines()
        self._idle: dict[str, float] = {}
        self._slow: dict[str, float] = {}
        """Idle clients, and clients with late leases -> until when, seconds."""
        self._mean = self._deviation = 0.0

    def granted(self, lease: Lease) -> bool:
        """Begin a lease from the supernode; True: it has a slot."""
        idle = self._idle.get(lease.download.peer.address, -inf) > lease.started
        watch = self._watches[lease] = LeaseWatch(lease, idle)
        self._unrequested.setdefault((lease.download.task.id, lease.n), []).append(watch)
        self._schedule_check(watch, lease.started + self.patience)
        return not watch.lapsed

    def released(self, lease: Lease) -> None:
        """End a lease from the supernode."""
        watch = self._watches.pop(lease)
        self._checks.discard(watch, watch.bucket)
        if watch.bytes_read is None:
            self._is_requested(watch)

    def requested(self, task_id: str, n: int, client: str, bytes_read: BytesRead, now: float) -> None:
        """Match a request for piece n, whose answer begins, to a lease: one of that client, else the oldest that waits for its request."""
        waiting = self._unrequested.get((task_id, n))
        if not waiting:
            return
        watch = next((watch for watch in waiting if watch.lease.download.peer.address == client), waiting[0])
        self._is_requested(watch)
        watch.bytes_read, watch.last_read, watch.progress_at = bytes_read, bytes_read(), now
        self._measure(now - watch.lease.started)
        if self._slow.get(watch.lease.download.peer.address, -inf) > now:
            self._leases.make_late(watch.lease)
        self._checks.discard(watch, watch.bucket)
        self._schedule_check(watch, now + PERIOD)

    def check(self, now: float, most: int) -> None:
        """Check the leases that are due, up to `most`; the rest stays due."""
        for watch in self._checks.due(now, most):
            lease = watch.lease
            _update(watch, now)
            if watch.progress_at == now and watch.lapsed:
                watch.lapsed = False
                if not (lease.ending or lease.download.is_straggler):
                    self._leases.use_slot(lease)
            elif watch.progress_at == now:
                self._note_late(lease, now)
            elif now - watch.progress_at >= PATIENCE and not self._reads_another(watch, now):
                self._lapse(watch, now)
            if watch.bytes_read is not None or not watch.lapsed:
                self._schedule_check(watch, now + (self.patience if watch.bytes_read is None else PERIOD))
        self._leases.watch_due = self._checks.soonest()

    def _reads_another(self, watch: LeaseWatch, now: float) -> bool:
        """Whether the lease waits for its request while the same download reads another piece."""
        if watch.bytes_read is not None:
            return False
        others = [self._watches[lease] for lease in watch.lease.download.running.values() if lease.source is None]
        return any(other.bytes_read is not None and now - other.progress_at < PATIENCE for other in others)

    def _lapse(self, watch: LeaseWatch, now: float) -> None:
        lease, download = watch.lease, watch.lease.download
        watch.lapsed = True
        if watch.bytes_read is None or now - watch.progress_at >= STALLED:
            _mark(self._idle, download.peer.address, now)
        if download.task.in_flight_claims[lease.n] is lease:
            download.task.end_claim(lease.n)
        self._leases.leave_room(lease)
        self._leases.free_slot(lease)

    def _note_late(self, lease: Lease, now: float) -> None:
        task, client = lease.download.task, lease.download.peer.address
        late = now - lease.started > max(MIN_LATE, LATE * task.piece_time)
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

    def _schedule_check(self, watch: LeaseWatch, when: float) -> None:
        watch.bucket = self._checks.add(watch, when)
        self._leases.watch_due = min(self._leases.watch_due, watch.bucket * GRAIN)

    def _measure(self, took: float) -> None:
        """Adapt `patience` to the seconds from a grant to its request."""
        self._mean += (took - self._mean) / 8
        self._deviation += (abs(took - self._mean) - self._deviation) / 4
        self.patience = min(MAX_PATIENCE, max(PATIENCE, self._mean + 4 * self._deviation))


def _update(watch: LeaseWatch, now: float) -> None:
    if watch.bytes_read is not None:
        taken = watch.bytes_read()
        if taken < 0 or taken > watch.last_read:
            watch.progress_at = now
        watch.last_read = taken


def _mark(clients: dict[str, float], client: str, now: float) -> None:
    clients.pop(client, None)
    clients[client] = now + MARKED
    if len(clients) > MAX_MARKED:
        del clients[next(iter(clients))]
