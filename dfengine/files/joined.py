"""An open file whose pieces this host's leader fetches: its readers read from the leader's memory, and no byte is copied.

What readers wait for is named in the leader's page of signals. When the leader has ended, whoever leads then fetches into the same memory,
since nobody else writes there any more. A leader that does not run may run again, and write: then the pieces are copied into own memory,
and this download goes on alone.
"""

from __future__ import annotations

import os
import threading

from dfengine._bitset import Bitset
from dfengine.client.leader_place import Unusable
from dfengine.client.watch import TICK
from dfengine.storage.memory_file import MemoryFile
from dfengine.storage.signal_page import WANTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.joining import Joining
    from dfengine.client.leader_place import LeaderPlace
    from dfengine.client.on_demand import TransferOnDemand
    from dfengine.client.watch import Watch
    from dfengine.files.place import FilePlace

LOOK, PARKED = 1.0, 30.0
"""Seconds after which one that waits for a change looks by itself, while readers wait and while none does."""

ENDING = 5.0
"""Seconds for the thread that waits in the leader's page to end."""

URGENT = 16
"""Pieces at the head of what readers want that the leader must know of."""


class JoinedMemory:
    """Of one open file, on its engine's thread."""

    def __init__(self, joining: Joining, place: FilePlace, watch: Watch) -> None:
        self._joining = joining
        self._place = place
        self._watch = watch
        self._named: set[int] = set()
        self._seen: Bitset | None = None

    def run(self) -> bool:
        """True: every piece is here. False: this download leads now, or goes on alone, with what is here. Raises StorageError."""
        joining = self._joining
        transfer: TransferOnDemand | None = None
        while joining.joined and not joining.leads:
            self._watch.check(transfer)
            leader = joining.place
            if leader is None:
                joining.hear(LOOK, transfer.wakeup if transfer is not None else None)
            elif transfer is None:
                transfer = self._begin(leader)
                if transfer is None:
                    joining.pass_on()
            elif self._same_memory(leader, transfer):
                self._follow(leader, transfer)
            else:
                joining.pass_on()
        if transfer is None:
            return False
        if not transfer.finished and not (joining.leads and joining.left):
            assert isinstance(transfer.file, MemoryFile)
            transfer.file.move()
            if not joining.leads:
                joining.pass_on()
        if not transfer.finished:
            return False
        # Its engine ends here, and hears of nothing any more.
        joining.pass_on()
        return True

    def _begin(self, leader: LeaderPlace) -> TransferOnDemand | None:
        """None: what the leader has cannot be shared."""
        try:
            if not isinstance(leader.file, MemoryFile) or not leader.trusted:
                return None
        except Unusable:
            return None
        leader.taken = True
        return self._place.adopt(leader.file)

    @staticmethod
    def _same_memory(leader: LeaderPlace, transfer: TransferOnDemand) -> bool:
        return os.path.samestat(os.fstat(leader.file.fd), os.fstat(transfer.file.fd))

    def _follow(self, leader: LeaderPlace, transfer: TransferOnDemand) -> None:
        """Until the leader is another one, or does not run, or every piece is here."""
        joining = self._joining
        self._seen = self._seen or Bitset(len(transfer.file.here))
        bits = Bits(leader, transfer, self._seen)
        self._named.clear()
        transfer.start(bits.run, "join")
        try:
            while not bits.over.is_set():
                self._watch.check(transfer)
                if not joining.joined or joining.place is not leader or bits.broken:
                    bits.finish()
                else:
                    self._name(leader, transfer)
                    if (length := transfer.file.geometry.length) >= 0:
                        transfer.learn_length(length)
                joining.hear(TICK if bits.ends else PARKED if transfer.parked else LOOK, transfer.wakeup)
        finally:
            # It may be just about to wait when it is woken.
            for _ in range(int(ENDING / TICK)):
                bits.finish()
                if bits.over.wait(TICK):
                    break
        if joining.joined and joining.place is leader:
            joining.pass_on()
            self._named.clear()

    def _name(self, leader: LeaderPlace, transfer: TransferOnDemand) -> None:
        """Tell the leader what readers want, if it does not know the most urgent pieces."""
        wanted = transfer.wishes()[:WANTED]
        if wanted and self._named.issuperset(wanted[:URGENT]):
            return
        if wanted or self._named:
            self._named = set(wanted)
            leader.page.want(self._joining.slot, wanted)


class Bits:
    """A thread that tells the transfer which pieces are here. seen: those that it knows of."""

    def __init__(self, leader: LeaderPlace, transfer: TransferOnDemand, seen: Bitset) -> None:
        self._leader = leader
        self._transfer = transfer
        self._seen = seen
        self.ends = False
        self.broken = False
        self.over = threading.Event()

    def run(self) -> None:
        """Until every piece is here, or `finish`, or the transfer's end."""
        transfer, page = self._transfer, self._leader.page
        try:
            while not transfer.stopping:
                ends, changes = self.ends, page.changes
                try:
                    self.broken = not self._leader.trusted
                except Unusable:
                    self.broken = True
                if not self.broken:
                    self._look()
                if ends or self.broken or transfer.finished:
                    return
                page.wait(changes, PARKED if transfer.parked else LOOK)
        except BaseException as error:
            transfer.fail(error)
        finally:
            self.over.set()
            transfer.wake()

    def finish(self) -> None:
        """What is here now is told, and nothing is waited for any more."""
        self.ends = True
        self._leader.page.wake()

    def _look(self) -> None:
        file, seen = self._transfer.file, self._seen
        here = file.here
        n = seen.first_clear()
        while n >= 0 and (n := here.first_set(n)) >= 0:
            if n not in seen:
                seen.set(n)
                self._transfer.keep_shared(n, file.geometry.content(n)[1])
            n = seen.first_clear(n)
