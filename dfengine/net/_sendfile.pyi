from collections.abc import Callable
from typing import final

from dfengine._bitset import Bitset

@final
class FileSlice:
    """`length` bytes of the file `fd` from `offset`; `owner` keeps the descriptor open while they are sent.

    `bits` and `n`: memory that may be evicted meanwhile; bit n is cleared first. It is checked when the slice has been sent, so that the
    rest of the answer follows right bytes only. `check`: compares the bytes with their digest, in a thread, and returns
    whether they agree; it is asked when they come from a disk anyway, and before they are sent where it `must` be. Raises BadValue,
    IndexError.
    """

    def __new__(
        cls, fd: int, offset: int, length: int, owner: object = None, bits: Bitset | None = None, n: int = 0,
        check: Callable[[], bool] | None = None, must: bool = False,
    ) -> FileSlice: ...
    @property
    def fd(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def owner(self) -> object: ...
    def read(self, at: int, length: int) -> bytes:
        """A copy of `length` bytes from `at` on, for what cannot be sent by sendfile.

        Raises BadValue beyond the slice, EOFError when the file ends first, the bit is clear or the check failed, OSError.
        """
    def resident(self) -> bool:
        """Sending it waits for no disk, as far as a look at every megabyte tells; memory and what cannot be asked count as resident.

        False as well while it must be checked.
        """
    def load(self) -> None:
        """Check it, or read it into the page cache and wait for that, without the GIL; whatever goes wrong shows when it is sent."""

@final
class Upload:
    """An answer on its way to a non-blocking socket."""

    def __new__(cls, parts: tuple[bytes | FileSlice, ...]) -> Upload: ...
    @property
    def parts(self) -> tuple[bytes | FileSlice, ...]: ...
    @property
    def left(self) -> int:
        """Bytes that the socket has not taken yet."""
    @property
    def sends(self) -> int:
        """Calls of send so far."""
    @property
    def sendfiles(self) -> int:
        """Calls of sendfile so far."""
    @property
    def cold(self) -> FileSlice | None:
        """`advance` stopped before this slice, which must come from a disk: load it, then call again."""
    def advance(self, sock: int, most: int) -> int:
        """Give the socket at most `most` bytes, until it takes no more; the bytes it took.

        0 with `left` over 0 and `most` over 0 means that it is full, or that a slice is `cold`. Raises OSError when the connection is gone,
        EOFError when a file ended before its slice did, or a slice's bit is clear, or its check failed.
        """
