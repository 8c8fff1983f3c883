"""What a fetch tells; called on the loop's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dfengine._bitset import Bitset
    from dfengine.errors import OriginError
    from dfengine.supernode.copies.fetch import Fetch


class Events(Protocol):
    """Of a fetch."""

    def fetch_head(self, fetch: Fetch) -> None:
        """Length and piece size are known; what a copy has already is told after it."""

    def fetch_piece(self, fetch: Fetch, n: int) -> None:
        """Piece n is in the copy."""

    def fetch_pieces(self, fetch: Fetch, pieces: Bitset) -> None:
        """These are in the copy from before."""

    def fetch_md5(self, fetch: Fetch, n: int) -> None:
        """The md5 of framed piece n is known; -1: of the whole raw file."""

    def fetch_damaged(self, fetch: Fetch, n: int) -> None:
        """Piece n of the copy was wrong, or could not be read, and is not in it any more."""

    def fetch_ended(self, fetch: Fetch) -> None:
        """SUCCESS: all is here, the length is known."""

    def fetch_failed(self, fetch: Fetch) -> None:
        """`fetch.error` says why; nothing of this task is served any more."""

    def fetch_refused(self, fetch: Fetch, error: OriginError) -> None:
        """The origin no longer gives the file of a complete copy; downloads that run may end."""

    def fetch_renewed(self, fetch: Fetch) -> None:
        """The origin's file changed: a new generation begins, the old one is over."""
