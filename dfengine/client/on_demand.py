"""The transfer of a download on demand: what its readers wait for, beside what every transfer shares.

A reader asks for pieces, gets a ticket, and is woken by each of its pieces that lands. While no reader waits and nothing is read ahead the
transfer is parked: no thread of it wakes up but to keep the supernode's registration.
"""

from __future__ import annotations

import math
import threading
from itertools import islice

from dfengine.client.plan_on_demand import PlanOnDemand
from dfengine.client.transfer import Transfer
from dfengine.errors import LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dfengine.client.byte_counts import ByteCounts
    from dfengine.client.digest import Follower
    from dfengine.client.throttle import Throttle
    from dfengine.storage.piece_file import PieceFile

LISTED = 1024
"""Wanted pieces that an origin's reader gets at most: more than all its connections claim at once."""

PARKED = 30.0
"""Seconds between two checks of an idle thread."""


class Ticket:
    """`pieces` that one reader waits for, in the order of demand. left: those that were not here at the last check.

    on_change: called as well whenever one of them has landed or none will, in any thread, and must not wait.
    """

    __slots__ = ("_event", "_on_change", "left", "over", "pieces", "reader")

    def __init__(self, pieces: list[int], over: bool, on_change: Callable[[], None] | None = None) -> None:
        self.pieces = pieces
        self.left: list[int] = []
        self._on_change = on_change
        self.over = over
        """Nothing comes any more."""
        self.reader = -1
        """See Priority.demand."""
        self._event = threading.Event()

    def wait(self, seconds: float) -> bool:
        """Until one of its pieces lands, or none will any more; False after `seconds`."""
        came = self.over or self._event.wait(seconds)
        self._event.clear()
        return came

    def signal(self) -> None:
        """Wake the reader: a piece has landed, or none will."""
        self._event.set()
        if self._on_change is not None:
            self._on_change()


class TransferOnDemand(Transfer):
    """See Transfer. Its plan fetches what is asked for here."""

    def __init__(
        self, file: PieceFile, plan: PlanOnDemand, byte_counts: ByteCounts, *, follower: Follower | None, throttle: Throttle | None
    ) -> None:
        super().__init__(file, plan, byte_counts, follower=follower, throttle=throttle)
        self._priority = plan.priority
        self._tickets: dict[int, list[Ticket]] = {}
        """Piece -> tickets that have it left."""
        self._asked: dict[Ticket, None] = {}
        """Tickets that were not withdrawn."""
        self._over = False
        self._for_host = Ticket([], False)

    # Readers.

    def ask(self, pieces: Iterable[int], on_change: Callable[[], None] | None = None) -> Ticket:
        """A reader waits for `pieces`; those that are here or do not exist count as landed. `withdraw` the ticket in the end.

        on_change: see Ticket.
        """
        with self._changed:
            ticket = Ticket([*pieces], self._over, on_change)
            self._asked[ticket] = None
            self._find(ticket)
        if ticket.left:
            self.wake()
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """The reader waits no more."""
        with self._changed:
            self._asked.pop(ticket, None)
            self._let_go(ticket)

    def move(self, other: PieceFile) -> None:
        """The file's data and record are those of `other` from now on (PieceFile.become), which has every piece that the plan has.

        Who shared the former place may have written more there, of which nobody told this transfer: a reader who asked for such a piece
        found it here. It is wanted now.
        """
        with self._changed:
            self.file.become(other)
            for ticket in self._asked:
                self._let_go(ticket)
                self._find(ticket)
            self._signal(self._asked)

    def still(self, ticket: Ticket, n: int) -> None:
        """Its reader has waited long for piece n: it is wanted, if it is not here. Raises LocalError where the plan has it all the same."""
        with self._changed:
            if n in self.file.here or n in self._priority:
                return
            if self.plan.window.acked(n):
                raise LocalError(f"piece {n} came, and is not here any more: open the file again")
            self._let_go(ticket)
            self._find(ticket)
        self.wake()

    def note_here(self) -> None:
        """See TransferState: pieces that are here and of which nobody told this transfer have landed."""
        with self._changed:
            here = self.file.here
            for n in here if here.count() != self.plan.here else ():
                if not self.plan.window.acked(n):
                    self.plan.hold((n,))
                    self._landed(n)

    def rejoin(self, native: bool) -> list[tuple[int, int]]:
        """See TransferState. Pieces that are reported as here are not wanted."""
        with self._changed:
            self.note_here()
            return super().rejoin(native)

    def _find(self, ticket: Ticket) -> None:
        """What of it is not here is demanded. Hold the lock."""
        here, count = self.file.here, self.plan.window.count
        most = count if count >= 0 else len(here)
        ticket.left = [n for n in ticket.pieces if n < most and n not in here]
        if ticket.left:
            ticket.reader = self._priority.demand(ticket.left)
            for n in ticket.left:
                self._tickets.setdefault(n, []).append(ticket)

    def _let_go(self, ticket: Ticket) -> None:
        """Nothing of it is demanded. Hold the lock."""
        self._priority.withdraw(ticket.reader)
        for n in ticket.left:
            waiting = self._tickets.get(n)
            if waiting is not None and ticket in waiting:
                waiting.remove(ticket)
                if not waiting:
                    del self._tickets[n]

    def ask_for_host(self, pieces: list[int]) -> None:
        """See Transfer."""
        with self._changed:
            if self.stopping:
                return  # its file may be closed
            before, self._for_host = self._for_host, self.ask(pieces)
            self.withdraw(before)

    def read_ahead(self, first: int, past: int) -> None:
        """Pieces [first, past) are wanted when nothing is demanded."""
        with self._changed:
            here, count = self.file.here, self.plan.window.count
            past = min(past, count if count >= 0 else len(here))
            wanted = [n for n in range(first, past) if n not in here]
            self._priority.read_ahead(wanted)
        if wanted:
            self.wake()

    def end(self) -> None:
        """Nothing comes any more: wake all readers."""
        with self._changed:
            self._over = True
            self._signal(self._asked)

    def _signal(self, tickets: Iterable[Ticket]) -> None:
        for ticket in tickets:
            ticket.over = self._over
            ticket.signal()

    # The engine.

    @property
    def parked(self) -> bool:
        """See TransferState. What was offered and is not fetched any more, as after going to the origin, is no work to wait for."""
        with self._changed:
            return not len(self._priority) and not self.plan.jobs()

    def wanted_pieces(self) -> list[int]:
        """See TransferState. The first LISTED of them."""
        with self._changed:
            return list(islice(self._priority, LISTED))

    def learn_length(self, length: int) -> None:
        """See Transfer. Wakes the readers of pieces beyond the end."""
        super().learn_length(length)
        with self._changed:
            count = self.plan.window.count
            for n in [n for n in self._tickets if 0 <= count <= n]:
                self._signal(self._tickets.pop(n))

    def _hold(self, n: int, length: int, host: bool = False) -> None:
        with self._changed:
            if n in self.file.here:  # else it was seen where the file lay before
                super()._hold(n, length, host)

    def _landed(self, n: int) -> None:
        super()._landed(n)
        self._signal(self._tickets.pop(n, ()))

    def _idle_for(self, now: float) -> float:
        at = self.plan.hedge_at()
        return PARKED if math.isinf(at) else min(PARKED, max(0.05, at - now))
