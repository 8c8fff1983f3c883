from typing import final

from dfengine._bitset import Bitset

@final
class BitsetTree:
    """Bitsets of up to `size` pieces at index 0, 1, ... Raises BadValue for a negative size.

    endless: they have all pieces beyond their end, and reach up to a multiple of 64.
    """

    def __new__(cls, size: int, endless: bool = False) -> BitsetTree: ...
    def grow(self, size: int) -> int:
        """The sets may have pieces up to `size`. A smaller size changes nothing."""
    def put(self, index: int, bits: Bitset | None) -> int:
        """Replace what is at that index by `bits`, which are read in place; None: by nothing. Raises BadValue below 0."""
    def move(self, index: int, to: int) -> int:
        """Move the set at `index` to another, replacing what is there; to the same index: remove it.

        Raises BadValue where there is none, or no such other index.
        """
    def gain(self, index: int, n: int) -> int:
        """The set at `index` has got piece n; its bit is set already. Raises BadValue where there is none, BadPiece outside the sets."""
    def first(self, want: Bitset, start: int, past: int) -> int:
        """The first index of start..past-1 whose set has a piece of `want`, -1: none."""
    def check_invariant(self) -> None:
        """Raises AssertionError unless every node claims whatever is below it."""

__pyx_capi__: dict[str, object]
