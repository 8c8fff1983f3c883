"""The transfer of a download on demand, which tracks the pieces that its readers wait for.

A reader requests pieces, gets a ticket, and is woken when one of them is stored. While no reader waits and no piece is read ahead, the
transfer is parked: its threads wake up only to keep the registration at the supernode alive.
"""

from __future__ import annotations

import math
import threading
from itertools import islice

from dfengine.client.monitor import PARKED
from dfengine.client.plan_on_demand import PlanOnDemand
from dfengine.client.transfer import Transfer
from dfengine.errors import LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dfengine.client.byte_counts import ByteCounts
    from dfengine.client.digest import FileDigester
    from dfengine.client.throttle import Throttle
    from dfengine.storage.piece_file import PieceFile

LISTED = 1024
"""Most wanted pieces that an origin's reader is given: more than all its connections claim at once."""


class Ticket:
    """The `pieces` that one reader waits for, in the order of demand. missing: those that were not stored at the last check.

    on_change: also called when one of them is stored or none will be stored any more; in any thread, and it must not block.
    """

    __slots__ = ("_event", "_on_change", "missing", "over", "pieces", "reader")

    def __init__(self, pieces: list[int], over: bool, on_change: Callable[[], None] | None = None) -> None:
        self.pieces = pieces
        self.missing: list[int] = []
        self._on_change = on_change
        self.over = over
        """Whether no further piece will be stored."""
        self.reader = -1
        """See Priority.demand."""
        self._event = threading.Event()

    def wait(self, seconds: float) -> bool:
        """Wait until one of the pieces is stored or none will be any more. Return False after `seconds`."""
        signalled = self.over or self._event.wait(seconds)
        self._event.clear()
        return signalled

    def signal(self) -> None:
        """Wake the reader: a piece is stored, or none will be any more."""
        self._event.set()
        if self._on_change is not None:
            self._on_change()


class TransferOnDemand(Transfer):
    """See Transfer. Its plan fetches the pieces that readers ask for."""

    def __init__(
        self, file: PieceFile, plan: PlanOnDemand, byte_counts: ByteCounts, *, digester: FileDigester | None, throttle: Throttle | None
    ) -> None:
        super().__init__(file, plan, byte_counts, digester=digester, throttle=throttle)
        self._priority = plan.priority
        self._tickets: dict[int, list[Ticket]] = {}
        """Piece -> tickets whose `missing` has it."""
        self._open_tickets: dict[Ticket, None] = {}
        """Tickets that were not withdrawn."""
        self._over = False
        self._for_host = Ticket([], False)

    # Readers.

    def request(self, pieces: Iterable[int], on_change: Callable[[], None] | None = None) -> Ticket:
        """Return a ticket for a reader of `pieces`. Pieces that do not exist count as stored. `withdraw` it in the end.

        on_change: see Ticket.
        """
        with self._changed:
            ticket = Ticket([*pieces], self._over, on_change)
            self._open_tickets[ticket] = None
            self._demand_missing(ticket)
        if ticket.missing:
            self.wake()
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """Drop a ticket, whose reader no longer waits."""
        with self._changed:
            self._open_tickets.pop(ticket, None)
            self._drop_demand(ticket)

    def move(self, other: PieceFile) -> None:
        """Move the file to the data and record of `other` (PieceFile.replace_storage), which has every piece that the plan has.

        Another download that shared the former place may have written more pieces there without telling this transfer. A piece of those
        that a reader requested counted as stored, and is wanted now.
        """
        with self._changed:
            self.file.replace_storage(other)
            for ticket in self._open_tickets:
                self._drop_demand(ticket)
                self._demand_missing(ticket)
            self._signal(self._open_tickets)

    def request_again(self, ticket: Ticket, n: int) -> None:
        """Demand piece n again if it is missing: its reader has waited long. Raises LocalError if the plan counts the piece as stored."""
        with self._changed:
            if n in self.file.available or n in self._priority:
                return
            if self.plan.window.acked(n):
                raise LocalError(f"piece {n} was received, but is no longer stored: open the file again")
            self._drop_demand(ticket)
            self._demand_missing(ticket)
        self.wake()

    def sync_stored(self) -> None:
        """See TransferState: pieces that another download has stored count as stored in this transfer, too."""
        with self._changed:
            here = self.file.available
            for n in here if here.count() != self.plan.stored else ():
                if not self.plan.window.acked(n):
                    self.plan.add_stored((n,))
                    self._on_stored(n)

    def rejoin(self, native: bool) -> list[tuple[int, int]]:
        """See TransferState. Pieces that are reported as stored are not wanted."""
        with self._changed:
            self.sync_stored()
            return super().rejoin(native)

    def _demand_missing(self, ticket: Ticket) -> None:
        """Demand the ticket's missing pieces. Hold the lock."""
        here, count = self.file.available, self.plan.window.count
        most = count if count >= 0 else len(here)
        ticket.missing = [n for n in ticket.pieces if n < most and n not in here]
        if ticket.missing:
            ticket.reader = self._priority.demand(ticket.missing)
            for n in ticket.missing:
                self._tickets.setdefault(n, []).append(ticket)

    def _drop_demand(self, ticket: Ticket) -> None:
        """Withdraw the demand for the ticket's pieces. Hold the lock."""
        self._priority.withdraw(ticket.reader)
        for n in ticket.missing:
            waiting = self._tickets.get(n)
            if waiting is not None and ticket in waiting:
                waiting.remove(ticket)
                if not waiting:
                    del self._tickets[n]

    def prefer_for_host(self, pieces: list[int]) -> None:
        """See Transfer."""
        with self._changed:
            if self.stopping:
                return  # the file may be closed
            before, self._for_host = self._for_host, self.request(pieces)
            self.withdraw(before)

    def read_ahead(self, first: int, past: int) -> None:
        """Want pieces [first, past) while no piece is demanded."""
        with self._changed:
            here, count = self.file.available, self.plan.window.count
            past = min(past, count if count >= 0 else len(here))
            wanted = [n for n in range(first, past) if n not in here]
            self._priority.read_ahead(wanted)
        if wanted:
            self.wake()

    def end(self) -> None:
        """Wake all readers: no further piece will be stored."""
        with self._changed:
            self._over = True
            self._signal(self._open_tickets)

    def _signal(self, tickets: Iterable[Ticket]) -> None:
        for ticket in tickets:
            ticket.over = self._over
            ticket.signal()

    # The download thread.

    @property
    def parked(self) -> bool:
        """See TransferState. Offered pieces that are no longer fetched, as after the switch to the origin, do not count as work."""
        with self._changed:
            return not len(self._priority) and not self.plan.jobs()

    def wanted_pieces(self) -> list[int]:
        """See TransferState. Returns the first LISTED pieces."""
        with self._changed:
            return list(islice(self._priority, LISTED))

    def learn_length(self, length: int) -> None:
        """See Transfer. Wakes the readers of pieces beyond the end."""
        super().learn_length(length)
        with self._changed:
            count = self.plan.window.count
            for n in [n for n in self._tickets if 0 <= count <= n]:
                self._signal(self._tickets.pop(n))

    def _add_stored(self, n: int, length: int, host: bool = False) -> None:
        with self._changed:
            if n in self.file.available:  # else it was seen in the file's former place
                super()._add_stored(n, length, host)

    def _on_stored(self, n: int) -> None:
        super()._on_stored(n)
        self._signal(self._tickets.pop(n, ()))

    def _idle_for(self, now: float) -> float:
        at = self.plan.hedge_at()
        return PARKED if math.isinf(at) else min(PARKED, max(0.05, at - now))
