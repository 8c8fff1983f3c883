"""A stream whose pieces this host's leading stream fetches: the next few are copied from the leader's memory into its own.

They are copied, and not delivered from where they lie, because the leader evicts pieces at any time, and what a pipe or a program has
been given cannot be taken back. Each copy is compared with the leader's digest, so a piece that was evicted meanwhile is not taken. What a
leader that has ended leaves can be copied as long as this process holds its memory.
"""

from __future__ import annotations

import threading
import time

import xxhash

from dfengine.client.watch import TICK
from dfengine.errors import StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.joining import Joining
    from dfengine.client.leader_place import LeaderPlace
    from dfengine.client.transfer import Transfer
    from dfengine.client.watch import Watch
    from dfengine.streaming.memory import Memory

AHEAD = 4
"""Pieces that are copied before the consumer takes them."""

LOOK = 0.5
"""Seconds after which one that waits for a change looks by itself."""

PAUSED = 3.0
"""Seconds at the end of the leader's window after which this stream goes on alone: the leader's consumer does not read."""


class JoinedStream:
    """Of one stream, on its engine's thread."""

    def __init__(self, joining: Joining, memory: Memory, watch: Watch) -> None:
        self._joining = joining
        self._memory = memory
        self._watch = watch

    def run(self) -> bool:
        """True: every piece was copied. False: this stream leads now, or goes on alone, from the next piece on. Raises StorageError."""
        joining, copier = self._joining, None
        while joining.joined and not (copier is not None and copier.over.is_set()):
            self._watch.check(self._memory.transfer)
            leader = joining.place
            if copier is not None:
                copier.between = leader is None
            if leader is not None and (copier is None or leader is not copier.leader):
                try:
                    usable = leader.file.evicts and leader.trusted
                except StorageError:
                    usable = False
                if not usable:
                    break
                if copier is None:
                    copier = Copier(leader, self._memory.open(leader.file.geometry, leader.generation), joining)
                    copier.transfer.start(copier.run, "join")
                elif leader.generation != copier.leader.generation:
                    break
                copier.follow(leader)
            if copier is not None and (length := copier.length) >= 0:
                copier.transfer.learn_length(length)
            joining.hear(TICK)
        if copier is None:
            if joining.joined:
                joining.pass_on()
            return False
        copier.finish()
        while not copier.over.is_set():
            self._watch.check(copier.transfer)
            if copier.rest and (joining.leads or joining.joined):
                joining.pass_on()
            joining.hear(TICK)
        if joining.joined or copier.transfer.finished:
            joining.pass_on()
        return copier.transfer.finished


class Copier:
    """A thread that copies the next pieces from the `leader`'s memory, or from that of a leader before."""

    def __init__(self, leader: LeaderPlace, transfer: Transfer, joining: Joining) -> None:
        self.leader = leader
        self.transfer = transfer
        self._places = [leader]
        self._joining = joining
        self._ends = False
        self._starved = 0.0
        self.between = False
        """The leader has gone, and the next one has nothing yet."""
        self.rest = False
        """After `finish`: all that is missing lies in memory that a leader has left."""
        self._buffer = memoryview(bytearray(leader.file.geometry.content_size))
        self.over = threading.Event()

    @property
    def length(self) -> int:
        """Bytes of the file, as far as a leader knows; -1 unknown."""
        return self.leader.file.geometry.length

    def follow(self, leader: LeaderPlace) -> None:
        """It leads now."""
        if leader is not self.leader:
            self._places.insert(0, leader)
            self.leader = leader

    def finish(self) -> None:
        """What is there of the window is copied, or all if that is there, and no other piece is waited for any more."""
        self._ends = True
        self.leader.page.wake()

    def run(self) -> None:
        """Until all is copied, `finish`, or a piece that no leader has any more."""
        transfer = self.transfer
        try:
            n = transfer.plan.window.una
            while not (transfer.stopping or transfer.finished):
                if 0 <= transfer.plan.window.count <= n:
                    return
                ends, page = self._ends, self.leader.page
                changes = page.changes
                self.rest = self.rest or (ends and self._has_rest(n))
                if ends and not self.rest:
                    if n >= transfer.plan.window.end:
                        return
                elif not transfer.await_una(n - AHEAD + 1, LOOK):
                    continue
                if any(self._copy(place, n) for place in list(self._places)):
                    self._starved, n = 0.0, n + 1
                elif ends or (self._lost(n) and not self.between):
                    return
                else:
                    page.wait(changes, LOOK)
        except BaseException as error:
            transfer.fail(error)
        finally:
            self.over.set()
            self._joining.wake()

    def _has_rest(self, n: int) -> bool:
        count = self.transfer.plan.window.count
        return 0 <= count <= n or (count >= 0 and all(any(self._holds(place, m) for place in self._places) for m in range(n, count)))

    @staticmethod
    def _holds(place: LeaderPlace, n: int) -> bool:
        record = place.file.record
        return n < record.capacity and record.holds(n, n + 1)

    def _lost(self, n: int) -> bool:
        """The leader has piece n no more, or will not have it soon."""
        page, now = self.leader.page, time.monotonic()
        if n < page.una:
            return not self.leader.file.record.holds(n, n + 1)
        self._starved = self._starved or now
        if n < page.end:
            self._starved = now
        return now - self._starved > PAUSED

    def _copy(self, place: LeaderPlace, n: int) -> bool:
        """Piece n is here now; False: it is not there, or not any more. Raises StorageError of this stream's own memory."""
        try:
            record = place.file.record
            if not self._holds(place, n) or not place.trusted:
                return False
            content = self._buffer[: place.file.read_into(n, self._buffer)]
            digest = xxhash.xxh3_128_digest(content)
            record.used.set(n)
            if digest != record.digest(n) or not place.trusted:
                return False
        except StorageError:
            return False
        self.transfer.file.put(n, 0, content)
        self.transfer.keep_copied(n, len(content), digest)
        return True
