"""An open file that copies the pieces that its readers ask for from a download into a file of this host.

They are copied into the open file's own place, which other open files share, not read from the download's file: users may change or
truncate their finished files at any time. Each piece is compared with the digest in the record, so a changed piece is not used.
The download is told which pieces are wanted next, and fetches those first.
"""

from __future__ import annotations

from functools import partial

from dfengine.client.copying import PieceCopier
from dfengine.client.leader_page_waiter import RECHECK, LeaderPageWaiter
from dfengine.client.leader_place import Unusable
from dfengine.client.monitor import PARKED, TICK
from dfengine.files.open_file_from_leader import waiting
from dfengine.storage.signal_page import WANTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.host_leader_client import HostLeaderClient
    from dfengine.client.leader_place import LeaderPlace
    from dfengine.client.monitor import Monitor
    from dfengine.files.open_file_storage import OpenFileStorage


class OpenFileFromDownload:
    """Copies pieces for one open file, on its download thread."""

    def __init__(self, joining: HostLeaderClient, place: OpenFileStorage, monitor: Monitor) -> None:
        self._joining = joining
        self._place = place
        self._monitor = monitor
        self._named: list[int] = []

    def run(self) -> bool:
        """Return True if every piece is stored; False: this download fetches the others from now on. Raises StorageError."""
        joining, used = self._joining, []
        try:
            while joining.joined and not self._finished:
                leader = joining.place
                if leader is None:
                    self._monitor.check(self._place.transfer)
                    joining.receive(TICK)
                    continue
                used.append(leader)
                try:
                    if self._fits(leader):
                        self._copy_from(leader)
                except Unusable:
                    pass
                if joining.place is leader:
                    joining.leave_leader()
        finally:
            if joining.joined:
                joining.leave_leader()
            for each in used:
                each.close()
        return self._finished

    @property
    def _finished(self) -> bool:
        return self._place.transfer is not None and self._place.transfer.finished

    def _fits(self, leader: LeaderPlace) -> bool:
        """Whether the leader's pieces may be copied, and are of this file's version. Raises Unusable."""
        transfer = self._place.transfer
        if not leader.trusted or transfer is None:
            return leader.trusted
        here, there = transfer.file, leader.file
        same = here.geometry.piece_size == there.geometry.piece_size and len({here.geometry.length, there.geometry.length} - {-1}) < 2
        return same and bool(leader.generation) and here.record.generation == leader.generation

    def _copy_from(self, leader: LeaderPlace) -> None:
        """Copy until the leader changes, or every piece is stored. Raises Unusable."""
        joining = self._joining
        if self._place.transfer is None:
            self._place.delegate_digests(leader)
        transfer = self._place.open(leader.file.geometry, leader.generation)
        self._place.publish()
        joining.waiting = partial(waiting, transfer)
        pieces, waker = PieceCopier(transfer), TransferWaker(transfer, leader.page, transfer.wake)
        self._named = []
        transfer.start(waker.run, "join", fetches=False)
        try:
            while joining.joined and joining.place is leader and not transfer.finished:
                self._monitor.check(transfer)
                if not leader.trusted:
                    return
                if (length := leader.file.geometry.length) >= 0:
                    transfer.learn_length(length)
                wanted, there = transfer.wanted_pieces(), leader.file.available
                n = next((n for n in wanted if n < len(there) and n in there), -1)
                if n >= 0 and not pieces.copy(leader, n):
                    return
                if n < 0 and wanted and joining.done:
                    return
                if n < 0:
                    self._request_pieces(leader, wanted[:WANTED])
                joining.receive(0.0 if n >= 0 else PARKED if transfer.parked else RECHECK, transfer.wakeup)
            if transfer.finished:
                self._place.await_delegated_digests(joining, self._monitor)
        finally:
            waker.end()

    def _request_pieces(self, leader: LeaderPlace, wanted: list[int]) -> None:
        """Name the pieces that readers want to the leader."""
        if wanted != self._named:
            self._named = wanted
            leader.page.want(self._joining.slot, wanted)


class TransferWaker(LeaderPageWaiter):
    """Wakes the download thread when the leader's page signals a change."""

    def work(self) -> None:
        """See LeaderPageWaiter."""
        transfer, page = self.transfer, self.page
        while not (self.finishing or transfer.stopping):
            changes = page.changes
            transfer.wake()
            page.wait(changes, PARKED if transfer.parked else RECHECK)
