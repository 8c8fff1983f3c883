"""The cache of delivered pieces that a stream serves to its peers. Pure.

A delivered piece is in exactly one state; undelivered pieces are never in the cache.

    KEPT      the supernode may name this host as a source of it
    EVICTING  least recently used; must be reported to the supernode
    REPORTED  the report is sent
    gone      evicted

EVICTING and REPORTED pieces are still served. Once the supernode has answered, it names this host to no further download, and the pieces
are evicted. If memory is needed sooner they are evicted at once, and a download that is receiving one is cut off before its last byte.
"Recently used" means second chance (Corbató's clock): a piece that was requested since its last turn moves to the end of the queue.
"""

from __future__ import annotations

import sys
from collections import OrderedDict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SLACK = 8
"""Pieces that become EVICTING before memory is needed, at most a quarter of the cache."""


class Cache:
    """The cache of one stream. most: pieces. used(n): whether piece n was requested since the last call of `used(n)`."""

    def __init__(self, most: int, used: Callable[[int], bool]) -> None:
        self.most = most
        self.disabled = False
        """Whether delivered pieces are evicted at once."""
        self._used = used
        self._kept: OrderedDict[int, None] = OrderedDict()
        self._evicting: OrderedDict[int, None] = OrderedDict()
        self._reported: OrderedDict[int, None] = OrderedDict()

    @property
    def pieces(self) -> int:
        """Number of delivered pieces in memory."""
        return len(self._kept) + len(self._evicting) + len(self._reported)

    def add(self, n: int, spare: int) -> list[int]:
        """Cache the delivered piece n, with room for `spare` pieces beyond `most`. Return pieces to evict at once, REPORTED ones first."""
        if self.disabled:
            return [n]
        room = self.most + spare
        self._kept[n] = None
        self._begin(len(self._kept) + len(self._evicting) + len(self._reported) - (room - min(SLACK, self.most // 4)))
        gone = []
        while self.pieces > room:
            queue = self._reported or self._evicting or self._kept
            gone.append(queue.popitem(last=False)[0])
        return gone

    def _begin(self, excess: int) -> None:
        """Make pieces EVICTING, so that together with those that are EVICTING or REPORTED already there are `excess`."""
        chances = len(self._kept)
        excess -= len(self._evicting) + len(self._reported)
        while excess > 0 and self._kept:
            n, _ = self._kept.popitem(last=False)
            if self._used(n) and chances > 0:
                self._kept[n] = None
                chances -= 1
            else:
                self._evicting[n] = None
                excess -= 1

    def __len__(self) -> int:
        return len(self._evicting)

    def to_report(self, most: int = sys.maxsize) -> list[int]:
        """Return up to `most` EVICTING pieces for a report; they become REPORTED."""
        pieces = list(self._evicting)[:most]
        for n in pieces:
            del self._evicting[n]
            self._reported[n] = None
        return pieces

    def confirmed(self, pieces: list[int]) -> list[int]:
        """Note that the supernode has answered a report of `pieces`. Return those that are still in memory and may be evicted now."""
        return [n for n in pieces if self._reported.pop(n, n) is None]
