from collections.abc import Iterator
from typing import final

from dfengine._bitset import Bitset
from dfengine.supernode.swarm._state import Download

@final
class BitsetTree:
    """Bitsets of up to `size` pieces at index 0, 1, ... Raises BadValue for a negative size.

    endless: the sets contain all pieces beyond their end, and their size is a multiple of 64.
    """

    def __new__(cls, size: int, endless: bool = False) -> BitsetTree: ...
    def grow(self, size: int) -> int:
        """Extend the sets to pieces up to `size`. A smaller size changes nothing."""
    def put(self, index: int, bits: Bitset | None) -> int:
        """Replace the set at that index by `bits`, which are read in place; None: remove it. Raises BadValue below 0."""
    def move(self, index: int, to: int) -> int:
        """Move the set at `index` to another index, replacing the set there; to the same index: remove it.

        Raises BadValue if either index has no set, or does not exist.
        """
    def gain(self, index: int, n: int) -> int:
        """Add piece n to the set at `index`; its bit is set already. Raises BadValue if the index has no set, BadPiece outside the sets."""
    def first(self, want: Bitset, start: int, past: int) -> int:
        """Return the first index of start..past-1 whose set has a piece of `want`, -1: none."""

@final
class ParkedQueue:
    """An empty queue for pieces 0..size-1. `queue[download]` is the pieces it lacks; raises KeyError if it is not parked."""

    def __new__(cls, size: int) -> ParkedQueue: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Download]: ...
    def __contains__(self, download: object, /) -> bool: ...
    def __getitem__(self, download: Download, /) -> tuple[Bitset, bool]: ...
    def grow(self, size: int) -> None: ...
    @property
    def any_ahead(self) -> bool: ...
    def put(self, download: Download, lack: Bitset, endless: bool = False, ahead: bool = False) -> None: ...
    def drop(self, download: Download) -> None: ...
    def first(
        self, offer: Bitset, skip: dict[Download, None], after: Download | None = None, ahead: Bitset | None = None
    ) -> Download | None: ...

__pyx_capi__: dict[str, object]
