"""Tasks that the same hosts download at the same time, such as the layers of an image: they share the supernode's link, and the hosts'.

Slots are counted per task, so twelve layers would have twelve times the slots of one file, on the same links. Each piece would be complete,
and served to others, twelve times as late. When the supernode sends a piece of one layer again, it delays first copies of others, and the
piece itself arrives late: a host that has it would send it sooner.

    counting    a lease from the supernode uses a slot of its own task, and counts as used elsewhere in the other tasks of its host: of the
                host's newest 64 downloads, those whose task has unfinished downloads, but not more than twice as many as the lease's own
                task. A file that one host downloads for itself is therefore not counted in a task of many hosts.
    law         while slots are used elsewhere the supernode sends no piece of the task again. This does not apply to first copies, to a
                download that serves no pieces, to which every piece counts as sent again, or to the next pieces of a stream.
    sending     while pieces of the task are slow, slots that are used elsewhere count as its own (`supernode_has_slot`). One additional
                slot is for a task of which no piece is being sent, so that no task waits for all the others.
    receiving   while pieces of the task are slow, a host receives Limits.slow_slots pieces at once of all its tasks (`Download.room`), and
                one more for a download that receives none. The download that had that one last (PeerState.last_extra_download) gets it
                again only after another download of the host has received a piece. Pieces of a download that is silent or does not read
                (`leases`, `supernode_slots`) do not count. Tasks of one piece, streams and 1.x clients are exempt.
    turns       a deferred task is woken when no slot is used elsewhere any more. Until then it has a turn after each TURN_DELAYS times
                Limits.reseed_delay, or TURN_TIMES times the mean time of its pieces where that is longer: it sends one piece again, in a
                slot of its own. A piece whose holders are dead, or cannot be reached by the downloads that lack it, is therefore sent
                however busy the other tasks are.

    Task.reseed_state    ALLOWED --defer_reseed--> DEFERRED --tick--> ONCE    back to ALLOWED: by `allow_reseed`, and when the turn is used

A task whose hosts download nothing else is never refused. More frequent turns would keep a slow link busy: an image of 256 MiB in 12
layers, all opened at once by 8 hosts at 50 Mbit/s, made the supernode send 4.9 copies of it with a turn each 2 s (simulated, without the
rules for sending and receiving).
"""

from __future__ import annotations

from dfengine.supernode.swarm._state import Task
from dfengine.supernode.swarm.deadlines import Deadlines

ALLOWED, DEFERRED, ONCE = range(3)
"""Values of Task.reseed_state."""

TURN_DELAYS, TURN_TIMES = 5.0, 8.0


class ReseedDeferral:
    """The tasks that wait for their turns, of all tasks."""

    def __init__(self) -> None:
        self._turns: Deadlines[Task] = Deadlines()

    def defer_reseed(self, task: Task, now: float) -> None:
        """Let the task wait for its turn, because it must not send a piece again now."""
        task.reseed_state = DEFERRED
        task.reseed_bucket = self._turns.add(task, now + max(TURN_DELAYS * task.reseed_delay, TURN_TIMES * task.piece_time))

    def allow_reseed(self, task: Task) -> None:
        """Allow a refused task to send pieces again, because its hosts use no slots elsewhere any more."""
        if task.reseed_state == DEFERRED:
            self._turns.discard(task, task.reseed_bucket)
        task.reseed_state = ALLOWED
        task.note_freed(None)

    def tick(self, now: float, most: int) -> None:
        """Give turns to the tasks whose time has come, up to `most`; the rest stays due."""
        for task in self._turns.due(now, most):
            task.reseed_state = ONCE
            task.note_freed(None)

    def soonest(self) -> float:
        """Time of the next turn in seconds; infinity for none."""
        return self._turns.soonest()
