from collections.abc import Sequence
from typing import Any

from typing_extensions import disjoint_base

@disjoint_base
class Layout:
    """Offsets and paths of a tree's files. paths: relative. sizes: bytes. content_size: bytes of the content of a piece. Raises BadValue.
    """

    def __new__(cls, paths: Sequence[bytes], sizes: Sequence[int], content_size: int, *more: Any, **named: Any) -> Layout: ...
    @property
    def count(self) -> int:
        """Number of files."""
    @property
    def content_size(self) -> int:
        """Bytes of the content of a piece."""
    @property
    def length(self) -> int:
        """Bytes of the concatenation."""
    def covered(self, offset: int, length: int) -> tuple[int, int]:
        """(first, past): the numbers of the files that have bytes in [offset, offset + length), and of empty ones between them."""
    def extent(self, n: int) -> tuple[int, int]:
        """(offset, size) of file n in the concatenation."""
    def path(self, n: int) -> bytes:
        """File n's path."""
    def in_part(self, n: int) -> bool:
        """Whether file n has bytes in several pieces, so that it is a part until it is complete."""
