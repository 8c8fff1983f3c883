"""The result of the download of a tree, file by file."""

from __future__ import annotations

from dfengine.client.tree_place import ORIGIN, PEERS, RESUMED, SUPERNODE
from dfengine.errors import OriginError
from dfengine.manifest import link_of
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine._piece import Geometry
    from dfengine.errors import DfengineError, StorageError
    from dfengine.manifest import Manifest


class FileResult(Value):
    """One file of a tree. path: below the directory. error: why it is missing, None: it is complete. size: its bytes.

    The others are bytes by source; resumed: bytes on disk before the download. A file that was on disk may be fetched again with other
    files in the same piece.
    """

    path: str
    size: int
    error: DfengineError | None = None
    from_peers: int = 0
    from_supernode: int = 0
    from_origin: int = 0
    resumed: int = 0


class TreeResult(Value):
    """Result of a tree. Lengths in bytes, of all files; manifest: its identity; the others as in Result, of the tree's data.

    errors: number of a file -> why it is missing. `files` has one entry for each file, in the order of their paths, followed by the files
    that the origin lists and refuses. count: of all of them. deleted: paths of deleted surplus files; undeleted: why some were not deleted.
    """

    url: str
    directory: str
    task_id: str
    manifest: str
    length: int
    count: int
    seconds: float
    from_peers: int
    from_supernode: int
    from_origin: int
    resumed: int
    errors: dict[int, DfengineError]
    rows: FileResults
    back_to_source: str | None = None
    hedged: int = 0
    serves: bool = False
    why_not: str = ""
    peers: int = 0
    deleted: tuple[str, ...] = ()
    undeleted: StorageError | None = None

    @property
    def files(self) -> tuple[FileResult, ...]:
        """One entry for each file."""
        return tuple(self.rows.of(n, self.errors.get(n)) for n in range(self.count))

    @property
    def failed(self) -> tuple[FileResult, ...]:
        """The missing files."""
        return tuple(self.rows.of(n, error) for n, error in sorted(self.errors.items()))

    @property
    def worst(self) -> DfengineError | None:
        """The error with the highest exit code; None: all files are complete."""
        return max(self.errors.values(), key=lambda error: error.exit_code, default=None)


class FileResults:
    """Makes `FileResult`s. piece_sources[n]: source of piece n. geometry None: all files were on disk before."""

    def __init__(self, manifest: Manifest, geometry: Geometry | None = None, piece_sources: bytes = b"") -> None:
        self.manifest = manifest
        self._geometry = geometry
        self._piece_sources = piece_sources
        self._refused = [*manifest.refused.items()]

    @property
    def count(self) -> int:
        """Number of files of the manifest, including those that it names as refused."""
        return len(self.manifest) + len(self._refused)

    @property
    def errors(self) -> dict[int, DfengineError]:
        """Errors of the refused files."""
        return {
            n: OriginError(f"{path}: the origin lists it, and answers {status} instead of the file", status)
            for n, (path, status) in enumerate(self._refused, len(self.manifest))
        }

    def url(self, n: int) -> str:
        """URL of file n."""
        at = n - len(self.manifest)
        return self.manifest.url(n) if at < 0 else self.manifest.base + link_of(self._refused[at][0])

    def of(self, n: int, error: DfengineError | None) -> FileResult:
        """Result of file n."""
        if n >= len(self.manifest):
            return FileResult(self._refused[n - len(self.manifest)][0], 0, error)
        offset, size = self.manifest.range(n)
        path = self.manifest.paths[n]
        if error is not None:
            return FileResult(path, size, error)
        if self._geometry is None:
            return FileResult(path, size, resumed=size)
        counts = [0, 0, 0, 0]
        for piece in range(*self._geometry.covering(offset, size)):
            begin, length = self._geometry.content(piece)
            counts[self._piece_sources[piece]] += min(begin + length, offset + size) - max(begin, offset)
        return FileResult(path, size, None, counts[PEERS], counts[SUPERNODE], counts[ORIGIN], counts[RESUMED])
