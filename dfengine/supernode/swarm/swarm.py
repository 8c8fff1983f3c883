"""The swarm as a state machine: events go in, each with `now` (seconds, monotonic); assignments with leases come out.

The same events with the same seed give the same decisions: no clock, socket or random source is read.

    add_task, set_count, drop_task, digests_known, cached, uncached, legacy_ready  the supernode's copies
    join, leave, touch, seen, tick                                     peers and CIDs
    pull, requested, paced, ending, arrived, done, failed, holds, evicted, window_moved  pieces
    complaints, apply_verdict                                          sources that the supernode verifies
    park, unpark, wakeable, answer_parked                              parked pulls

After each event, tasks in `wakeable` may have answerable parked pulls: call `answer_parked` for each before the next event. An unknown
task or CID raises UnknownTask or UnknownDownload; a piece outside the task raises BadPiece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import xxhash

from dfengine import task
from dfengine._bitset import Bitset
from dfengine._window import Window
from dfengine.errors import BadPiece, BadValue, IllegalEvent, UnknownDownload, UnknownTask
from dfengine.supernode.swarm import parking, stragglers, transitions
from dfengine.supernode.swarm._state import Download, Task
from dfengine.supernode.swarm.leases import Leases
from dfengine.supernode.swarm.limits import Limits
from dfengine.supernode.swarm.peers import AT_ONCE, Complaint, Key, Peers, key_of
from dfengine.supernode.swarm.reseed_deferral import ReseedDeferral
from dfengine.supernode.swarm.scheduler import CDN, Assignment, PullResult, pull
from dfengine.supernode.swarm.selections import Selections, checked
from dfengine.supernode.swarm.supernode_slots import BytesRead, SupernodeSlots
from dfengine.wire import Source

__all__ = ["CDN", "Assignment", "Complaint", "Expired", "Limits", "PullResult", "Swarm"]

BATCH = 256
"""Default number of downloads, leases or answers that one call handles, of each kind: some milliseconds."""

MAX_WINDOW = 1 << 12
"""Maximum window in pieces; a larger one is reduced to this. It bounds the memory of a CID, not the stream."""


class Expired(NamedTuple):
    """A lease that expired: its piece is wanted again. source_cid: None for the supernode."""

    task_id: str
    cid: str
    n: int
    source_cid: str | None


class Swarm:
    """Tasks, peers and CIDs. wakeable: tasks in order of their events. seed: decides the ties between equally good choices."""

    def __init__(self, limits: Limits | None = None, seed: int = 0) -> None:
        self.limits = limits or Limits()
        self.tasks: dict[str, Task] = {}
        self.leases = Leases()
        self.leases.watch = self.supernode_slots = SupernodeSlots(self.leases)
        self.peers = Peers(self.limits, self.leases, self.tasks)
        self.departed = self.peers.departed
        """(task, CID) of downloads removed without `leave`; the caller empties it."""
        self.complaints = self.peers.complaints
        """Sources to be verified by the supernode itself; the caller empties it and calls `apply_verdict` for each."""
        self.seed = seed
        self.wakeable: dict[str, None] = {}
        self.selections = Selections()
        self.same_hosts = ReseedDeferral()

    def _task(self, task_id: str) -> Task:
        state = self.tasks.get(task_id)
        if state is None:
            raise UnknownTask(f"no task {task_id}")
        return state

    def _download(self, task_id: str, cid: str, now: float) -> Download:
        return transitions.find(self.tasks, task_id, cid, now)

    def _rotation(self, name: str) -> int:
        return xxhash.xxh3_64_intdigest(name.encode(errors="replace"), self.seed) >> 35

    # THE SUPERNODE'S COPIES

    def add_task(self, task_id: str, count: int, now: float, *, lease: float | None = None) -> None:
        """Add a task of `count` pieces, -1 unknown. lease: seconds that one of its pieces may take. Raises IllegalEvent if it exists."""
        if task_id in self.tasks:
            raise IllegalEvent(f"task {task_id} exists already")
        rotation = self._rotation(task_id)
        self.tasks[task_id] = Task(task_id, count, self.limits, lease or self.limits.lease, rotation, self.wakeable, self.selections)
        self.tasks[task_id].same_hosts = self.same_hosts

    def set_count(self, task_id: str, count: int) -> None:
        """Set the number of pieces. Pieces that CIDs reported beyond it are removed. Raises IllegalEvent on a contradiction.

        CIDs that acknowledged pieces beyond it depart; if they are many, `tick` removes the rest.
        """
        state = self._task(task_id)
        state.check_count(count)
        self.peers.refute(transitions.conclude(state, count))

    def drop_task(self, task_id: str) -> None:
        """Remove the task and all its CIDs and parked pulls; if they are many, `tick` removes the rest. An unknown task is ignored."""
        state = self.tasks.pop(task_id, None)
        if state is not None:
            self.wakeable.pop(task_id, None)
            state.dropped, state.wakeable = True, {}
            self.peers.dropped_tasks.append(state)
            self.peers.remove_dropped(AT_ONCE)

    def cached(self, task_id: str, n: int, now: float) -> None:
        """The supernode has piece n and knows its native digest: it may be offered."""
        state = self._task(task_id)
        if state.count >= 0:
            state.check(n)
        state.cache(n)

    def cached_all(self, task_id: str, pieces: Bitset, now: float) -> None:
        """Apply `cached` to each of these pieces, by words."""
        state = self._task(task_id)
        if state.count >= 0 and (beyond := pieces.first_set(state.count)) >= 0:
            raise BadPiece(f"piece {beyond} is outside 0..{state.count - 1}")
        state.cache_all(pieces)

    def digests_known(self, task_id: str) -> None:
        """The native digests of all pieces of a new task with a known count are known, so that its downloads can be sources of them."""
        self._task(task_id).know_all()

    def uncached(self, task_id: str, n: int, now: float) -> None:
        """The supernode no longer has piece n; peers may still be sources of it."""
        state = self._task(task_id)
        if state.check(n) < state.size:
            state.uncache(n)

    def legacy_ready(self, task_id: str, n: int, now: float) -> None:
        """The md5 of piece n is known: it may be offered to 1.x clients."""
        state = self._task(task_id)
        if state.admits(n):
            state.cache_legacy(n)

    # PEERS AND CIDS

    def join(
        self, task_id: str, cid: str, peer: task.Peer, now: float, *, wnd: int = -1, legacy: bool = False, serves: bool = True,
        address: str = "", in_order: bool = False, proved: bool = True, is_follower: bool = False,
    ) -> None:
        """Add a CID to the task. wnd: pieces of its window, -1 regular. Port 0: it serves no pieces. address: it registered from, "": ip.

        proved: its peer's address was verified; else it is not a source until `prove`.
        is_follower: it is another supernode, whose hosts wait for its pieces: it has precedence where that costs this swarm little
        (`scheduler`).
        in_order: equally rare pieces are assigned from piece 0 on; else from a piece that depends on its CID, so that new CIDs start apart.

        A known CID is not changed; the call counts as a message from it. Raises BadValue for a window below one piece.
        """
        state = self._task(task_id)
        known = state.downloads.get(cid)
        if known is not None:
            self.peers.seen(known, now)
            return
        if wnd < 1 and wnd != -1:
            raise BadValue(f"a window of {wnd} pieces")
        window = None if wnd == -1 else Window(min(wnd, MAX_WINDOW), state.count)
        host = self.peers.state(key_of(peer, cid, address or peer.ip), now, peer.location, proved)
        source = Source(cid, peer.ip, peer.port, peer.path)
        serves = serves and peer.port > 0
        rotation = 0 if in_order else self._rotation(cid)
        self.peers.add(Download(state, source, host, window, legacy, serves, rotation, now, is_follower), now)

    def prove(self, key: Key) -> None:
        """Apply `Peers.prove`: a peer server of this swarm was found at that peer's address. Ignores an unknown key."""
        self.peers.prove(key)

    def unproved(self, key: Key) -> bool:
        """Whether the peer of that key is known, but its address is not proved."""
        peer = self.peers.states.get(key)
        return peer is not None and peer.unproved

    def leave(self, task_id: str, cid: str, now: float) -> bool:
        """Remove the CID from the task. False if it is unknown."""
        state = self.tasks.get(task_id)
        download = state.downloads.get(cid) if state else None
        if download is None:
            return False
        self.peers.remove(download)
        return True

    def unassign(self, task_id: str, cid: str) -> None:
        """Drop all leases of the CID: its pieces are wanted again, its sources' slots are free. An unknown CID is ignored."""
        state = self.tasks.get(task_id)
        download = state.downloads.get(cid) if state else None
        if download is not None:
            transitions.unassign(download, self.leases)

    def touch(self, cid: str, now: float, is_own: Callable[[str], bool] = lambda task_id: True) -> bool:
        """Record a heartbeat of the CID in the tasks for which `is_own` is true. False if no task knows the CID."""
        return self.peers.touch(cid, now, is_own)

    def seen(self, task_id: str, cid: str, now: float) -> None:
        """Record a message from the CID in one task."""
        self._download(task_id, cid, now)

    def tick(self, now: float, most: int = BATCH) -> list[Expired]:
        """Process due leases, claims, isolations and silent peers. Returns the leases that expired.

        Handles about `most` of each: the rest stays due.
        """
        expired = []
        for lease in self.leases.expired(now, most):
            download, source = lease.download, lease.source
            arrived = lease.n in download.arrived
            transitions.drop(lease, self.leases)
            if source is not None and not arrived:
                # If the client sent no message since the lease began, it is as likely the cause: the failure then counts for this pair
                # only.
                self.peers.record_failure(download, source, lease.n, "slow", download.seen > lease.started, now)
            expired.append(Expired(download.task.id, download.cid, lease.n, source.cid if source else None))
        for lease in self.leases.end_claims():
            stragglers.claim_over(lease, self.leases, now)
        self.selections.tick(now, most)
        self.same_hosts.tick(now, most)
        self.supernode_slots.check(now, most)
        self.peers.tick(now, most)
        return expired

    def next_due(self) -> float:
        """When to call `tick` next, seconds; 0 when the last call left updates, infinity when no deadline exists."""
        if self.peers.unfinished:
            return 0.0
        return min(each.soonest() for each in (self.leases, self.peers, self.selections, self.same_hosts))

    # PIECES

    def pull(self, task_id: str, cid: str, k: int, now: float, selected: Sequence[int] | None = None) -> PullResult:
        """Assign up to k pieces to the CID, each with a lease; see Pull for the kinds of answer.

        selected: the only pieces that this pull may get, in order of preference, also while it is parked; None: any. Raises BadPiece. A
        pull that selects pieces replaces a parked one, and so does the pull after it.
        """
        download = transitions.find(self.tasks, task_id, cid, now)
        if selected is not None or download.selected is not None:
            pieces = None if selected is None else checked(download.task, selected)
            parking.unpark(download)
            download.selected = pieces
        return pull(download, k, self.leases, now)

    def requested(self, task_id: str, n: int, client: str, bytes_read: BytesRead, now: float) -> None:
        """The supernode begins to send piece n to that client (`task.client_of`). Ignored if no lease of the piece waits for a request."""
        self.supernode_slots.requested(task_id, n, client, bytes_read, now)

    def done(self, task_id: str, cid: str, n: int, source_cid: str | None, now: float) -> None:
        """Piece n is written and can be served. Frees its slot, for any sender, and records the sender's success.

        source_cid: the sender; empty for the origin or for a piece that was already on disk; a CID of no peer counts as the supernode's.
        """
        transitions.done(self.tasks, task_id, cid, n, source_cid, self.leases, self.peers, now)

    def done_all(self, task_id: str, cid: str, pieces: list[tuple[int, str]], now: float) -> None:
        """Apply `done` to each (piece, source CID)."""
        for n, source_cid in pieces:
            self.done(task_id, cid, n, source_cid, now)

    def arrived(self, task_id: str, cid: str, n: int, now: float) -> None:
        """The content of piece n is received, but not written yet: frees the CID's download slot, not the source's."""
        download = self._download(task_id, cid, now)
        if download.task.admits(n):
            transitions.arrive(download, n, self.leases)

    def ending(self, task_id: str, cid: str, n: int, now: float) -> None:
        """Piece n will be complete within about one round trip: frees its source's slot and the CID's for the next piece."""
        download = self._download(task_id, cid, now)
        transitions.ending(download, download.task.check(n), self.leases)

    def paced(self, task_id: str, cid: str, seconds: float, now: float) -> None:
        """Record the CID's estimate of the seconds that a piece takes on its link. Reported while its first pieces arrive."""
        stragglers.paced(self._download(task_id, cid, now), seconds, self.leases, now)

    def failed(self, task_id: str, cid: str, n: int, source_cid: str | None, why: str, now: float) -> None:
        """Piece n was not received from that source. why: "gone", "digest", "slow", "other". source_cid empty: the source of the lease.

        The slot is freed if it is that source's. The failure counts towards isolation only for a source that the lease names.
        """
        download = self._download(task_id, cid, now)
        state = download.task
        state.check(n)
        lease = download.lease(n)
        source = state.downloads.get(source_cid) if source_cid else lease.source if lease else None
        reserved = lease is not None and lease.source is source
        if reserved or lease is None:
            transitions.fail(download, n, self.leases)
        if source is not None and source is not download and not (why != "digest" and source.window is not None and not source.has(n)):
            # A stream that evicted the piece meanwhile, and reported it, is not at fault.
            is_named = reserved or (lease is not None and lease.has_alternate(source))
            if lease is not None and not reserved:
                lease.remove_alternate(source)
            self.peers.record_failure(download, source, n, why, is_named, now)

    def apply_verdict(self, complaint: Complaint, found: str, now: float) -> None:
        """Apply the verification of a source of `complaints`. found: "right", "digest", "gone", "silent", "refused"; "": not possible."""
        self.peers.apply_verdict(complaint, found, now)

    def holds(self, task_id: str, cid: str, pieces: Iterable[int | tuple[int, int]], now: float) -> None:
        """The CID has these pieces (numbers, or [first, past) runs), after a resume or a restart of the supernode. Raises BadRange."""
        transitions.hold(self._download(task_id, cid, now), pieces, self.leases, now)

    def evicted(self, task_id: str, cid: str, n: int, now: float) -> None:
        """The CID evicted piece n and cannot serve it any more."""
        download = self._download(task_id, cid, now)
        transitions.evict(download, download.task.check(n))

    def window_moved(self, task_id: str, cid: str, una: int, end: int, now: float) -> None:
        """Apply a stream's window, in pieces: all below una are delivered, none from `end` on (-1: no limit) is wanted yet.

        Raises BadPiece for a window outside the task.
        """
        download = self._download(task_id, cid, now)
        if una > 0:
            download.task.check(una - 1)
        if end != -1 and end < una:
            raise BadPiece(f"a window from {una} to before {end}")
        transitions.move(download, una, end, self.leases)

    # PARKED PULLS

    def park(self, task_id: str, cid: str, k: int) -> None:
        """Park a pull of k pieces that was just answered without any. Raises BadValue for k < 1."""
        if k < 1:
            raise BadValue(f"a parked pull of {k} pieces")
        state = self._task(task_id)
        if cid not in state.downloads:
            raise UnknownDownload(f"no download {cid} of task {task_id}")
        parking.park(state.downloads[cid], k)

    def unpark(self, task_id: str, cid: str) -> None:
        """Remove the parked pull. An unknown CID, or one without a parked pull, is ignored."""
        state = self.tasks.get(task_id)
        if state is not None and cid in state.downloads:
            parking.unpark(state.downloads[cid])

    def answer_parked(self, task_id: str, now: float, most: int = BATCH) -> list[tuple[str, PullResult]]:
        """Answer about `most` parked pulls: (CID, answer); they are no longer parked. If more may be answerable, the task is wakeable."""
        state = self.tasks.get(task_id)
        if state is None:
            self.wakeable.pop(task_id, None)
            return []
        return parking.answer(state, self.leases, now, most)
