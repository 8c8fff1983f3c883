"""Tasks that the same hosts download at the same time, as the layers of an image: they share the supernode's link, and the hosts' own.

Slots count for each task, so twelve layers would have twelve times the slots of one file, on the same links. Each piece would be complete,
and served to others, twelve times as late. What the supernode sends again of one layer takes room from first copies of others, and comes
late itself: a host that has the piece would send it sooner.

    counting    a lease from the supernode uses a slot of its own task, and counts as used elsewhere in the other tasks of its host: of the
                host's newest 64 downloads, those whose task has unfinished downloads, but not more than twice as many as the lease's own
                task. So what one host downloads for itself is not counted in a task of many.
    law         while something is used elsewhere the supernode sends no piece of the task again. First copies are not concerned; nor is a
                download that serves nobody, to which all pieces are sent so; nor are the next pieces of a stream.
    sending     while pieces of the task are slow, slots that are used elsewhere count as its own (`supernode_has_slot`). One more than
                there are is for a task of which nothing is sent, so none waits for all the others.
    receiving   while pieces of the task are slow, a host receives Limits.few at once of all its tasks (`Download.room`), and one more of a
                download that receives none. The download that had that one last (PeerState.beside) has it again only after a piece of
                another one of the host's has come. Pieces of a download that is silent or takes nothing (`leases`, `supernode_slots`) do
                not count. Tasks of one piece, streams and 1.x clients are not concerned.
    turns       a task that was refused is woken when nothing is used elsewhere any more. Until then it has a turn after each
                TURN_DELAYS times Limits.reseed_delay, TURN_TIMES times the mean time of its pieces where that is longer: it sends one
                piece again, in a slot of its own. So a piece whose holders are dead, or are not reached by those who lack it, comes
                however busy the other tasks are.

    Task.refusal    ACCEPTED --refuse--> WAITS --tick--> TURN          back to ACCEPTED: by `accept`, and when the turn is taken

A task whose hosts download nothing else is never refused. Turns that come more often keep a slow link busy: an image of 256 MiB in 12
layers, all opened at once by 8 hosts at 50 Mbit/s, made the supernode send 4.9 copies of it with a turn each 2 s (simulated, before
sending and receiving were counted together).
"""

from __future__ import annotations

from dfengine.supernode.swarm._state import Task
from dfengine.supernode.swarm.deadlines import Deadlines

ACCEPTED, WAITS, TURN = range(3)
"""Values of Task.refusal."""

TURN_DELAYS, TURN_TIMES = 5.0, 8.0


class SameHosts:
    """The tasks that wait for their turns, of all tasks."""

    def __init__(self) -> None:
        self._turns: Deadlines[Task] = Deadlines()

    def refuse(self, task: Task, now: float) -> None:
        """The task must not send a piece again now: it waits for its turn."""
        task.refusal = WAITS
        task.turn = self._turns.add(task, now + max(TURN_DELAYS * task.reseed_delay, TURN_TIMES * task.piece_time))

    def accept(self, task: Task) -> None:
        """Nothing is used elsewhere any more by hosts of a task that was refused: it may send pieces again."""
        if task.refusal == WAITS:
            self._turns.discard(task, task.turn)
        task.refusal = ACCEPTED
        task.note_freed(None)

    def tick(self, now: float, most: int) -> None:
        """Give turns to the tasks whose time has come, up to `most`; the rest stays due."""
        for task in self._turns.due(now, most):
            task.refusal = TURN
            task.note_freed(None)

    def soonest(self) -> float:
        """When a turn comes, seconds; infinity for never."""
        return self._turns.soonest()
