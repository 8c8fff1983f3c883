"""Which delivered pieces a stream keeps for its peers. Pure.

A delivered piece is in exactly one state; undelivered ones are never here.

    KEPT      others may be sent here for it
    LEAVING   least recently used; is to be reported to the supernode
    REPORTED  the report is sent
    gone      evicted

LEAVING and REPORTED pieces are still served: once the supernode has answered, no new download is sent here for them, and they go. Where
memory is needed sooner they go at once, and a download that is just receiving one is cut off before its last byte.
"Recently used" is a second chance (Corbató's clock): a piece that was asked for since its turn came last goes to the end of the queue.
"""

from __future__ import annotations

import sys
from collections import OrderedDict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SLACK = 8
"""Pieces that begin to leave ahead of need, at most a quarter of the cache."""


class Cache:
    """Of one stream. most: pieces. used(n): piece n was requested since the last call of `used(n)`."""

    def __init__(self, most: int, used: Callable[[int], bool]) -> None:
        self.most = most
        self.off = False
        """What is delivered leaves at once."""
        self._used = used
        self._kept: OrderedDict[int, None] = OrderedDict()
        self._leaving: OrderedDict[int, None] = OrderedDict()
        self._reported: OrderedDict[int, None] = OrderedDict()

    @property
    def pieces(self) -> int:
        """Delivered pieces that still take memory."""
        return len(self._kept) + len(self._leaving) + len(self._reported)

    def keep(self, n: int, spare: int) -> list[int]:
        """Piece n was delivered, and `spare` pieces beyond `most` have room in memory: what must be evicted at once, by the law last."""
        if self.off:
            return [n]
        room = self.most + spare
        self._kept[n] = None
        self._begin(len(self._kept) + len(self._leaving) + len(self._reported) - (room - min(SLACK, self.most // 4)))
        gone = []
        while self.pieces > room:
            queue = self._reported or self._leaving or self._kept
            gone.append(queue.popitem(last=False)[0])
        return gone

    def _begin(self, excess: int) -> None:
        """`excess` pieces in all, less those that are leaving already, begin to leave."""
        chances = len(self._kept)
        excess -= len(self._leaving) + len(self._reported)
        while excess > 0 and self._kept:
            n, _ = self._kept.popitem(last=False)
            if self._used(n) and chances > 0:
                self._kept[n] = None
                chances -= 1
            else:
                self._leaving[n] = None
                excess -= 1

    def __len__(self) -> int:
        return len(self._leaving)

    def tell(self, most: int = sys.maxsize) -> list[int]:
        """Up to `most` LEAVING pieces, to be reported; they are REPORTED now."""
        pieces = list(self._leaving)[:most]
        for n in pieces:
            del self._leaving[n]
            self._reported[n] = None
        return pieces

    def reported(self, pieces: list[int]) -> list[int]:
        """The supernode has the report: those of `pieces` that are still here and may be evicted now."""
        return [n for n in pieces if self._reported.pop(n, n) is None]
