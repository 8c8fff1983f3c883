from collections.abc import Iterator
from typing import final

def words(size: int) -> int:
    """Number of 64-bit words for `size` bits."""

@final
class Bitset:
    """`size` bits, all zero, in memory of its own; `over` uses a buffer. Raises BadValue for an invalid size."""

    def __new__(cls, size: int) -> Bitset: ...
    @staticmethod
    def over(buffer: bytearray | memoryview, size: int) -> Bitset:
        """`size` bits in a writable buffer, which is kept alive; at least 8 * words(size) bytes, aligned to 8. Raises BadValue."""
    @property
    def size(self) -> int:
        """Number of bits."""
    def set(self, n: int) -> bool:
        """Set bit n (release); True if it was clear. Raises IndexError."""
    def clear(self, n: int) -> bool:
        """Clear bit n; True if it was set. Raises IndexError."""
    def test(self, n: int) -> bool:
        """Whether bit n is set (acquire). Raises IndexError."""
    def __contains__(self, n: int, /) -> bool: ...
    def __len__(self) -> int: ...
    def set_range(self, a: int, b: int) -> None:
        """Set bits a..b-1. Raises IndexError."""
    def all_in_range(self, a: int, b: int) -> bool:
        """Whether bits a..b-1 are all set; True for an empty range. Raises IndexError."""
    def count(self) -> int:
        """Number of set bits."""
    def first_set(self, start: int = 0) -> int:
        """First set bit from `start` on, -1 if none."""
    def first_clear(self, start: int = 0) -> int:
        """First clear bit from `start` on, -1 if none."""
    def last_set(self) -> int:
        """Last set bit, -1 if none."""
    def update_or(self, other: Bitset) -> None:
        """Set the bits that are set in `other`, which is no larger. Raises BadValue."""
    def __iter__(self) -> Iterator[int]: ...
    def runs(self) -> list[tuple[int, int]]:
        """Set bits as intervals (first, past), ascending."""
    def grow(self, size: int) -> None:
        """Grow to `size` bits, the new ones clear. Raises BadValue over a given buffer, or for fewer bits."""
    def copy(self) -> Bitset:
        """A copy in memory of its own."""
    def tobytes(self) -> bytes:
        """The words, little-endian."""
    def __eq__(self, other: object, /) -> bool: ...
