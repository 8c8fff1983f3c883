"""The interface of a stream's cache: a piece is reported to the supernode before it is evicted."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class EvictionReports(Protocol):
    """Interface of `dfengine.streaming.cache.Cache`. Used under the transfer's lock; imported only for its type."""

    def __len__(self) -> int:
        """Number of evicted pieces that are not reported yet."""

    def add(self, n: int, spare: int) -> list[int]:
        """Cache the delivered piece n. `spare` more pieces than usual have room. Return pieces whose memory must be freed at once."""

    def to_report(self, most: int) -> list[int]:
        """Return up to `most` evicted pieces, to be reported now."""

    def confirmed(self, pieces: list[int]) -> list[int]:
        """Note that the supernode no longer offers this host for these pieces. Return those whose memory can be freed."""
