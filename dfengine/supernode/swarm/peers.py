"""Peers and their CIDs: when they were last seen, and which of them are isolated.

`trust.py` has the rules of trust, which are applied here. A peer is removed with its last CID, unless it is isolated: then it stays until
the isolation ends, so that leaving and joining again does not end it. complaints: sources that the supernode should verify itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from itertools import islice
from typing import NamedTuple

from dfengine import task
from dfengine.supernode.swarm import parking, stragglers, transitions, trust
from dfengine.supernode.swarm._state import ABSENT, Download, PeerState, Task
from dfengine.supernode.swarm.deadlines import Deadlines
from dfengine.supernode.swarm.leases import Leases
from dfengine.supernode.swarm.limits import Limits
from dfengine.supernode.swarm.small_set import added, removed
from dfengine.supernode.swarm.verification_limits import VerificationLimits
from dfengine.wire import Source

Key = tuple[str, int, str]

REFUSED = 15.0
"""Maximum seconds for which a port without a listener is isolated: a restarted peer server may use it."""

AT_ONCE = 64
"""Downloads that an event updates at once; if there are more, `tick` updates the others."""


def key_of(peer: task.Peer, cid: str, address: str) -> Key:
    """(ip, port, the address it registered from if that differs); for a CID without a piece server (address, 0, CID).

    Otherwise a client could register another host's peer server with pieces it does not have, and failures would count against that host.
    """
    return (peer.ip, peer.port, "" if address == peer.ip else address) if peer.port else (address, 0, cid)


class Complaint(NamedTuple):
    """A source that the supernode should verify by fetching piece n from it. key: of its peer. why: the failure. reporter: an address."""

    task_id: str
    n: int
    source: Source
    key: Key
    why: str = ""
    reporter: str = ""


class Sanction(NamedTuple):
    """A source that one client ("blocked") or no client ("isolated") gets any more, or that is available again ("released").

    why: the failure. key: of the source's peer. client: the address of the client that failed to get a piece, "" for the supernode.
    """

    kind: str
    key: Key
    why: str = ""
    client: str = ""
    task_id: str = ""


MAX_REPORTED = 16, 4
"""Limits on peers isolated because of another supernode's report: so many, or one in so many known peers if that is more."""

MAX_SANCTIONS = 1000
"""Sanctions that are stored until they are read; the oldest are dropped."""


