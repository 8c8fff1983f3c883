"""One task in the swarm: which pieces exist for whom, which download is a source of which, and who waits.

    known         pieces whose native digest the supernode knows: only these are offered to native clients
    legacy_known  the same with md5, for 1.x clients
    cached        pieces that the supernode itself can send
    promises      pieces on their way to a source, by the latest lease; left to it for Limits.patience
    seedable      cached and not promised: what the supernode may send again
    holders       finished copies and where they are            rarity   finished copies and those in flight

A download is a source ("enlisted") when it serves and its peer is not isolated. Only sources count in `holders` and `rarity`:
a copy on its way to a CID that will not serve it makes the piece no less rare.

Waiting. `parked` maps each parked download to what it lacks. What may answer one of them is noted in `openings` (a source that has
something new to give, a piece or a slot; None is the supernode) or in `again` (a parked download whose own state changed), and the task
in `wakeable`.
"""

from __future__ import annotations

from dfengine._bitset import Bitset
from dfengine.errors import BadPiece, IllegalEvent
from dfengine.supernode._holders import Holders
from dfengine.supernode._rarity import Rarity, lacking
from dfengine.supernode.download import ABSENT, Download
from dfengine.supernode.leases import Lease
from dfengine.supernode.limits import Limits

UNKNOWN = -1
FIRST_SIZE = 64
"""Pieces that a task of unknown length has room for at first."""


