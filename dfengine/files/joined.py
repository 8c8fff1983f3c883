"""An open file whose pieces this host's leader fetches: its readers read from the leader's memory or file, and no byte is copied.

What readers wait for is named in the leader's page of signals. When the leader that owns the place has ended, the next leader fetches
into the same place, since nobody else writes there any more. A leader that does not run may run again, and write, even when another one
has led and ended meanwhile: then the next leader copies the pieces that are here into a place of its own, and the others read from there,
once it has every piece that they have seen.
"""

from __future__ import annotations

import contextlib
from functools import partial

from dfengine._bitset import Bitset
from dfengine.client.leader_place import Unusable
from dfengine.client.page_waiter import RECHECK, PageWaiter
from dfengine.client.watch import TICK
from dfengine.storage.signal_page import SLOTS, WANTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.joining import Joining
    from dfengine.client.leader_place import LeaderPlace
    from dfengine.client.on_demand import TransferOnDemand
    from dfengine.client.watch import Watch
    from dfengine.files.place import FilePlace

PARKED = 30.0
"""Seconds after which a thread that waits for a change checks by itself while no reader waits."""

URGENT = 16
"""Pieces at the head of what readers want that the leader must know of."""


class JoinedPlace:
    """Of one open file, on its engine's thread."""

    def __init__(self, joining: Joining, place: FilePlace, watch: Watch) -> None:
        self._joining = joining
        self._place = place
        self._watch = watch
        self._named: set[int] = set()
        self._seen = Bitset(0)
        self._owner = -1
        """Number of the leader whose place it is where the readers read."""

    def run(self) -> bool:
        """True: every piece is here. False: this download leads now, or goes on alone, with what is here. Raises StorageError."""
        joining = self._joining
        transfer: TransferOnDemand | None = None
        while joining.joined and not joining.leads and not (transfer is not None and transfer.finished):
            self._watch.check(transfer)
            leader = joining.place
            if leader is None:
                joining.receive(RECHECK, transfer.wakeup if transfer is not None else None)
                continue
            with contextlib.suppress(Unusable):
                transfer = transfer or self._begin(leader)
                if transfer is not None and self._moves_to(leader, transfer):
                    self._follow(leader, transfer)
            if joining.place is leader and not joining.leads and not (transfer is not None and transfer.finished):
                joining.pass_on()
        if transfer is None:
            return False
        if transfer.finished:
            self._place.borrow(joining, self._watch)
            # Its engine ends here, and hears of nothing any more.
            if not joining.leads:
                joining.pass_on()
            return True
        self._place.take_over(joining.leads and joining.left == self._owner >= 0)
        self._tell(transfer)
        if not joining.leads:
            joining.pass_on()
        return False

    def _begin(self, leader: LeaderPlace) -> TransferOnDemand | None:
        """None: what the leader has cannot be shared. Raises Unusable."""
        if not (self._asks and leader.trusted and self._place.shares(leader.file)):
            return None
        leader.taken, self._owner = True, leader.leader
        self._place.lend(leader)
        transfer = self._place.adopt(leader.file)
        self._seen = Bitset(len(transfer.file.here))
        return transfer

    @property
    def _asks(self) -> bool:
        """Its wanted pieces reach the leader, which fetches nothing else: of more than SLOTS downloads those beyond go on alone."""
        return 0 <= self._joining.slot < SLOTS

    def _moves_to(self, leader: LeaderPlace, transfer: TransferOnDemand) -> bool:
        """Readers read from this leader's place from now on, if it has, or gets, all that they have seen. Raises Unusable."""
        joining, here, there = self._joining, transfer.file, leader.file
        if there is here:
            return True
        same = leader.generation == here.record.generation and there.geometry.piece_size == here.geometry.piece_size
        if not (self._asks and same) or there.evicts or there.in_memory != here.in_memory:
            return False
        joining.waiting = partial(waiting, transfer)
        while joining.joined and not joining.leads and joining.place is leader:
            self._watch.check(transfer)
            if not leader.trusted:
                return False
            there_now = there.here
            missing = [n for n in self._seen if n >= len(there_now) or n not in there_now]
            if not missing:
                transfer.move(there)
                leader.taken, leader.file, self._owner = True, here, leader.leader
                return True
            leader.page.want(joining.slot, [*missing, *transfer.wanted_pieces()][:WANTED])
            joining.receive(TICK, transfer.wakeup)
        return False

    def _follow(self, leader: LeaderPlace, transfer: TransferOnDemand) -> None:
        """Until the leader is another one, or does not run, or every piece is here."""
        joining = self._joining
        bits = Bits(leader, transfer, self._tell)
        joining.waiting = partial(waiting, transfer)
        self._named.clear()
        transfer.start(bits.run, "join", fetches=False)
        try:
            while not bits.over.is_set():
                self._watch.check(transfer)
                if not joining.joined or joining.place is not leader or bits.broken:
                    bits.finish()
                else:
                    self._name(leader, transfer)
                    if (length := transfer.file.geometry.length) >= 0:
                        transfer.learn_length(length)
                joining.receive(TICK if bits.ends else PARKED if transfer.parked else RECHECK, transfer.wakeup)
        finally:
            bits.end()

    def _name(self, leader: LeaderPlace, transfer: TransferOnDemand) -> None:
        """Tell the leader what readers want, if it does not know the most urgent pieces."""
        wanted = transfer.wanted_pieces()[:WANTED]
        if wanted and self._named.issuperset(wanted[:URGENT]):
            return
        if wanted or self._named:
            self._named = set(wanted)
            leader.page.want(self._joining.slot, wanted)

    def _tell(self, transfer: TransferOnDemand) -> None:
        """Report pieces that are here to the transfer, once each. By one thread at a time."""
        file, seen = transfer.file, self._seen
        here = file.here
        n = seen.first_clear()
        while n >= 0 and (n := here.first_set(n)) >= 0:
            if n not in seen:
                seen.set(n)
                transfer.keep_shared(n, file.geometry.content(n)[1])
            n = seen.first_clear(n)


def waiting(transfer: TransferOnDemand) -> tuple[bool, int]:
    """See Joining."""
    return not transfer.parked, transfer.plan.here


class Bits(PageWaiter):
    """Reports by `tell` to the transfer which pieces are here, until every piece is."""

    def __init__(self, leader: LeaderPlace, transfer: TransferOnDemand, tell: Callable[[TransferOnDemand], None]) -> None:
        super().__init__(transfer, leader.page, transfer.wake)
        self._leader = leader
        self._report = partial(tell, transfer)
        self.broken = False

    def work(self) -> None:
        """See PageWaiter."""
        transfer, page = self.transfer, self.page
        while not transfer.stopping:
            ends, changes = self.ends, page.changes
            try:
                self.broken = not self._leader.trusted
            except Unusable:
                self.broken = True
            if not self.broken:
                self._report()
            if ends or self.broken or transfer.finished:
                return
            page.wait(changes, PARKED if transfer.parked else RECHECK)
