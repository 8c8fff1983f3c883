"""Who is there: peers and their CIDs, when they were last heard of, and which of them are isolated.

The rules of trust stand in `trust.py`; here they are acted on. A peer is forgotten with its last CID, unless it is isolated: then it is
remembered until that ends, so that leaving and coming back frees nobody. `doubts`: sources that the supernode should ask itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from itertools import islice
from typing import NamedTuple

from dfengine import task
from dfengine.supernode.swarm import parking, trust
from dfengine.supernode.swarm._state import ABSENT, Download, PeerState
from dfengine.supernode.swarm.bunch import joined, parted
from dfengine.supernode.swarm.deadlines import Deadlines
from dfengine.supernode.swarm.leases import Leases
from dfengine.supernode.swarm.limits import Limits
from dfengine.supernode.swarm.questions import Questions
from dfengine.supernode.swarm.task_state import TaskState
from dfengine.wire import Source

Key = tuple[str, int, str]

AT_ONCE = 64
"""Downloads of which an event settles whatever it means for them; those of a larger crowd follow by `tick`."""


def key_of(peer: task.Peer, cid: str, address: str) -> Key:
    """ip, port, and the address it registered from where that is another; of one that serves nobody that address, 0 and its CID.

    Else a stranger could register another's piece server with what it does not have, and what then fails would count against that.
    """
    return (peer.ip, peer.port, "" if address == peer.ip else address) if peer.port else (address, 0, cid)


class Complaint(NamedTuple):
    """A source to be asked for piece n of a task by the supernode itself; key: its peer's. why, by: the complaint, its client's address."""

    task_id: str
    n: int
    source: Source
    key: Key
    why: str = ""
    by: str = ""


class Peers:
    """`departed`: (task, CID) of those forgotten for their silence or a false claim.

    `heard` has each peer with a CID at the end of the silence that began at some sign of life: the last one is looked at then, so that one
    costs no more than its time.

    What is due for many downloads is done for some of them at a time (`tick`): `leaving` are tasks that were dropped and still have
    downloads, `silent` are peers that are being forgotten, `unsettled` downloads of peers that were isolated, or are no longer.
    """

    def __init__(self, limits: Limits, leases: Leases) -> None:
        self.limits = limits
        self.leases = leases
        self.states: dict[Key, PeerState] = {}
        self.cids: dict[str, Collection[Download]] = {}
        self.leaving: deque[TaskState] = deque()
        self.silent: deque[PeerState] = deque()
        self.unsettled: deque[Download] = deque()
        self.heard: Deadlines[PeerState] = Deadlines()
        self.departed: list[tuple[str, str]] = []
        self.doubts: list[Complaint] = []
        self._asked: set[Key] = set()
        self._questions = Questions()
        self.isolations: Deadlines[PeerState] = Deadlines()
        self.blocks_due: Deadlines[tuple[str, str, Key]] = Deadlines()

    # COMING AND GOING

    def state(self, key: Key, now: float, location: str = "", proved: bool = True) -> PeerState:
        """The peer of that key, a new one if it is not known; location: what it says of its place now. proved: see PeerState.unproved."""
        peer = self.states.get(key)
        if peer is None:
            peer = self.states[key] = PeerState(key, self.limits.up, now)
            peer.unproved = not proved
        elif proved:
            self.prove(key)
        peer.locate(location)
        return peer

    def add(self, download: Download, now: float) -> None:
        """A new CID: it takes its place in its task and at its peer, and is a source if it may be."""
        task, peer = download.task, download.peer
        task.downloads[download.cid] = download
        if not task.unfinished:
            task.begin()
        task.unfinished += 1
        if download.legacy:
            task.mixed = True
            if task.slow:
                task.retune(False)
        peer.seen = now
        if not peer.downloads:
            self._listen(peer)
        peer.downloads = joined(peer.downloads, download)
        self.cids[download.cid] = joined(self.cids.get(download.cid, ()), download)
        if _is_source(download):
            task.enlist(download)
        self.seen(download, now)

    def remove(self, download: Download) -> None:
        """The CID goes with all it has, is getting and is sending; nothing remembers it."""
        task, peer = download.task, download.peer
        if task.dropped:
            download.pending_want, download.place = 0, ABSENT  # nobody looks at its tables any more
        parking.unpark(download)
        if download.place != ABSENT:
            task.delist(download)
        self.unassign(download)
        for lease in download.sending:
            self.leases.drop(lease)
        for source in list(download.charged or ()):
            trust.forgive(download, source)
        task.unfinished -= not task.finished(download)
        del task.downloads[download.cid]
        peer.downloads = parted(peer.downloads, download)
        same = parted(self.cids.pop(download.cid), download)
        if same:
            self.cids[download.cid] = same
        if not peer.downloads:
            self.heard.discard(peer, peer.silence)
            if not peer.isolated:
                self._forget(peer)

    def unassign(self, download: Download) -> None:
        """What the CID is getting is nobody's any more."""
        for lease in [*download.running.values(), *(lease for lease in download.arrived.values() if lease)]:
            self.leases.drop(lease)

    def depart(self, download: Download) -> None:
        """Remove a CID that did not say so itself."""
        if not download.task.dropped:
            self.departed.append((download.task.id, download.cid))
        self.remove(download)

    def _forget(self, peer: PeerState) -> None:
        for client in list(peer.blocked_by or ()):
            trust.forgive(client, peer)
        del self.states[peer.key]

    # SIGNS OF LIFE

    def seen(self, download: Download, now: float) -> None:
        """The CID sent something."""
        download.seen = download.peer.seen = now

    def _listen(self, peer: PeerState) -> None:
        peer.silence = self.heard.add(peer, peer.seen + self.limits.peer_gc)

    def touch(self, cid: str, now: float) -> bool:
        """A heartbeat. False if no task knows the CID."""
        for download in self.cids.get(cid, ()):
            self.seen(download, now)
        return cid in self.cids

    # TRUST

    def record_failure(self, client: Download, source: Download, n: int, why: str, counts: bool, now: float) -> None:
        """The client failed to get piece n from the source. counts: against the source itself, not only between the two."""
        peer = source.peer
        if trust.block(client, peer, why, self.limits):
            self.blocks_due.add((client.task.id, client.cid, peer.key), now + self.limits.isolation)
        verdict = trust.record_failure(peer, client.peer.address, why, self.limits) if counts else trust.Verdict.NOTHING
        if verdict is trust.Verdict.ISOLATE:
            self._isolate(peer, now)
        elif verdict is trust.Verdict.DOUBT and peer.key not in self._asked and not (peer.isolated or peer.unproved):
            address = client.peer.address
            if self._questions.take(address, now):
                self._asked.add(peer.key)
                self.doubts.append(Complaint(source.task.id, n, source.source, peer.key, why, address))

    def _isolate(self, peer: PeerState, now: float) -> None:
        if peer.isolated:
            self.isolations.discard(peer, peer.bucket)
        peer.isolated = True
        peer.bucket = self.isolations.add(peer, now + self.limits.isolation)
        self._unsettle(peer)

    def _unsettle(self, peer: PeerState) -> None:
        self.unsettled.extend(peer.downloads)
        self.settle(AT_ONCE)

    def settle(self, most: int) -> None:
        """Downloads whose peer was isolated are no sources any more, and others are now; about `most` of them."""
        while self.unsettled and most > 0:
            download = self.unsettled.popleft()
            most -= 1 + (len(download.have) >> 12)
            task, serves = download.task, _is_source(download)
            if task.dropped or task.downloads.get(download.cid) is not download or serves == (download.place != ABSENT):
                continue
            if serves:
                task.enlist(download)
            else:
                task.delist(download)

    def prove(self, key: Key) -> None:
        """A peer server of this swarm is at that address: its downloads are sources now. Not known: nothing happens."""
        peer = self.states.get(key)
        if peer is not None and peer.unproved:
            peer.unproved = False
            self._unsettle(peer)

    def judge(self, doubt: Complaint, found: str, now: float) -> None:
        """What came of asking: "right", "digest" (wrong bytes), "gone" (it has not the piece), "silent"; "": it could not be asked."""
        self._asked.discard(doubt.key)
        self._questions.answered(doubt.by, found == "right", now)
        peer = self.states.get(doubt.key)
        if peer is None:
            return
        source = next((one for one in peer.downloads if one.task.id == doubt.task_id and one.cid == doubt.source.cid), None)
        if source is None or peer.isolated:
            return
        if found == "right":
            trust.clear(peer, doubt.why)
            return
        if found == "silent" and trust.confirmed(peer):
            self._isolate(peer, now)
            return
        wrong = found == "digest" or (found == "gone" and source.has(doubt.n))
        if wrong and trust.record_failure(peer, trust.OWN, found, self.limits) is trust.Verdict.ISOLATE:
            self._isolate(peer, now)

    def credit(self, client: Download, source: Download, now: float) -> None:
        """The client got a piece from the source."""
        source.peer.seen = now
        self._pardon(client, source.peer)
        if trust.credit(source.peer, client.peer.address):
            self.isolations.discard(source.peer, source.peer.bucket)
            self._trust(source.peer)

    def _trust(self, peer: PeerState) -> None:
        peer.isolated = peer.proven = peer.cleared = False
        peer.failures = peer.accusers = None
        if not peer.downloads:
            self._forget(peer)
        self._unsettle(peer)

    def _forgive(self, task_id: str, cid: str, key: Key) -> None:
        peer = self.states.get(key)
        for client in self.cids.get(cid, ()):
            if client.task.id == task_id and peer is not None:
                self._pardon(client, peer)

    def _pardon(self, client: Download, peer: PeerState) -> None:
        """The client may be sent there again: also one that is parked, whatever event it was."""
        trust.forgive(client, peer)
        client.task.changed(client)

    # TIME

    def tick(self, now: float, most: int) -> None:
        """End isolations whose time is over, forget peers that have been silent for too long: of each kind about `most`, the rest later."""
        for task_id, cid, key in self.blocks_due.due(now, most):
            self._forgive(task_id, cid, key)
        for peer in self.isolations.due(now, most):
            self._trust(peer)
        for peer in self.heard.due(now, most):
            if any(download.pending_want for download in peer.downloads):
                peer.seen = now  # a parked pull is an open connection
            if peer.seen + self.limits.peer_gc > now:
                self._listen(peer)
            else:
                self.silent.append(peer)
        self.settle(most)
        self._forget_silent(now, most)
        self.drain(most)

    def _forget_silent(self, now: float, most: int) -> None:
        while self.silent and most > 0:
            peer = self.silent[0]
            if peer.downloads and peer.seen + self.limits.peer_gc <= now:
                for download in list(islice(peer.downloads, most)):
                    self.depart(download)
                    most -= 1
                continue
            self.silent.popleft()
            if peer.downloads:  # it was heard of meanwhile
                self._listen(peer)

    def drain(self, most: int) -> None:
        """The downloads of dropped tasks go, about `most` of them."""
        while self.leaving and most > 0:
            downloads = list(islice(self.leaving[0].downloads.values(), most))
            if not downloads:
                self.leaving.popleft().let_go()
            for download in downloads:
                self.remove(download)
                most -= 1


def _is_source(download: Download) -> bool:
    peer = download.peer
    return download.serves and not peer.isolated and not peer.unproved
