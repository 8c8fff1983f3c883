"""Who may send what to whom at this moment: every slot in use is a lease.

Laws. A lease holds one upload slot of its source (a peer's, or one of the task's at the supernode) from `grant` to `release`, and stands in
`running` of its download, or after the content came in `arrived`. A peer whose last slot is taken is closed in all its tasks and opened in
all when one comes back. A lease that is not released by then is returned by `expired`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfengine.supernode.deadlines import Deadlines

if TYPE_CHECKING:
    from dfengine.supernode.download import Download


class Lease:
    """Piece n goes from `source` (None: the supernode) to `download`. started: seconds. named: the alternates told with it."""

    __slots__ = ("bucket", "download", "n", "named", "patience", "source", "started")

    def __init__(self, download: Download, n: int, source: Download | None, named: tuple[Download, ...], started: float) -> None:
        self.download = download
        self.n = n
        self.source = source
        self.named = named
        self.started = started
        self.bucket = 0
        self.patience = 0


class Leases:
    """All leases of the swarm and their deadlines."""

    def __init__(self) -> None:
        self._ends: Deadlines[Lease] = Deadlines()
        self._promises: Deadlines[Lease] = Deadlines()

    def __len__(self) -> int:
        return len(self._ends)

    def grant(self, download: Download, n: int, source: Download | None, named: tuple[Download, ...], now: float) -> Lease:
        """Assign piece n, which the download lacks and the source has, with a slot of the source's that is free."""
        task = download.task
        lease = Lease(download, n, source, named, now)
        download.running[n] = lease
        lease.bucket = self._ends.add(lease, now + task.lease)
        if source is None:
            task.supernode_used += 1
        else:
            source.sending = (*source.sending, lease)
            source.peer.used += 1
            if not source.peer.has_slot:
                for other in source.peer.downloads:
                    if other.place >= 0:
                        other.task.holders.close(other.place)
        if download.place >= 0:
            task.rarity.add(n)
            if n in task.cached:
                task.promise(lease)
                lease.patience = self._promises.add(lease, now + max(task.limits.patience, 2 * task.pace))
        return lease

    def release(self, lease: Lease) -> None:
        """Give the source's slot back. The caller moves the piece on."""
        self._ends.discard(lease, lease.bucket)
        task = lease.download.task
        if lease.patience:
            self._promises.discard(lease, lease.patience)
            if task.promises.get(lease.n) is lease:
                task.end_promise(lease.n)
        source = lease.source
        if source is None:
            task.supernode_used -= 1
            task.opened(None)
            return
        source.sending = tuple(other for other in source.sending if other is not lease)
        peer = source.peer
        was_full = not peer.has_slot
        peer.used -= 1
        if was_full and peer.has_slot:
            for other in peer.downloads:
                other.task.offer(other)

    def drop(self, lease: Lease) -> None:
        """The piece will not come under this lease: it is wanted again, unless its content has arrived."""
        download = lease.download
        if download.running.pop(lease.n, None) is None:
            download.arrived[lease.n] = None
        if download.place >= 0:
            download.task.rarity.drop(lease.n)
        self.release(lease)
        download.task.changed(download)

    def expired(self, now: float) -> list[Lease]:
        """The leases whose time is over, still in place: the caller drops them."""
        return self._ends.due(now)

    def give_up(self, now: float) -> None:
        """End the promises that are older than the swarm's patience."""
        for lease in self._promises.due(now):
            task = lease.download.task
            if task.promises.get(lease.n) is lease:
                task.end_promise(lease.n)

    def next(self) -> float | None:
        """When tick has something to do here, seconds."""
        times = [time for time in (self._ends.next(), self._promises.next()) if time is not None]
        return min(times, default=None)
