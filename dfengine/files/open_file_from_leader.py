"""A joined open file: this host's leader fetches, and readers read from the leader's memory or file without a copy.

The pieces that readers wait for are named in the leader's page of signals. When the leader that owns the place has ended, the next leader
fetches into the same place, since no other process writes there any more. A leader that is only stopped may resume and write, even after
another download has led and ended. In that case the next leader copies the stored pieces into a place of its own, and the others
read from there once it has every piece that they have seen.
"""

from __future__ import annotations

import contextlib
from functools import partial

from dfengine._bitset import Bitset
from dfengine.client.leader_page_waiter import RECHECK, LeaderPageWaiter
from dfengine.client.leader_place import Unusable
from dfengine.client.monitor import PARKED, TICK
from dfengine.storage.signal_page import SLOTS, WANTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.host_leader_client import HostLeaderClient
    from dfengine.client.leader_place import LeaderPlace
    from dfengine.client.monitor import Monitor
    from dfengine.client.on_demand import TransferOnDemand
    from dfengine.files.open_file_storage import OpenFileStorage

URGENT = 16
"""Most urgent wanted pieces that must have been named to the leader."""


class OpenFileFromLeader:
    """Follows a leader for one open file, on its download thread."""

    def __init__(self, joining: HostLeaderClient, place: OpenFileStorage, monitor: Monitor) -> None:
        self._joining = joining
        self._place = place
        self._monitor = monitor
        self._named: set[int] = set()
        self._seen = Bitset(0)
        self._owner = -1
        """Number of the leader that owns the place from which readers read."""

    def run(self) -> bool:
        """Return True if every piece is stored; False: this download leads or continues alone with its pieces. Raises StorageError."""
        joining = self._joining
        transfer: TransferOnDemand | None = None
        while joining.joined and not joining.leads and not (transfer is not None and transfer.finished):
            self._monitor.check(transfer)
            leader = joining.place
            if leader is None:
                joining.receive(RECHECK, transfer.wakeup if transfer is not None else None)
                continue
            with contextlib.suppress(Unusable):
                transfer = transfer or self._begin(leader)
                if transfer is not None and self._moves_to(leader, transfer):
                    self._follow(leader, transfer)
            if joining.place is leader and not joining.leads and not (transfer is not None and transfer.finished):
                joining.resign()
        if transfer is None:
            return False
        if transfer.finished:
            self._place.await_delegated_digests(joining, self._monitor)
            # The download thread ends now, and would process no further message of the peer server.
            if not joining.leads:
                joining.resign()
            return True
        self._place.take_over(joining.leads and joining.ended_leader == self._owner >= 0)
        self._report_stored(transfer)
        if not joining.leads:
            joining.resign()
        return False

    def _begin(self, leader: LeaderPlace) -> TransferOnDemand | None:
        """Adopt the leader's place. None: it cannot be shared. Raises Unusable."""
        if not (self._has_slot and leader.trusted and self._place.can_share(leader.file)):
            return None
        leader.detached, self._owner = True, leader.leader
        self._place.delegate_digests(leader)
        transfer = self._place.adopt(leader.file)
        self._seen = Bitset(len(transfer.file.available))
        return transfer

    @property
    def _has_slot(self) -> bool:
        """Whether this download has a slot to name wanted pieces; a leader fetches no others. Downloads beyond SLOTS continue alone."""
        return 0 <= self._joining.slot < SLOTS

    def _moves_to(self, leader: LeaderPlace, transfer: TransferOnDemand) -> bool:
        """Move readers to this leader's place, once it has every piece that they have seen. Return whether they moved. Raises Unusable."""
        joining, here, there = self._joining, transfer.file, leader.file
        if there is here:
            return True
        same = leader.generation == here.record.generation != b"" and there.geometry.piece_size == here.geometry.piece_size
        if not (self._has_slot and same) or there.evicts or there.in_memory != here.in_memory:
            return False
        joining.waiting = partial(waiting, transfer)
        while joining.joined and not joining.leads and joining.place is leader:
            self._monitor.check(transfer)
            if not leader.trusted:
                return False
            there_now = there.available
            missing = [n for n in self._seen if n >= len(there_now) or n not in there_now]
            if not missing:
                transfer.move(there)
                leader.detached, leader.file, self._owner = True, here, leader.leader
                return True
            leader.page.want(joining.slot, [*missing, *transfer.wanted_pieces()][:WANTED])
            joining.receive(TICK, transfer.wakeup)
        return False

    def _follow(self, leader: LeaderPlace, transfer: TransferOnDemand) -> None:
        """Follow until the leader changes or does not run, or every piece is stored."""
        joining = self._joining
        reporter = ProgressReporter(leader, transfer, self._report_stored)
        joining.waiting = partial(waiting, transfer)
        self._named.clear()
        transfer.start(reporter.run, "join", fetches=False)
        try:
            while not reporter.over.is_set():
                self._monitor.check(transfer)
                if not joining.joined or joining.place is not leader or reporter.broken:
                    reporter.finish()
                else:
                    self._request_pieces(leader, transfer)
                    if (length := transfer.file.geometry.length) >= 0:
                        transfer.learn_length(length)
                joining.receive(TICK if reporter.finishing else PARKED if transfer.parked else RECHECK, transfer.wakeup)
        finally:
            reporter.end()

    def _request_pieces(self, leader: LeaderPlace, transfer: TransferOnDemand) -> None:
        """Name the wanted pieces to the leader, if the most urgent ones were not named yet."""
        wanted = transfer.wanted_pieces()[:WANTED]
        if wanted and self._named.issuperset(wanted[:URGENT]):
            return
        if wanted or self._named:
            self._named = set(wanted)
            leader.page.want(self._joining.slot, wanted)

    def _report_stored(self, transfer: TransferOnDemand) -> None:
        """Report stored pieces to the transfer, once each. Called by one thread at a time."""
        file, seen = transfer.file, self._seen
        here = file.available
        n = seen.first_clear()
        while n >= 0 and (n := here.first_set(n)) >= 0:
            if n not in seen:
                seen.set(n)
                transfer.add_shared(n, file.geometry.content(n)[1])
            n = seen.first_clear(n)


def waiting(transfer: TransferOnDemand) -> tuple[bool, int]:
    """Whether readers wait, and the number of stored pieces; see HostLeaderClient.waiting."""
    return not transfer.parked, transfer.plan.stored


class ProgressReporter(LeaderPageWaiter):
    """Reports stored pieces to the transfer, by `report`, until every piece is stored."""

    def __init__(self, leader: LeaderPlace, transfer: TransferOnDemand, report: Callable[[TransferOnDemand], None]) -> None:
        super().__init__(transfer, leader.page, transfer.wake)
        self._leader = leader
        self._report = partial(report, transfer)
        self.broken = False

    def work(self) -> None:
        """See LeaderPageWaiter."""
        transfer, page = self.transfer, self.page
        while not transfer.stopping:
            ends, changes = self.finishing, page.changes
            try:
                self.broken = not self._leader.trusted
            except Unusable:
                self.broken = True
            if not self.broken:
                self._report()
            if ends or self.broken or transfer.finished:
                return
            page.wait(changes, PARKED if transfer.parked else RECHECK)
