from typing import final

from dfengine._bitset import Bitset

def lacking(into: Bitset, offered: Bitset | None, have: Bitset, lo: int, hi: int) -> bool:
    """Fill `into` with the pieces of [lo, hi) that are in `offered` (None: all are) and not in `have`; True if there is any.

    The three may differ in size: pieces beyond the end of a shorter one count as absent. Raises BadPiece for lo < 0.
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
        """Add (1) or remove (-1) one copy of piece n. Raises BadValue when it has none to remove."""
    def change_all(self, pieces: Bitset, by: int) -> int:
        """Apply `change` to each of `pieces`."""
    def cut(self, size: int) -> None:
        """Remove all copies of pieces from `size` on."""
    def copies(self, n: int) -> int:
        """Number of copies of piece n, finished and in flight."""
    def at_least(self, pieces: Bitset, copies: int) -> Bitset:
        """Return those of the pieces that have at least so many copies, or fewer of the same level."""

__pyx_capi__: dict[str, object]
