from collections.abc import Sequence

from typing_extensions import disjoint_base

from dfengine.storage._layout import Layout

@disjoint_base
class Scatter(Layout):
    """The files of one tree below the directory `root`.

    root, parts: open directories of the caller's; parts -1: no file is written. modes: permission bits, -1: as new files have them. mtimes:
    ns, -1: when written. marks: 16 bytes for each file, zeros or b"": files are not marked. boot: 16 bytes that identify the present boot,
    b"": unknown.
    """

    def __new__(
        cls, paths: Sequence[bytes], sizes: Sequence[int], content_size: int, root: int, parts: int = -1,
        modes: Sequence[int] | None = None, mtimes: Sequence[int] | None = None, marks: bytes = b"", boot: bytes = b"",
    ) -> Scatter: ...
    @property
    def root(self) -> int:
        """Descriptor of the directory of the files."""
    @property
    def parts(self) -> int:
        """Descriptor of the directory of the parts, -1: there is none."""
    @property
    def present(self) -> int:
        """Number of files that existed with their size when `marked` was called."""
    def state(self, n: int) -> int:
        """0: wanted, 1: complete and in place, 2: left alone, 3: wanted, with a part."""
    def set_state(self, n: int, state: int) -> None:
        """See `state`."""
    def wanted(self, first: int = 0) -> int:
        """The first file from `first` on that is neither complete nor left alone; -1 if there is none."""
    def put(self, content: bytes | bytearray | memoryview, offset: int) -> list[tuple[int, int]]:
        """Write verified bytes of the concatenation from `offset` on. [(file, errno)] of files that could not be written. BadValue."""
    def create(self, n: int) -> int:
        """Make file n, which has no bytes. Returns errno, 0: it is in place. Raises BadValue."""
    def finish(self, n: int) -> int:
        """Rename the complete part of file n into place. Returns errno, 0: done, ESTALE: it was truncated. Raises BadValue."""
    def discard(self, n: int) -> None:
        """Remove file n's part, if there is one."""
    def open(self, n: int) -> int:
        """Open file n, or its part, for reading; the caller owns the descriptor. Raises OSError, also for a file of wrong kind or size."""
    def read_into(self, buffer: bytearray | memoryview, offset: int, length: int, parts: bool = True) -> int:
        """Read bytes of the concatenation from files, and parts if wanted; -1, or the first file that lacks its bytes. Raises BadValue."""
    def marked(self) -> int:
        """Leave alone every file that is as a download with the same mark has written it; return the number of such files."""
