"""Pieces of a later response, held back until every piece of earlier responses has been compared with it. Pure.

Law: of two responses that may belong to two versions, no piece of the second is shown while one of the first is not proved to be in both.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dfengine.origin.piece_sink import Piece


class ResponseComparison:
    """Compares one response with earlier ones.

    held: pieces from before. A later response needs a new comparison, which drops the pieces that were not shown.
    """

    def __init__(self, held: Iterable[int] = ()) -> None:
        self._uncompared = set(held)
        self._unpublished: list[Piece] = []

    @property
    def uncompared(self) -> list[int]:
        """Pieces from before that are not compared yet, in order."""
        return sorted(self._uncompared)

    @property
    def complete(self) -> bool:
        """Whether every piece from before is compared."""
        return not self._uncompared

    def piece_complete(self, n: int, piece: Piece, compared: bool) -> list[Piece]:
        """Return the pieces that can be shown now that piece n is complete. compared: it was stored before, and the contents are equal."""
        if compared:
            self._uncompared.discard(n)
        else:
            self._unpublished.append(piece)
        if self._uncompared:
            return []
        shown, self._unpublished = self._unpublished, []
        return shown
