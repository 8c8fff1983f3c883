"""Pieces of a later answer, shown only once everything from before has been compared with it. Pure.

Law: of two answers that may be of two versions, no piece of the second is shown while a piece of the first is not proved to be in both.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dfengine.origin.sink import Piece


class Proof:
    """held: pieces from before. Of a later answer one begins anew, and what was not shown of the last is forgotten."""

    def __init__(self, held: Iterable[int] = ()) -> None:
        self._unproved = set(held)
        self._unshown: list[Piece] = []

    @property
    def unproved(self) -> list[int]:
        """Pieces from before that were not compared yet, in order."""
        return sorted(self._unproved)

    def landed(self, n: int, piece: Piece, compared: bool) -> list[Piece]:
        """Piece n came whole; compared: it was here, and is the same. Those that can be shown now."""
        if compared:
            self._unproved.discard(n)
        else:
            self._unshown.append(piece)
        if self._unproved:
            return []
        shown, self._unshown = self._unshown, []
        return shown
