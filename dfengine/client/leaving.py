"""The interface of a stream's cache: the supernode is told of a piece before the piece is evicted."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class Leaving(Protocol):
    """`dfengine.streaming.cache.Cache` is one. Used under the transfer's lock; imported for its type alone."""

    def __len__(self) -> int:
        """Pieces that are to be told."""

    def keep(self, n: int, spare: int) -> list[int]:
        """Piece n was delivered; `spare` more pieces than usual have room. Those that must leave at once."""

    def tell(self, most: int) -> list[int]:
        """Those pieces, up to `most`; they are being told now."""

    def told(self, pieces: list[int]) -> list[int]:
        """Nobody is sent here for these any more: those of them that can be evicted."""