class Peers:
    """All peers. departed: (task, CID) of those removed for silence or for claiming pieces that do not exist.

    silence_deadlines has each peer with a CID, at the end of a silence that began at an earlier value of `seen`. `seen` is compared when
    the deadline is due, so a message only has to set `seen`.

    Updates of many downloads are done for some of them at a time (`tick`): dropped_tasks still have downloads, silent_peers are being
    removed, source_updates are downloads whose peer was isolated or released, refuted ones acknowledged pieces that do not exist.
    """

    def __init__(self, limits: Limits, leases: Leases, tasks: dict[str, Task]) -> None:
        self.limits = limits
        self.leases = leases
        self.tasks = tasks
        self.states: dict[Key, PeerState] = {}
        self.cids: dict[str, Collection[Download]] = {}
        self.dropped_tasks: deque[Task] = deque()
        self.silent_peers: deque[PeerState] = deque()
        self.source_updates: deque[Download] = deque()
        self.refuted: deque[Download] = deque()
        self.silence_deadlines: Deadlines[PeerState] = Deadlines()
        self.departed: list[tuple[str, str]] = []
        self.complaints: list[Complaint] = []
        self.sanctions: deque[Sanction] = deque(maxlen=MAX_SANCTIONS)
        """Sanctions since the caller last took them, for operators of the swarm."""
        self._verifying: set[Key] = set()
        self._verification_limits = VerificationLimits()
        self.isolations: Deadlines[PeerState] = Deadlines()
        self._reported: set[Key] = set()
        """Peers that are isolated because of another supernode's report."""
        self.blocks_due: Deadlines[tuple[str, str, Key]] = Deadlines()

    # JOINING AND LEAVING

    def state(self, key: Key, now: float, location: str = "", proved: bool = True) -> PeerState:
        """Return the peer of that key, a new one if it is unknown. location: its current label. proved: see PeerState.unproved."""
        peer = self.states.get(key)
        if peer is None:
            peer = self.states[key] = PeerState(key, self.limits.up, now)
            peer.unproved = not proved
        elif proved:
            self.prove(key)
        peer.locate(location)
        return peer

    def add(self, download: Download, now: float) -> None:
        """Add a new CID to its task and its peer, as a source if it may be one."""
        task, peer = download.task, download.peer
        task.downloads[download.cid] = download
        if not task.unfinished:
            stragglers.begin(task)
            task.usual_time = self.leases.piece_time
        task.unfinished += 1
        task.unfinished_followers += download.is_follower
        if download.legacy:
            task.mixed = True
            if task.slow:
                stragglers.retune(task, False)
        peer.seen = now
        if not peer.downloads:
            self._schedule_silence(peer)
        peer.downloads = added(peer.downloads, download)
        self.cids[download.cid] = added(self.cids.get(download.cid, ()), download)
        if _is_source(download):
            transitions.enlist(download)
        self.seen(download, now)

    def remove(self, download: Download) -> None:
        """Remove the CID with its pieces and with all leases of pieces that it receives and sends."""
        task, peer = download.task, download.peer
        if task.dropped:
            download.pending_want, download.holder_index = 0, ABSENT  # the task's tables are not read any more
        parking.unpark(download)
        transitions.leave(download, self.leases)
        for source in list(download.source_failures or ()):
            trust.forgive(download, source)
        task.unfinished -= not task.finished(download)
        task.unfinished_followers -= download.is_follower and not task.finished(download)
        del task.downloads[download.cid]
        peer.downloads = removed(peer.downloads, download)
        same = removed(self.cids.pop(download.cid), download)
        if same:
            self.cids[download.cid] = same
        if not peer.downloads:
            self.silence_deadlines.discard(peer, peer.silence)
            if not peer.isolated:
                self._forget(peer)

    def depart(self, download: Download) -> None:
        """Remove a CID that did not leave by itself, and report it in `departed`."""
        if not download.task.dropped:
            self.departed.append((download.task.id, download.cid))
        self.remove(download)

    def refute(self, downloads: list[Download]) -> None:
        """Remove downloads that acknowledged pieces which do not exist."""
        self.refuted.extend(downloads)
        self._depart_refuted(AT_ONCE)

    def _depart_refuted(self, most: int) -> None:
        while self.refuted and most > 0:
            download = self.refuted.popleft()
            most -= 1
            if not download.task.dropped and download.task.downloads.get(download.cid) is download:
                self.depart(download)

    def _forget(self, peer: PeerState) -> None:
        for client in list(peer.blocked_by or ()):
            trust.forgive(client, peer)
        del self.states[peer.key]

    def _find(self, task_id: str, cid: str) -> Download | None:
        task = self.tasks.get(task_id)
        return None if task is None else task.downloads.get(cid)

    # KEEP-ALIVE

    def seen(self, download: Download, now: float) -> None:
        """Record that the CID sent a message."""
        download.seen = download.peer.seen = now

    def _schedule_silence(self, peer: PeerState) -> None:
        peer.silence = self.silence_deadlines.add(peer, peer.seen + self.limits.peer_gc)

    def touch(self, cid: str, now: float, is_own: Callable[[str], bool]) -> bool:
        """See `Swarm.touch`."""
        for download in self.cids.get(cid, ()):
            if is_own(download.task.id):
                self.seen(download, now)
        return cid in self.cids

    # TRUST

    def record_failure(self, client: Download, source: Download, n: int, why: str, counts: bool, now: float) -> None:
        """Record that the client failed to get piece n from the source. counts: for all clients, not only for this one."""
        peer = source.peer
        blocked = trust.block(client, peer, why, self.limits)
        if blocked:
            self.blocks_due.add((client.task.id, client.cid, peer.key), now + self.limits.isolation)
            self.sanctions.append(Sanction("blocked", peer.key, why, client.peer.address, client.task.id))
        verdict = trust.record_failure(peer, client.peer.address, why, self.limits) if counts else trust.Verdict.NOTHING
        if blocked and verdict is trust.Verdict.NOTHING:
            verdict = trust.Verdict.VERIFY  # it may be gone, and may be the only sharer that downloads wait for
        if verdict is trust.Verdict.ISOLATE:
            self._isolate(peer, now, why, client.peer.address)
        elif verdict is trust.Verdict.VERIFY and peer.key not in self._verifying and not (peer.isolated or peer.unproved):
            address = client.peer.address
            if self._verification_limits.acquire(address, now):
                self._verifying.add(peer.key)
                self.complaints.append(Complaint(source.task.id, n, source.source, peer.key, why, address))

    def isolate_reported(self, key: Key, now: float) -> bool:
        """Isolate a peer that another supernode reports for wrong bytes, as if it had been found here, but a success ends the isolation.

        False: too many peers are isolated by such reports, or this one is isolated already. The peer may be unknown and join later.
        """
        least, share = MAX_REPORTED
        if key in self._reported or len(self._reported) >= max(least, len(self.states) // share):
            return False
        peer = self.states.get(key) or self.state(key, now, proved=False)
        if peer.isolated:
            return False
        self._reported.add(key)
        self._isolate(peer, now, "reported")
        return True

    def _isolate(self, peer: PeerState, now: float, why: str, client: str = "") -> None:
        self.sanctions.append(Sanction("isolated", peer.key, why, client))
        if peer.isolated:
            self.isolations.discard(peer, peer.bucket)
        peer.isolated = True
        seconds = min(REFUSED, self.limits.isolation) if why == "refused" else self.limits.isolation
        peer.bucket = self.isolations.add(peer, now + seconds)
        self._queue_source_updates(peer)

    def _queue_source_updates(self, peer: PeerState) -> None:
        self.source_updates.extend(peer.downloads)
        self.update_sources(AT_ONCE)

    def update_sources(self, most: int) -> None:
        """Enlist or delist downloads whose peer's isolation changed; about `most` of them."""
        while self.source_updates and most > 0:
            download = self.source_updates.popleft()
            most -= 1 + (len(download.have) >> 12)
            task, serves = download.task, _is_source(download)
            if task.dropped or task.downloads.get(download.cid) is not download or serves == (download.holder_index != ABSENT):
                continue
            if serves:
                transitions.enlist(download)
            else:
                transitions.delist(download)

    def prove(self, key: Key) -> None:
        """Make the downloads of a peer sources, because a peer server of this swarm was found at its address. Ignores an unknown key."""
        peer = self.states.get(key)
        if peer is not None and peer.unproved:
            peer.unproved = False
            self._queue_source_updates(peer)

    def apply_verdict(self, complaint: Complaint, found: str, now: float) -> None:
        """Apply the result of a verification: "right", "digest" (wrong bytes), "gone" (no such piece), "silent", "refused" (no server
        listens there); "": not possible."""
        self._verifying.discard(complaint.key)
        self._verification_limits.finished(complaint.reporter, found == "right", now)
        peer = self.states.get(complaint.key)
        if peer is None:
            return
        source = self._find(complaint.task_id, complaint.source.cid)
        if source is None or source.peer is not peer or peer.isolated:
            return
        if found == "right":
            trust.clear(peer, complaint.why)
            return
        has_not = found == "gone" and source.has(complaint.n)
        if (found in ("silent", "refused") or (has_not and complaint.why != "digest")) and trust.confirmed(peer):
            self._isolate(peer, now, found)
            return
        wrong = found == "digest" or has_not
        if wrong and trust.record_failure(peer, trust.OWN, found, self.limits) is trust.Verdict.ISOLATE:
            self._isolate(peer, now, found)

    def record_success(self, client: Download, source: Download, now: float) -> None:
        """Record that the client got a piece from the source."""
        source.peer.seen = now
        self._unblock(client, source.peer)
        if trust.record_success(source.peer, client.peer.address):
            self.isolations.discard(source.peer, source.peer.bucket)
            self._end_isolation(source.peer)

    def _end_isolation(self, peer: PeerState) -> None:
        self.sanctions.append(Sanction("released", peer.key))
        self._reported.discard(peer.key)
        peer.isolated = peer.wrong_bytes_proven = peer.cleared = False
        peer.failures = peer.accusers = None
        if not peer.downloads:
            self._forget(peer)
        self._queue_source_updates(peer)

    def _end_block(self, task_id: str, cid: str, key: Key) -> None:
        peer, client = self.states.get(key), self._find(task_id, cid)
        if peer is not None and client is not None:
            self._unblock(client, peer)

    def _unblock(self, client: Download, peer: PeerState) -> None:
        """Let the client get that source again; a parked pull of it is retried."""
        trust.forgive(client, peer)
        client.task.recheck_if_parked(client)

    # TIME

    @property
    def unfinished(self) -> bool:
        """Whether `tick` has left updates for its next call."""
        return bool(self.source_updates or self.dropped_tasks or self.silent_peers or self.refuted)

    def soonest(self) -> float:
        """The first deadline in seconds; infinity for none."""
        return min(self.isolations.soonest(), self.blocks_due.soonest(), self.silence_deadlines.soonest())

    def tick(self, now: float, most: int) -> None:
        """End isolations whose time is over and remove peers that were silent for too long: about `most` of each, the rest later."""
        for task_id, cid, key in self.blocks_due.due(now, most):
            self._end_block(task_id, cid, key)
        for peer in self.isolations.due(now, most):
            self._end_isolation(peer)
        for peer in self.silence_deadlines.due(now, most):
            if any(download.pending_want for download in peer.downloads):
                peer.seen = now  # a parked pull is an open connection
            if peer.seen + self.limits.peer_gc > now:
                self._schedule_silence(peer)
            else:
                self.silent_peers.append(peer)
        self.update_sources(most)
        self._forget_silent(now, most)
        self._depart_refuted(most)
        self.remove_dropped(most)

    def _forget_silent(self, now: float, most: int) -> None:
        while self.silent_peers and most > 0:
            peer = self.silent_peers[0]
            if peer.downloads and peer.seen + self.limits.peer_gc <= now:
                for download in list(islice(peer.downloads, most)):
                    self.depart(download)
                    most -= 1
                continue
            self.silent_peers.popleft()
            if peer.downloads:  # a message arrived meanwhile
                self._schedule_silence(peer)

    def remove_dropped(self, most: int) -> None:
        """Remove downloads of dropped tasks, about `most` of them."""
        while self.dropped_tasks and most > 0:
            downloads = list(islice(self.dropped_tasks[0].downloads.values(), most))
            if not downloads:
                self.dropped_tasks.popleft().clear()
            for download in downloads:
                self.remove(download)
                most -= 1


def _is_source(download: Download) -> bool:
    peer = download.peer
    return download.serves and not peer.isolated and not peer.unproved
