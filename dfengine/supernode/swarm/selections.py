"""Pulls that select their pieces: a program reads a file at places of its own choice, and waits for what it reads.

Law: such a pull is offered selected pieces only, in the order of its list: each piece of the answer is the first one that has a source at
that moment, and the pull is parked until one has. The next pull of the same download replaces the list.

    1. in the order of the list: an open holder; else the supernode, if nobody has the piece or is getting it, or if it is the first piece
       that is lacking and nothing else is on its way from the supernode to this download
    2. any piece of the list that an open holder has, by an exact search; 1 looks at a sample of the holders
    3. in the order of the list: a piece that the supernode may send again; one that is overdue only if it is of the first URGENT ones

Of a piece that another has or is getting the supernode is a source only for a download with few pieces under way, as for all downloads. The
one piece that goes before those of 2 is the one that the program waits for. If all went before them, a download that selects a whole file
would take half of its pieces from the supernode (simulated: 302 pieces sent instead of 194; with this order 213).

A piece that is on its way to a source is the difficult case. Others wait until `Limits.reseed_delay` (2 s) has passed, because the swarm
loses when the supernode sends a piece twice; a program that waits for one read would stand still. So a piece is overdue for those who name
it among their first URGENT pieces after `Task.patience`: one and a half times the mean time of a piece, 0.1 s at least; of a task that has
had no piece yet, that of all tasks' latest pieces, `Limits.reseed_delay` at most. By then most pieces have arrived, at a source that serves
them next, so the read costs the supernode nothing; the others come from a slow or dead host, and the supernode sends the piece again. The
new copy is a new claim. So all readers together make the supernode send a piece again once in that time, in its own slots, and only while
no open holder has it: a crowd that opens the same file reads its pieces from each other. For downloads that do not select, and for pieces
that are named later, the claim lasts as long as ever: a download that names a whole file waits for its first piece. Hosts that pull the
layers of an image together name all of them, over links that these layers share, so each piece takes several mean times.

    Task.selected   piece -> parked downloads that name it among their first URGENT ones, in the order of parking
    Task.overdue    pieces of these whose claim was older than `Task.patience` at the last check; until the claim ends or is replaced
    deadlines       leases whose claims are to be checked; one of a piece that is not claimed by it any more is ignored

An idle download that selects has no lease, so it is no straggler (`stragglers`), and no slot waits for it. It stays registered as long as
it sends a message in less than `Limits.peer_gc`, as a stream does whose window is full.
"""

from __future__ import annotations

from collections.abc import Sequence

from dfengine.errors import BadPiece
from dfengine.supernode.swarm._state import Download, Lease, Task
from dfengine.supernode.swarm.deadlines import Deadlines

URGENT = 2
"""Pieces of a selection that its reader waits for."""


def checked(task: Task, selected: Sequence[int]) -> tuple[int, ...]:
    """The selection of a pull. Raises BadPiece for none, for one that is outside the task or named twice."""
    if not selected:
        raise BadPiece("a pull selects no piece")
    for n in selected:
        task.check(n)
    if len(set(selected)) < len(selected):
        raise BadPiece("a pull selects a piece twice")
    return tuple(selected)


class Selections:
    """Of all tasks."""

    def __init__(self) -> None:
        self._deadlines: Deadlines[Lease] = Deadlines()

    def park(self, download: Download) -> None:
        """A pull that selects pieces is parked. Again: nothing happens but that claims are watched."""
        task = download.task
        for n in (download.selected or ())[:URGENT]:
            task.selected.setdefault(n, {})[download] = None
            claim = task.in_flight_claims[n] if n < task.size else None
            if claim is not None and n not in task.overdue:
                self.watch(claim)

    def unpark(self, download: Download) -> None:
        """It is parked no longer."""
        task = download.task
        for n in (download.selected or ())[:URGENT]:
            parked = task.selected.get(n)
            if parked is not None:
                parked.pop(download, None)
                if not parked:
                    del task.selected[n]
                    task.overdue.pop(n, None)

    def watch(self, claim: Lease) -> None:
        """A parked pull waits for the claimed piece."""
        self._deadlines.add(claim, claim.started + claim.download.task.patience())

    def tick(self, now: float, most: int) -> None:
        """Look at the claims whose time has come, up to `most`; the rest stays due."""
        for claim in self._deadlines.due(now, most):
            task, n = claim.download.task, claim.n
            if not task.dropped and task.in_flight_claims[n] is claim and n in task.selected:
                task.overdue[n] = None
                task.note_freed(None)

    def soonest(self) -> float:
        """When the next check is due, seconds; infinity for never."""
        return self._deadlines.soonest()
