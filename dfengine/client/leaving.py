"""The interface of a stream's cache: a piece is reported to the supernode before it is evicted."""

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

    def reported(self, pieces: list[int]) -> list[int]:
        """The supernode does not offer this host for these any more; returns those whose memory can be freed."""
