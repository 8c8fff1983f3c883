"""A joined stream: this host's leader, a stream or a download into a file, fetches the pieces; the next few are copied into own memory.

They are copied, not delivered from the leader's place, because a leading stream evicts pieces at any time, and any program may change a
finished file: bytes that a pipe or a program has received cannot be taken back. Each copy is compared with the leader's digest, so a
piece that was evicted or changed meanwhile is not used. Pieces of a leader that has ended can be copied as long as this process has
its memory or file open. A leader that fetches in any order is told which pieces are next.
"""

from __future__ import annotations

import time
from functools import partial

from dfengine.client.copying import PieceCopier
from dfengine.client.heartbeat import SILENT
from dfengine.client.leader_page_waiter import RECHECK, LeaderPageWaiter
from dfengine.client.leader_place import LeaderPlace, Unusable
from dfengine.client.monitor import TICK
from dfengine.streaming import leader_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.host_leader_client import HostLeaderClient
    from dfengine.client.monitor import Monitor
    from dfengine.client.transfer import Transfer
    from dfengine.streaming.stream_buffer import StreamBuffer

PIECES_AHEAD = 4
"""Pieces that are copied before the consumer takes them, at most the window's."""

PAUSED = 3.0
"""Seconds at the end of the leader's window after which another stream leads: the leader's consumer does not read."""

AFTER = 2.0
"""Seconds by which a stream that does not hash the file reports a silent leader later than the streams that do."""


class StreamFromLeader:
    """Copies pieces for one stream, on its download thread."""

    def __init__(self, joining: HostLeaderClient, memory: StreamBuffer, monitor: Monitor) -> None:
        self._joining = joining
        self._memory = memory
        self._monitor = monitor

    def run(self) -> bool:
        """Return True if every piece was copied; False: this stream leads or continues alone, from the next piece. Raises StorageError."""
        joining, copier = self._joining, None
        while joining.joined and not joining.done and not (copier is not None and copier.over.is_set()):
            self._monitor.check(self._memory.transfer)
            leader = joining.place
            if copier is not None:
                copier.awaiting_leader = leader is None
            if leader is not None and (copier is None or leader is not copier.leader):
                if not _usable(leader):
                    break
                if copier is None:
                    copier = self._begin(leader)
                elif not leader.generation or leader.generation != copier.leader.generation:  # b"" names no version
                    break
                copier.follow(leader, joining.slot)
            if copier is not None and leader is not None and copier.paused is leader:
                joining.report()
            if copier is not None and (length := copier.length) >= 0:
                copier.transfer.learn_length(length)
            joining.receive(TICK)
        if copier is None and joining.done and joining.place is not None and _usable(joining.place):
            copier = self._begin(joining.place)
        if copier is None:
            if joining.joined:
                joining.resign()
            return False
        copier.finish()
        while not copier.over.is_set():
            self._monitor.check(copier.transfer)
            if copier.length >= 0:
                copier.transfer.learn_length(copier.length)
            if copier.can_copy_rest and (joining.leads or joining.joined) and not self._memory.delegated:
                joining.resign()
            joining.receive(TICK)
        if self._memory.delegated:
            self._await_delegated_digests(copier)
        if not copier.transfer.finished:
            if joining.joined:
                joining.resign()
            return False
        # Joined streams may wait for this one's digests.
        if not (joining.leads and self._memory.algorithms):
            joining.resign()
        return True

    def _begin(self, leader: LeaderPlace) -> StreamCopier:
        memory, joining = self._memory, self._joining
        memory.delegated = memory.algorithms if leader_digest.can_delegate(leader, joining.slot, memory.algorithms) else []
        joining.patience = SILENT + AFTER if memory.delegated else SILENT
        copier = StreamCopier(leader, memory.open(leader.file.geometry, leader.generation), joining)
        memory.leaders, joining.waiting = copier.places, copier.waiting
        copier.transfer.start(copier.run, "join")
        return copier

    def _await_delegated_digests(self, copier: StreamCopier) -> None:
        """Wait for the leader's digests after every piece was copied, while it leads; else compute them if pieces are still available."""
        memory, joining, transfer = self._memory, self._joining, copier.transfer
        joining.waiting = None
        while transfer.finished:
            memory.delegated_digests = leader_digest.published_digests(copier.places, transfer.file.record, memory.delegated)
            leader = joining.place
            if memory.delegated_digests or not joining.joined or joining.done:
                break
            if leader is not None:
                copier.follow(leader, joining.slot)
                if not set(memory.delegated) <= set(leader.algorithms):
                    break
            self._monitor.check(transfer)
            joining.receive(TICK)
        if not memory.delegated_digests:
            record, past = transfer.file.record, copier.copied
            check = partial(self._monitor.check, transfer)
            hashes = leader_digest.hash_from_places(copier.places, record, past, memory.algorithms, check)
            if hashes is not None:
                memory.continue_hashing(past, hashes)


