"""The registered downloads of all tasks, and how they end: one by one, with their task, or after a long silence.

A download has an entry in `members`, for the form of its responses, and one in the swarm, with its pieces. The registry removes both and
answers its parked pull. Used on the loop's thread. Where slots become free, the caller wakes the driver (`swarm_driver.SwarmDriver`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from dfengine import wire
from dfengine.errors import RemoteError
from dfengine.net.http import ConnectionState
from dfengine.supernode.parked_pulls import ParkedPulls
from dfengine.supernode.redirected_hosts import RedirectedHosts
from dfengine.supernode.registered_downloads import Key, RegisteredDownload, RegisteredDownloads
from dfengine.supernode.swarm._state import Task
from dfengine.supernode.swarm.swarm import Swarm
from dfengine.supernode.time_slices import SlicedWork


class DownloadRegistry:
    """The downloads of one supernode. share: percent of all downloads for one client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, swarm: Swarm, parked: ParkedPulls, share: int) -> None:
        self.members = RegisteredDownloads(share)
        self.silent = 0
        """Downloads that were dismissed because they were silent for too long, since the start."""
        self.used: dict[str, float] = {}
        """Task -> the time of its last registration or request (monotonic seconds)."""
        self.redirected_hosts = RedirectedHosts()
        self._now = loop.time
        self._swarm = swarm
        self._parked = parked
        self._work = SlicedWork(loop)

    def leave(self, key: Key) -> None:
        """Remove a download; do nothing if it is not registered."""
        self.members.remove(key)
        self._swarm.leave(*key, self._now())
        self._parked.release(key)

    def touch(self, cid: str, address: str) -> None:
        """Record a heartbeat of the client at `address` for its downloads of this CID; another client's may have the same."""

        def is_own(task: str) -> bool:
            member = self.members.get((task, cid))
            return member is not None and member.is_of(address)

        self._swarm.touch(cid, self._now(), is_own)

    def connection_lost(self, connection: ConnectionState) -> None:
        """Return the leases of a native download whose connection is gone, so that others get these pieces at once.

        The download need not have ended. It may still report the pieces that it receives, and pull again on another connection.
        """
        member: RegisteredDownload = connection.member
        connection.member = None
        if member.connection is connection:
            member.connection = None
            self._parked.release(member.key)  # otherwise it would be assigned the pieces again
            self._swarm.unassign(*member.key)

    def remove_silent(self) -> None:
        """Remove downloads that the swarm dropped after a long silence."""
        self.silent += len(self._swarm.departed)
        for key in self._swarm.departed:
            self.members.remove(key)
            self._parked.answer(key, wire.Pulled(wire.NOT_FOUND, msg="this download was silent for too long: register again"))
        self._swarm.departed.clear()

    def end_task(self, task: str, reason: str) -> bool:
        """End all downloads of a task, so that pieces of two versions do not mix. Return False if there is no such task."""
        state = self._swarm.tasks.get(task)
        if state is None:
            return False
        ended = list(state.downloads)
        self._swarm.drop_task(task)
        self._work.begin(self._end(task, ended, self._parked.count, reason))
        return True

    def _end(self, task: str, cids: list[str], past: int, reason: str) -> Iterator[None]:
        """Answer pulls parked before number `past`, and remove their downloads; downloads that have registered again stay."""
        answer = wire.Pulled(wire.CDN_FAILED, msg=reason)
        for cid in cids:
            key = (task, cid)
            parked = self._parked.get(key)
            if parked is not None and parked.number < past:
                self._parked.answer(key, answer)
            if task not in self._swarm.tasks or cid not in self._swarm.tasks[task].downloads:
                self.members.remove(key)
            yield

    def redirect(self, task: str, not_redirected: Callable[[], object]) -> None:
        """Remove all native downloads of a task; they register again at their next request. not_redirected: called for each other one."""
        self.redirected_hosts.begin(task, self._now())
        state = self._swarm.tasks.get(task)
        if state is not None:
            self._work.begin(self._redirect(task, list(state.downloads), not_redirected))

    def _redirect(self, task: str, cids: list[str], not_redirected: Callable[[], object]) -> Iterator[None]:
        for cid in cids:
            member = self.members.get((task, cid))
            if member is not None and member.native:
                self._parked.answer((task, cid), wire.Pulled(wire.NOT_FOUND, msg="this supernode gets the file too slowly: register again"))
                self.leave((task, cid))
            elif member is not None:
                not_redirected()
            yield

    def end_length_mismatches(self, name: str, length: int, on_done: Callable[[], None]) -> None:
        """End the downloads that expect another length than `length` bytes, which has just become known.

        `on_done` is called after the last comparison, unless the task was dropped in the meantime.
        """
        task = self._swarm.tasks[name]
        self._work.begin(self._compare_lengths(task, list(task.downloads), length, on_done))

    def _compare_lengths(self, task: Task, cids: list[str], length: int, on_done: Callable[[], None]) -> Iterator[None]:
        for cid in cids:
            member = self.members.get((task.id, cid))
            if member is not None and cid in task.downloads and self._swarm.tasks.get(task.id) is task:
                try:
                    member.check_length(length)
                except RemoteError as error:
                    self.members.remove(member.key)
                    self._parked.answer(member.key, wire.Pulled(wire.CDN_FAILED, msg=str(error)))
                    self._swarm.leave(*member.key, self._now())
            yield
        if self._swarm.tasks.get(task.id) is task:
            on_done()
