from collections.abc import Sequence

from typing_extensions import disjoint_base

from dfengine.storage._layout import Layout

@disjoint_base
class Scatter(Layout):
    """The files of one tree below the directory `root`.

    root, parts: open directories of the caller's; parts -1: nothing is written. modes: permission bits, -1: as new files have them. mtimes:
    ns, -1: when written. marks: 16 bytes for each file, zeros or b"": files are not marked.
    """

    def __new__(
        cls, paths: Sequence[bytes], sizes: Sequence[int], content_size: int, root: int, parts: int = -1,
        modes: Sequence[int] | None = None, mtimes: Sequence[int] | None = None, marks: bytes = b"",
    ) -> Scatter: ...
    @property
    def root(self) -> int:
        """Descriptor of the directory of the files."""
    @property
    def parts(self) -> int:
        """Descriptor of the directory of the parts, -1: there is none."""
    @property
    def present(self) -> int:
        """Files that lay there with their size, when `marked` was called."""
    def state(self, n: int) -> int:
        """0: wanted, 1: complete and in place, 2: left alone, 3: wanted, and its part is there."""
    def set_state(self, n: int, state: int) -> None:
        """See `state`."""
    def wanted(self, first: int = 0) -> int:
        """The first file from `first` on that is neither complete nor left alone; -1 if there is none."""
    def put(self, content: bytes | bytearray | memoryview, offset: int) -> list[tuple[int, int]]:
        """Write verified bytes of the concatenation from `offset` on. [(file, errno)] of files that could not be written. BadValue."""
    def create(self, n: int) -> int:
        """Make file n, which has no bytes. Returns errno, 0: it is in place. Raises BadValue."""
    def finish(self, n: int) -> int:
        """All bytes of file n are in its part: rename it into place. Returns errno, 0: done, ESTALE: it was cut. Raises BadValue."""
    def discard(self, n: int) -> None:
        """Remove file n's part, if there is one."""
    def open(self, n: int) -> int:
        """A descriptor of file n, or of its part, to be read; the caller's. Raises OSError, also where it is no file of its size."""
    def read_into(self, buffer: bytearray | memoryview, offset: int, length: int, parts: bool = True) -> int:
        """Read bytes of the concatenation out of files, and parts if wanted; -1, or the first that has them not. Raises BadValue."""
    def marked(self) -> int:
        """Leave alone every file that lies there as a download with the same mark has written it; how many those are."""
