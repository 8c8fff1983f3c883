from collections.abc import Callable
from typing import final

from dfengine._bitset import Bitset

@final
class FileSlice:
    """`length` bytes of the file `fd` from `offset`; `owner` keeps the descriptor open while they are sent.

    bits, n: for memory that may be evicted during the sending; bit n is cleared before the eviction. The bit is tested when the slice has
    been sent, so that the rest of the answer is sent only after right bytes. check: compares the bytes with their digest, in a thread, and
    returns whether they agree. It is called when the bytes must be read from a disk anyway, and with `must` always before they are sent.
    Raises BadValue, IndexError.
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
        """Return a copy of `length` bytes from `at` on, for connections that cannot use sendfile.

        Raises BadValue beyond the slice, EOFError when the file ends first, the bit is clear or the check failed, OSError.
        """
    def resident(self) -> bool:
        """Whether sending waits for no disk, by a sample per megabyte; True for memory and for file systems that cannot report this.

        False as well while the slice must be checked.
        """
    def load(self) -> None:
        """Run the check, or read the slice into the page cache, without the GIL; errors are reported when the slice is sent."""

@final
class Upload:
    """An answer being sent to a non-blocking socket."""

    def __new__(cls, parts: tuple[bytes | FileSlice, ...]) -> Upload: ...
    @property
    def parts(self) -> tuple[bytes | FileSlice, ...]: ...
    @property
    def left(self) -> int:
        """Bytes that the socket has not accepted yet."""
    @property
    def sends(self) -> int:
        """Calls of send so far."""
    @property
    def sendfiles(self) -> int:
        """Calls of sendfile so far."""
    @property
    def cold(self) -> FileSlice | None:
        """The slice before which `advance` stopped because it must be read from a disk: load it, then call again."""
    def advance(self, sock: int, most: int) -> int:
        """Write at most `most` bytes to the socket, until it accepts no more; return the bytes it accepted.

        0 with `left` over 0 and `most` over 0 means that the socket is full, or that a slice is `cold`. Raises OSError when the connection
        is closed, EOFError when a file ended before its slice did, or a slice's bit is clear, or its check failed.
        """