class TaskState:
    """count: pieces, -1 unknown. size: pieces there is room for. lease: seconds a piece may take. pace: mean seconds a piece takes."""

    def __init__(self, task_id: str, count: int, limits: Limits, lease: float, seed: int, wakeable: dict[str, None]) -> None:
        if count < UNKNOWN or count == 0:
            raise BadPiece(f"a task of {count} pieces")
        self.id = task_id
        self.count = count
        self.size = FIRST_SIZE if count == UNKNOWN else count
        self.limits = limits
        self.lease = lease
        self.pace = 0.0
        self.highest = -1
        self.known, self.legacy_known, self.cached, self.seedable, self.want = (Bitset(self.size) for _ in range(5))
        self.holders = Holders(self.size, seed & 0xFFFFFFFF)
        self.rarity = Rarity(self.size)
        self.promises: dict[int, Lease] = {}
        self.downloads: dict[str, Download] = {}
        self.unfinished = 0
        self.supernode_used = 0
        self.sent_by_supernode = 0
        self.sent_by_peers = 0
        self.parked: dict[Download, Bitset] = {}
        self.openings: dict[Download | None, None] = {}
        self.again: dict[Download, None] = {}
        self.wakeable = wakeable

    # PIECES

    def check(self, n: int) -> int:
        """n itself, with room made for it; raises BadPiece outside the task, or far beyond what is known of one of unknown length."""
        limit = self.count if self.count != UNKNOWN else self.highest + 1 + self.limits.ahead
        if not 0 <= n < limit:
            raise BadPiece(f"piece {n} is outside 0..{limit - 1}")
        if n >= self.size:
            self._grow(n)
        return n

    def _grow(self, n: int) -> None:
        self.size = max(2 * self.size, (n + 64) & ~63)
        for bits in (self.known, self.legacy_known, self.cached, self.seedable, self.want):
            bits.grow(self.size)
        self.holders.grow(self.size)
        self.rarity.grow(self.size)
        for download in self.parked:
            self.parked[download] = self.lack(download)

    def cache(self, n: int) -> None:
        """The supernode has piece n and its digest."""
        if self.count == UNKNOWN and n >= self.size:
            self._grow(n)
        self.highest = max(self.highest, n)
        self.cached.set(n)
        if n not in self.promises:
            self.seedable.set(n)
            self.opened(None)
        self._tell(self.known, n)

    def uncache(self, n: int) -> None:
        """The supernode no longer has piece n; its digest stays known."""
        self.cached.clear(n)
        self.seedable.clear(n)

    def tell_legacy(self, n: int) -> None:
        """The md5 of piece n is known."""
        self._tell(self.legacy_known, n)

    def _tell(self, digests: Bitset, n: int) -> None:
        if digests.set(n) and self.parked:
            if n in self.seedable:
                self.opened(None)
            for holder in self.holders.open_holders(n):
                self.opened(holder)

    def check_count(self, count: int) -> None:
        """Raises IllegalEvent unless the origin may have ended after `count` pieces by all that is known."""
        if self.count not in (UNKNOWN, count) or count < 1 or count <= self.highest:
            raise IllegalEvent(f"{count} pieces told; {self.count} were known, the last one cached is {self.highest}")

    def conclude(self, count: int) -> None:
        """The task has `count` pieces; its CIDs have been told."""
        self.count = count
        if count > self.size:
            self._grow(count - 1)
        self.unfinished = sum(not self.finished(download) for download in self.downloads.values())

    def promise(self, lease: Lease) -> None:
        """A piece that the supernode has is on its way to a source: others are to wait for that one."""
        self.promises[lease.n] = lease
        self.seedable.clear(lease.n)

    def end_promise(self, n: int) -> None:
        """The piece has a holder more, or will not have one soon: the supernode may send it again."""
        if self.promises.pop(n, None) is not None and n in self.cached:
            self.seedable.set(n)
            self.opened(None)

    # WANTS

    def wanted(self, download: Download) -> bool:
        """Fill `want` with the pieces that may be offered to the download and that it lacks, by digests known; True if there is any."""
        return self._lacking(self.want, self.legacy_known if download.legacy else self.known, download)

    def lack(self, download: Download) -> Bitset:
        """What the download lacks, offered or not."""
        bits = Bitset(self.size)
        self._lacking(bits, None, download)
        return bits

    def _lacking(self, into: Bitset, offered: Bitset | None, download: Download) -> bool:
        window = download.window
        lo, hi = (0, self.size) if window is None else (window.una, window.end)
        if download.limit >= 0:
            hi = min(hi, download.limit)
        if self.count != UNKNOWN:
            hi = min(hi, self.count)
        if not lacking(into, offered, download.have, lo, hi):
            return False
        for pieces in (download.running, download.arrived, download.early or ()):
            for n in pieces:
                into.clear(n)
        return into.first_set() >= 0

    def finished(self, download: Download) -> bool:
        """Every piece is here or has arrived."""
        return download.got == self.count

    def count_got(self, download: Download, by: int) -> None:
        """The download got `by` pieces more (or less)."""
        before = self.finished(download)
        download.got += by
        self.unfinished += before - self.finished(download)

    # SOURCES

    def enlist(self, download: Download) -> None:
        """The download becomes a source of what it has."""
        download.place = self.holders.join(download, download.have)
        self.rarity.add_all(download.have)
        for n in _in_flight(download):
            self.rarity.add(n)
        self.offer(download)

    def delist(self, download: Download) -> None:
        """The download stops being a source; it may go on downloading."""
        self.holders.leave(download.place)
        download.place = ABSENT
        self.rarity.drop_all(download.have)
        for n in _in_flight(download):
            self.rarity.drop(n)
            if (lease := self.promises.get(n)) is not None and lease.download is download:
                self.end_promise(n)
        self.openings.pop(download, None)

    def offer(self, download: Download) -> None:
        """A source has a piece or a slot more than before."""
        if download.place != ABSENT and download.peer.has_slot and download.have.first_set() >= 0:
            self.holders.open(download.place)
            self.opened(download)

    def lose(self, download: Download, n: int) -> None:
        """Piece n is no longer here."""
        download.have.clear(n)
        if download.place != ABSENT:
            self.holders.lost(download.place, n)
            self.rarity.drop(n)
            if download.have.first_set() < 0:
                self.holders.close(download.place)

    # WAKE-UPS

    def opened(self, source: Download | None) -> None:
        """`source` can give something that it could not before."""
        if self.parked:
            self.openings[source] = None
            self.wakeable[self.id] = None

    def changed(self, download: Download) -> None:
        """The download's own state changed: if it is parked it has to be looked at again."""
        if download.wish:
            self.again[download] = None
            self.wakeable[self.id] = None


def _in_flight(download: Download) -> list[int]:
    return [*download.running, *(n for n, lease in download.arrived.items() if lease is not None)]
