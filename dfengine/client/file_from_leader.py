"""A joined download into a file: copies pieces from this host's leader into its own part file, and compares each with the leader's digest.

No other download ever writes to its part file and record. So the leader may die or stop at any moment: the copied pieces stay,
as after a download that was killed, and the others are copied from the next leader or fetched from the swarm. If both downloads have
the same output, the second only waits until the first completes that file.
"""

from __future__ import annotations

from dfengine.client.copying import PieceCopier
from dfengine.client.leader_page_waiter import RECHECK, LeaderPageWaiter
from dfengine.client.leader_place import LeaderPlace, Unusable, output_key
from dfengine.client.monitor import TICK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dfengine.client.assembly import Assembly
    from dfengine.client.host_leader_client import HostLeaderClient
    from dfengine.client.monitor import Monitor
    from dfengine.client.transfer import Transfer

COPIED, NAMED, KEPT = "copied", "named", "kept"


class FileFromLeader:
    """Copies one download's pieces; used by its main thread."""

    def __init__(self, joining: HostLeaderClient, assembly: Assembly, monitor: Monitor) -> None:
        self._joining = joining
        self._assembly = assembly
        self._monitor = monitor
        self._output = output_key(assembly.path)

    def run(self) -> str:
        """Return COPIED: every piece is in the part file and equals the leader's, which has verified the file; NAMED: the leader has
        completed this output; KEPT: an earlier download has.

        "": this download leads now, or continues alone, with the pieces that it has. Raises StorageError, TimedOut.
        """
        joining = self._joining
        found = ""
        while joining.joined and not found:
            self._monitor.check(self._assembly.transfer)
            self._monitor.set_state("waits for another download of this host", "waits for this host's leader")
            place = joining.place
            if place is None:
                joining.receive(TICK)
            elif place.output == self._output:
                found = self._until_named(place)
            else:
                found = self._copy_from(place)
        self._monitor.set_state()
        return found

    def _is_current(self, place: LeaderPlace) -> bool:
        """Whether the leader and its file are still the same."""
        return self._joining.joined and self._joining.place is place

    def _until_named(self, place: LeaderPlace) -> str:
        self._joining.waiting = None
        while True:
            over = self._joining.done or not self._is_current(place)
            if place.is_named(self._assembly.path):
                self._use_leader_digests(place)
                return NAMED
            if over:
                if self._joining.done:
                    self._joining.resign()
                return ""
            self._monitor.check(None)
            self._joining.receive(TICK)

    def _use_leader_digests(self, place: LeaderPlace) -> None:
        """Use the leader's whole-file digests for this download."""
        wanted = self._assembly.algorithms
        self._assembly.delegated_digests.update({name: digest for name, digest in place.page.digests.items() if name in wanted})

    def _copy_from(self, place: LeaderPlace) -> str:
        joining, assembly = self._joining, self._assembly
        while not place.trusted:
            if joining.done or not self._is_current(place):
                if joining.done:
                    joining.resign()
                return ""
            self._monitor.check(assembly.transfer)
            joining.receive(TICK)
        geometry, generation = place.file.geometry, place.file.record.generation
        if assembly.transfer is None and assembly.is_output_current(geometry.length, generation.decode("ascii", "replace")):
            return KEPT
        if assembly.transfer is None:
            assembly.delegated = place.algorithms
        transfer = assembly.open(geometry, generation)
        held = transfer.plan.stored
        copier = FileCopier(place, transfer, joining.wake)
        joining.waiting = lambda: (True, transfer.plan.stored)
        transfer.start(copier.run, "join")
        while not copier.over.is_set():
            self._monitor.check(transfer)
            if copier.broken or not self._is_current(place) or (joining.done and not place.sealed):
                copier.finish()
            elif transfer.file.geometry.length < 0 <= place.file.geometry.length:
                transfer.learn_length(place.file.geometry.length)
            joining.receive(TICK)
        sealed = transfer.finished and place.sealed
        if sealed and place.same_digests(transfer.file.record):
            assembly.doubtful = False  # the leader has verified these pieces
            # A 1.x leader's file may be of another version than the one that the user's digest is for.
            assembly.unproved_version = assembly.unproved_version or not place.generation
            self._use_leader_digests(place)
            return COPIED
        if sealed or place.page.unproved:
            # `sealed`: pieces from before are of another version, which no generation tells apart. They are copied again if there are any.
            assembly.forget()
        if self._is_current(place) and not (sealed and held):
            joining.resign()
        return ""


class FileCopier(LeaderPageWaiter):
    """Copies the leader's pieces, present and future, until all are copied and the leader's file is verified. wake: called when `over`."""

    def __init__(self, place: LeaderPlace, transfer: Transfer, wake: Callable[[], None]) -> None:
        super().__init__(transfer, place.page, wake)
        self._place = place
        self._pieces = PieceCopier(transfer)
        self.broken = ""
        """Fault of the leader's place, "" for none."""

    def work(self) -> None:
        """See LeaderPageWaiter."""
        place, transfer = self._place, self.transfer
        while not transfer.stopping:
            last, sealed, changes = self.finishing, place.sealed, self.page.changes
            try:
                if not place.trusted:
                    self.broken = "" if last or place.page.unproved else "its version is no longer known"
                else:
                    for n in self._missing_pieces():
                        if transfer.stopping or not self._pieces.copy(place, n):
                            break
            except Unusable as error:
                self.broken = str(error)
            whole = transfer.finished
            if sealed and not whole and transfer.file.geometry.length >= 0 and not transfer.stopping:
                self.broken = self.broken or "is verified, and pieces are missing"
            if last or self.broken or (whole and sealed):
                return
            self.page.wait(changes, RECHECK)

    def _missing_pieces(self) -> Iterator[int]:
        """Pieces that the leader has and this download lacks."""
        there, here = self._place.file.available, self.transfer.file.available
        n = here.first_clear()
        while 0 <= n < len(here) and (n := there.first_set(n)) >= 0 and n < len(here):
            if n not in here:
                yield n
                n += 1
            n = here.first_clear(n)
