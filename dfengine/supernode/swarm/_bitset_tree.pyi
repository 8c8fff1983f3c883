from collections.abc import Iterator
from typing import final

from dfengine._bitset import Bitset
from dfengine.supernode.swarm._state import Download

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

@final
class ParkedQueue:
    """An empty queue for pieces 0..size-1. `queue[download]` is what it lacks; raises KeyError for one that is not parked."""

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