def _usable(leader: LeaderPlace) -> bool:
    try:
        return leader.trusted
    except Unusable:
        return False


class StreamCopier(LeaderPageWaiter):
    """Copies the next pieces from the place of `leader`, or of an earlier leader."""

    def __init__(self, leader: LeaderPlace, transfer: Transfer, joining: HostLeaderClient) -> None:
        super().__init__(transfer, leader.page, joining.wake)
        self.leader = leader
        self.places = [leader]
        self.copied = transfer.plan.window.una
        """Number of pieces that were copied, from the first one on."""
        self._slot = joining.slot
        self._joining = joining
        self._pieces = PieceCopier(transfer)
        self._starved = 0.0
        self.paused: LeaderPlace | None = None
        """The leader whose window has ended at the next piece for PAUSED."""
        self.awaiting_leader = False
        """Whether the leader has ended and the next one has no place yet."""
        self.can_copy_rest = False
        """After `finish`: whether leaders have left all missing pieces."""
        self._broken: set[tuple[LeaderPlace, int]] = set()
        """Pieces that differ from their record."""
        self._wanted: tuple[LeaderPlace, list[int]] | None = None

    @property
    def length(self) -> int:
        """Length of the file in bytes; -1: unknown to the leader."""
        return self.leader.file.geometry.length

    def waiting(self) -> tuple[bool, int]:
        """See HostLeaderClient: this stream waits when its consumer has taken all copied pieces."""
        return self.transfer.plan.window.una >= self.copied, self.copied

    def follow(self, leader: LeaderPlace, slot: int) -> None:
        """Follow a new leader. slot: this download's in the leader's page of signals."""
        self._slot = slot
        if leader is not self.leader:
            self.places.insert(0, leader)
            self.leader, self.page = leader, leader.page

    def work(self) -> None:
        """Copy until all pieces are copied, `finish`, or no leader has the next piece any more. After `finish`, copy the window's available
        pieces, or all missing pieces if they are available.
        """
        transfer = self.transfer
        n, wnd = transfer.plan.window.una, transfer.plan.window.wnd
        ahead = min(PIECES_AHEAD, wnd) if wnd >= 0 else PIECES_AHEAD
        while not (transfer.stopping or transfer.finished):
            if 0 <= transfer.plan.window.count <= n:
                return
            ends, leader = self.finishing, self.leader
            changes = leader.page.changes
            self.can_copy_rest = self.can_copy_rest or (ends and self._has_rest(n))
            if ends and not self.can_copy_rest:
                if n >= transfer.plan.window.end:
                    return
            elif not transfer.await_una(n - ahead + 1, RECHECK):
                continue
            if not leader.file.evicts:
                self._request_pieces(leader, n)
            if any(self._copy(place, n) for place in list(self.places)):
                self._starved, self.copied, n = 0.0, n + 1, n + 1
            elif ends or (self._unavailable(leader, n) and not self.awaiting_leader):
                return
            else:
                if leader.file.evicts:
                    self._check_window(leader, n)
                leader.page.wait(changes, RECHECK)

    def _request_pieces(self, leader: LeaderPlace, n: int) -> None:
        """Name the next pieces to a leader that fetches in any order, if it lacks some of them."""
        count = self.transfer.plan.window.count
        wanted = [m for m in range(n, n + PIECES_AHEAD) if not (0 <= count <= m or self._holds(leader, m))]
        if wanted and (self._wanted is None or self._wanted[0] is not leader or not set(wanted) <= set(self._wanted[1])):
            self._wanted = leader, wanted
            leader.page.want(self._slot, wanted)

    def _has_rest(self, n: int) -> bool:
        count = self.transfer.plan.window.count
        return 0 <= count <= n or (count >= 0 and all(any(self._holds(place, m) for place in self.places) for m in range(n, count)))

    @staticmethod
    def _holds(place: LeaderPlace, n: int) -> bool:
        try:
            return place.holds(n)
        except Unusable:
            return False

    def _unavailable(self, leader: LeaderPlace, n: int) -> bool:
        """Whether piece n is no longer available from the leader."""
        if (leader, n) in self._broken or not _usable(leader):
            return True
        return leader.file.evicts and n < leader.page.una and not self._holds(leader, n)

    def _check_window(self, leader: LeaderPlace, n: int) -> None:
        """Set `paused` if the leader's consumer pauses, so that piece n is not fetched."""
        now = time.monotonic()
        if n < leader.page.end or not self._starved:
            self._starved = now
        elif now - self._starved > PAUSED + self._joining.patience - SILENT:
            self.paused = leader

    def _copy(self, place: LeaderPlace, n: int) -> bool:
        """Copy piece n; return False if `place` does not have it (any more). Raises StorageError for this stream's own memory."""
        if (place, n) in self._broken:
            return False
        try:
            if not place.holds(n) or not place.trusted:
                return False
            place.file.record.used.set(n)
            return self._pieces.copy(place, n)
        except Unusable:
            self._broken.add((place, n))
            return False
