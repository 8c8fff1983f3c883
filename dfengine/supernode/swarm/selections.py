"""Pulls that select their pieces: a program reads a file at places of its own choice, and waits for the pieces that it reads.

Law: such a pull is offered selected pieces only, in the order of its list: each piece of the answer is the first one that has a source at
that moment, and the pull is parked until one has. The next pull of the same download replaces the list.

    1. in the order of the list: an open holder; else the supernode, if no source has the piece or is receiving it, or if it is the first
       lacking piece and the supernode is sending no other piece to this download
    2. any piece of the list that an open holder has, by an exact search; 1 samples the holders
    3. in the order of the list: a piece that the supernode may send again; an overdue one only if it is one of the first URGENT ones

If another source has or is receiving a piece, the supernode is a source of it only for a download with few pieces in progress, as for all
downloads. The one piece that precedes those of 2 is the one that the program waits for. If all preceded them, a download that selects a
whole file would get half of its pieces from the supernode (simulated: 302 pieces sent instead of 194; with this order 213).

A piece that is in flight to a source is the difficult case. Other downloads wait until `Limits.reseed_delay` (2 s) has passed, because
sending a piece twice costs the swarm the supernode's uplink; but a program that waits for one read would be blocked. A piece is therefore
overdue for pulls that name it among their first URGENT pieces after `Task.patience`: one and a half times the mean time of a piece, at
least 0.1 s; for a task that has had no piece yet, that of all tasks' latest pieces, at most `Limits.reseed_delay`. By then most pieces have
arrived, at a source that serves them next, so the read costs the supernode nothing. The others are sent by a slow or dead host, and the
supernode sends the piece again. The new copy is a new claim. All readers together thus make the supernode send a piece again once in that
time, in its own slots, and only while no open holder has it: many hosts that open the same file read its pieces from each other. For
downloads that do not select, and for pieces later in a list, the claim lasts for the full delay: a download that names a whole file waits
for its first piece. Hosts that pull the layers of an image together name all pieces, over links that these layers share, so each piece
takes several mean times.

    Task.selected   piece -> parked downloads that name it among their first URGENT ones, in the order of parking
    Task.overdue    those of these pieces whose claim was older than `Task.patience` at the last check; until the claim ends or is replaced
    deadlines       leases whose claims are to be checked; a lease whose piece it no longer claims is ignored

An idle download that selects has no lease, so it is no straggler (`stragglers`), and occupies no slot. It stays registered as long as it
sends a message in less than `Limits.peer_gc`, as does a stream whose window is full.
"""

from __future__ import annotations

from collections.abc import Sequence

from dfengine.errors import BadPiece
from dfengine.supernode.swarm._state import Download, Lease, Task
from dfengine.supernode.swarm.deadlines import Deadlines

URGENT = 2
"""Pieces at the start of a selection that its reader waits for."""


def checked(task: Task, selected: Sequence[int]) -> tuple[int, ...]:
    """Check the selection of a pull. Raises BadPiece if it is empty, or has a piece outside the task or twice."""
    if not selected:
        raise BadPiece("a pull selects no piece")
    for n in selected:
        task.check(n)
    if len(set(selected)) < len(selected):
        raise BadPiece("a pull selects a piece twice")
    return tuple(selected)


class Selections:
    """Watched claims of all tasks."""

    def __init__(self) -> None:
        self._deadlines: Deadlines[Lease] = Deadlines()

    def park(self, download: Download) -> None:
        """Register a parked pull that selects pieces, and watch claims on them. May be repeated."""
        task = download.task
        for n in (download.selected or ())[:URGENT]:
            task.selected.setdefault(n, {})[download] = None
            claim = task.in_flight_claims[n] if n < task.size else None
            if claim is not None and n not in task.overdue:
                self.watch(claim)

    def unpark(self, download: Download) -> None:
        """Unregister a download that is no longer parked."""
        task = download.task
        for n in (download.selected or ())[:URGENT]:
            parked = task.selected.get(n)
            if parked is not None:
                parked.pop(download, None)
                if not parked:
                    del task.selected[n]
                    task.overdue.pop(n, None)

    def watch(self, claim: Lease) -> None:
        """Watch the claim of a piece that a parked pull waits for."""
        self._deadlines.add(claim, claim.started + claim.download.task.patience())

    def tick(self, now: float, most: int) -> None:
        """Check the claims that are due, up to `most`; the rest stays due."""
        for claim in self._deadlines.due(now, most):
            task, n = claim.download.task, claim.n
            if not task.dropped and task.in_flight_claims[n] is claim and n in task.selected:
                task.overdue[n] = None
                task.note_freed(None)

    def soonest(self) -> float:
        """Time of the next check in seconds; infinity for none."""
        return self._deadlines.soonest()
