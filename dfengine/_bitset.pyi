from collections.abc import Iterator
from typing import final

def words(size: int) -> int:
    """64-bit words that hold `size` bits."""

@final
class Bitset:
    """`size` bits, all zero, in memory of its own; `over` for a buffer. Raises BadValue for a size that cannot be."""

    def __new__(cls, size: int) -> Bitset: ...
    @staticmethod
    def over(buffer: bytearray | memoryview, size: int) -> Bitset:
        """`size` bits in a writable buffer, kept alive; at least 8 * words(size) bytes, aligned to 8. Raises BadValue."""
    @property
    def size(self) -> int:
        """Bits."""
    def set(self, n: int) -> bool:
        """Set bit n (release); True when it was clear. Raises IndexError."""
    def clear(self, n: int) -> bool:
        """Clear bit n; True when it was set. Raises IndexError."""
    def test(self, n: int) -> bool:
        """Bit n (acquire). Raises IndexError."""
    def __contains__(self, n: int, /) -> bool: ...
    def __len__(self) -> int: ...
    def set_range(self, a: int, b: int) -> None:
        """Set bits a..b-1. Raises IndexError."""
    def all_in_range(self, a: int, b: int) -> bool:
        """Bits a..b-1 are all set; True for none. Raises IndexError."""
    def count(self) -> int:
        """Set bits."""
    def first_set(self, start: int = 0) -> int:
        """First set bit from `start` on, -1 if none."""
    def first_clear(self, start: int = 0) -> int:
        """First clear bit from `start` on, -1 if none."""
    def last_set(self) -> int:
        """Last set bit, -1 if none."""
    def update_or(self, other: Bitset) -> None:
        """Set what is set in `other`, which is no larger. Raises BadValue."""
    def __iter__(self) -> Iterator[int]: ...
    def runs(self) -> list[tuple[int, int]]:
        """Set bits as intervals (first, past), ascending."""
    def grow(self, size: int) -> None:
        """More bits, clear. Raises BadValue over a given buffer, or for fewer bits."""
    def copy(self) -> Bitset:
        """In memory of its own."""
    def tobytes(self) -> bytes:
        """Its words, little-endian."""
    def __eq__(self, other: object, /) -> bool: ...
