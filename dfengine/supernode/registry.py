"""The registered downloads of all tasks, and how they end: one by one, with their task, or after a long silence.

A download is in two places: `members` says how it is answered, the swarm what it has. Here it leaves both, and its parked pull is answered.
Used on the loop's thread. Where slots become free, the caller wakes the driver (`driver.SwarmDriver`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from dfengine import wire
from dfengine.errors import RemoteError
from dfengine.net.http import ConnectionState
from dfengine.supernode.parked_pulls import ParkedPulls
from dfengine.supernode.sent_on import SentOn
from dfengine.supernode.sliced_work import SlicedWork
from dfengine.supernode.swarm._state import Task
from dfengine.supernode.swarm.members import Key, Member, Members
from dfengine.supernode.swarm.swarm import Swarm


class Registry:
    """share: percent of all downloads for one client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, swarm: Swarm, parked: ParkedPulls, share: int) -> None:
        self.members = Members(share)
        self.silent = 0
        """Downloads that were dismissed because they were silent for too long, so far."""
        self.used: dict[str, float] = {}
        """Task -> when it was last registered for or asked for (monotonic seconds)."""
        self.sent_on = SentOn()
        self._now = loop.time
        self._swarm = swarm
        self._parked = parked
        self._work = SlicedWork(loop)

    def leave(self, key: Key) -> None:
        """This download ends; not registered: nothing happens."""
        self.members.dismiss(key)
        self._swarm.leave(*key, self._now())
        self._parked.release(key)

    def lost(self, connection: ConnectionState) -> None:
        """The connection of a native download is gone: what is assigned to it is others' at once.

        It need not have ended. What it gets nevertheless it may report, and pull again by another connection.
        """
        member: Member = connection.party
        connection.party = None
        if member.connection is connection:
            member.connection = None
            self._parked.release(member.key)  # or it would be given the pieces again
            self._swarm.unassign(*member.key)

    def dismiss_silent(self) -> None:
        """Dismiss downloads that the swarm removed after a long silence."""
        self.silent += len(self._swarm.departed)
        for key in self._swarm.departed:
            self.members.dismiss(key)
            self._parked.answer(key, wire.Pulled(wire.NOT_FOUND, msg="this download was silent for too long: register again"))
        self._swarm.departed.clear()

    def end_task(self, task: str, reason: str) -> bool:
        """All downloads of a task end: pieces of two versions must not meet. False: there is no such task."""
        state = self._swarm.tasks.get(task)
        if state is None:
            return False
        ended = list(state.downloads)
        self._swarm.drop_task(task)
        self._work.begin(self._end(task, ended, self._parked.count, reason))
        return True

    def _end(self, task: str, cids: list[str], past: int, reason: str) -> Iterator[None]:
        """Answer pulls parked before the one of number `past`, and dismiss; downloads that have registered again stay."""
        answer = wire.Pulled(wire.CDN_FAILED, msg=reason)
        for cid in cids:
            key = (task, cid)
            parked = self._parked.get(key)
            if parked is not None and parked.number < past:
                self._parked.answer(key, answer)
            if task not in self._swarm.tasks or cid not in self._swarm.tasks[task].downloads:
                self.members.dismiss(key)
            yield

    def send_on(self, task: str, stays: Callable[[], object]) -> None:
        """All native downloads of a task leave, and register again as soon as they ask for something. stays: called for each other one."""
        self.sent_on.begin(task, self._now())
        state = self._swarm.tasks.get(task)
        if state is not None:
            self._work.begin(self._send_on(task, list(state.downloads), stays))

    def _send_on(self, task: str, cids: list[str], stays: Callable[[], object]) -> Iterator[None]:
        for cid in cids:
            member = self.members.get((task, cid))
            if member is not None and member.native:
                self._parked.answer((task, cid), wire.Pulled(wire.NOT_FOUND, msg="this supernode gets the file too slowly: register again"))
                self.leave((task, cid))
            elif member is not None:
                stays()
            yield

    def end_other_lengths(self, name: str, length: int, then: Callable[[], None]) -> None:
        """The length of a task's file is known at last, in bytes: downloads that expect another one end.

        `then` is called when all have been compared, unless the task was dropped meanwhile.
        """
        task = self._swarm.tasks[name]
        self._work.begin(self._compare_lengths(task, list(task.downloads), length, then))

    def _compare_lengths(self, task: Task, cids: list[str], length: int, then: Callable[[], None]) -> Iterator[None]:
        for cid in cids:
            member = self.members.get((task.id, cid))
            if member is not None and cid in task.downloads and self._swarm.tasks.get(task.id) is task:
                try:
                    member.check_length(length)
                except RemoteError as error:
                    self.members.dismiss(member.key)
                    self._parked.answer(member.key, wire.Pulled(wire.CDN_FAILED, msg=str(error)))
                    self._swarm.leave(*member.key, self._now())
            yield
        if self._swarm.tasks.get(task.id) is task:
            then()
