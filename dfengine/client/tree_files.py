"""Maps a manifest's files to the directory to write: their times, and marks that identify their versions."""

from __future__ import annotations

from dfengine.storage.hashing import content_digest
from dfengine.storage.tree_target import TreeTarget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.manifest import Manifest
    from dfengine.settings import GetSettings


def target_of(manifest: Manifest, settings: GetSettings, task: str, check: Callable[[], None], run: bytes) -> TreeTarget:
    """Make the target directory of a manifest. run: identifies this run; see `_marks`. Raises BadValue, StorageError."""
    return TreeTarget(
        settings.output, task, manifest.paths, manifest.sizes, modes=manifest.modes, mtimes=_mtimes(manifest), marks=_marks(manifest, run),
        digests=manifest.digests, check=check,
    )  # fmt: skip


def _mtimes(manifest: Manifest) -> list[int]:
    """Modification times in ns, -1: unknown."""
    return [int(each * 10**9) if each >= 0 else -1 for each in manifest.modified]


def _marks(manifest: Manifest, run: bytes) -> bytes:
    """16 bytes per file, equal for the same version of the same file; for a file without validators, equal in this run only."""
    base = manifest.base
    columns = zip(manifest.paths, manifest.sizes, manifest.etags, manifest.modified, manifest.digests, manifest.shown, strict=True)
    return b"".join(
        content_digest(
            (b"" if etag or digest or modified >= 0 else b"%s %d\n" % (run, shown))
            + f"{base}\n{path}\n{size}\n{etag}\n{modified}\n{digest}".encode("utf-8", "surrogateescape")
        )
        for path, size, etag, modified, digest, shown in columns
    )
