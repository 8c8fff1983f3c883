"""The interface of a stream's cache: the supernode is told of a piece before the piece is evicted."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class Leaving(Protocol):
    """See `dfengine.streaming.cache.Cache`. Used under the transfer's lock; imported only for its type."""

    def __len__(self) -> int:
        """Evicted pieces that are not reported yet."""

    def keep(self, n: int, spare: int) -> list[int]:
        """Piece n was delivered; `spare` more pieces than usual have room. Returns pieces whose memory must be freed at once."""

    def tell(self, most: int) -> list[int]:
        """Up to `most` of these pieces, to be reported now."""

    def told(self, pieces: list[int]) -> list[int]:
        """The supernode names this host for these no longer; returns those whose memory can be freed."""
