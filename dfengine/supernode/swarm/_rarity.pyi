from typing import final

from dfengine._bitset import Bitset

def lacking(into: Bitset, offered: Bitset | None, have: Bitset, lo: int, hi: int) -> bool:
    """Fill `into` with the pieces of [lo, hi) that are in `offered` (None: all are) and not in `have`; True if there is any.

    The three may differ in size: what a shorter one does not reach counts as absent. Raises BadPiece for lo < 0.
    """

@final
class Rarity:
    """Copies of pieces 0..size-1. Raises BadPiece outside, BadValue for a negative size."""

    def __new__(cls, size: int) -> Rarity: ...
    @property
    def size(self) -> int: ...
    def grow(self, size: int) -> None:
        """Make room for `size` pieces; the new ones have no copy. A smaller size changes nothing."""
    def change(self, n: int, by: int) -> int:
        """Piece n has one copy more (1) or less (-1). Raises BadValue when it has none to lose."""
    def change_all(self, pieces: Bitset, by: int) -> int:
        """The same for each of `pieces`."""
    def cut(self, size: int) -> None:
        """No piece from `size` on has a copy any more."""
    def copies(self, n: int) -> int:
        """Copies of piece n, finished and in flight."""
    def at_least(self, pieces: Bitset, copies: int) -> Bitset:
        """Those of the pieces that have so many copies, or fewer of the same level."""

__pyx_capi__: dict[str, object]
