"""One task in the swarm: which pieces are offered to whom, which downloads are sources, and which pulls are parked.

    known         pieces whose native digest the supernode knows: only these are offered to native clients
    legacy_known  the same with md5, for 1.x clients
    cached        pieces that the supernode itself can send
    in_flight_claims  piece -> the latest lease that brings it to a source, for Limits.reseed_delay
    seedable      cached and not claimed: what the supernode may send again
    holders       finished copies and where they are            rarity   finished copies and those in flight

A download is a source ("enlisted") when it serves and its peer is neither isolated nor unproved. Only sources count in `holders` and
`rarity`: a copy on its way to a CID that will not serve it makes the piece no less rare.

Parked pulls. `parked` is the queue of parked downloads, with what each lacks. freed_sources are sources with a new piece or slot (None: the
supernode), recheck are parked downloads whose own state changed: either may make a parked pull answerable, and the task is in `wakeable`.
"""

from __future__ import annotations

from dfengine._bitset import Bitset
from dfengine.errors import BadPiece, IllegalEvent
from dfengine.supernode.swarm._state import ABSENT, UNKNOWN, Download, Task


class TaskState(Task):
    """A task, with the events that change it."""

    # PIECES

    @property
    def reach(self) -> int:
        """Pieces that a download may report: those that the supernode has, and Limits.ahead beyond, which bounds memory."""
        reach: int = self.highest + 1 + self.limits.ahead
        return reach if self.count == UNKNOWN else min(self.count, reach)

    def check(self, n: int) -> int:
        """n itself; raises BadPiece outside the task, or outside `reach` for a task of unknown length."""
        limit = self.count if self.count != UNKNOWN else self.reach
        if not 0 <= n < limit:
            raise BadPiece(f"piece {n} is outside 0..{limit - 1}")
        return n

    def admits(self, n: int) -> bool:
        """Make room for piece n; False if it is outside `reach` and is ignored. Raises BadPiece as `check` does."""
        if self.check(n) >= self.reach:
            return False
        if n >= self.size:
            self._grow(n)
        return True

    def _grow(self, n: int) -> None:
        size = max(4 * self.size, (n + 64) & ~63)
        self.size = max(n + 1, min(size, self.count)) if self.count != UNKNOWN else size
        for bits in (self.known, self.legacy_known, self.cached, self.seedable, self.want):
            bits.grow(self.size)
        self.in_flight_claims.extend([None] * (self.size - len(self.in_flight_claims)))
        self.holders.grow(self.size)
        self.rarity.grow(self.size)
        self.parked.grow(self.size)
        for download in self.parked:
            if download.window is not None or download.limit >= 0:
                self.parked.put(download, *self.lack(download))

    def cache(self, n: int) -> None:
        """The supernode has piece n and its digest."""
        if n >= self.size:
            self._grow(n)
        self.highest = max(self.highest, n)
        self.cached.set(n)
        if self.in_flight_claims[n] is None:
            self.seedable.set(n)
            self.note_freed(None)
        self._tell(self.known, n)

    def cache_pieces(self, pieces: Bitset) -> None:
        """`cache` for each of these pieces, by words."""
        last = pieces.last_set()
        if last >= self.size:
            self._grow(last)
        self.cache_all(pieces)

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
                self.note_freed(None)
            if self.holders.copies(n):
                for holder in self.holders.open_holders(n):
                    self.note_freed(holder)

    def check_count(self, count: int) -> None:
        """Raises IllegalEvent if a count of `count` pieces contradicts what is known."""
        if self.count not in (UNKNOWN, count) or count < 1 or count <= self.highest:
            raise IllegalEvent(f"{count} pieces told; {self.count} were known, the last one cached is {self.highest}")

    # SOURCES

    def enlist(self, download: Download) -> None:
        """The download becomes a source of what it has."""
        download.holder_index = self.holders.join(download, download.have)
        self.rarity.add_all(download.have)
        for n in _in_flight(download):
            self.rarity.add(n)
        self.offer(download)

    def delist(self, download: Download) -> None:
        """The download stops being a source; it may go on downloading."""
        self.holders.leave(download.holder_index)
        download.holder_index = ABSENT
        self.rarity.drop_all(download.have)
        for n in _in_flight(download):
            self.rarity.drop(n)
            if (lease := self.in_flight_claims[n]) is not None and lease.download is download:
                self.end_claim(n)
        self.freed_sources.pop(download, None)

    def lose(self, download: Download, n: int) -> None:
        """Piece n is no longer here."""
        download.have.clear(n)
        if download.holder_index != ABSENT:
            self.holders.lose(download.holder_index, n)
            self.rarity.drop(n)
            if download.have.first_set() < 0:
                self.holders.close(download.holder_index)


def _in_flight(download: Download) -> list[int]:
    return [*download.running, *(n for n, lease in download.arrived.items() if lease is not None)]
