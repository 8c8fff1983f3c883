"""Downloads a tree: its manifest, then the data of all its files as one task, scattered into a directory.

    manifest -> checked -> which files are here already -> data from the swarm, else from the origin -> files -> result

Files that fail are named in the result, and the others stand. What ends the whole download is raised; run again it goes on from there.
"""

from __future__ import annotations

import contextlib
import os
import time

from dfengine.client.download import Downloading, ToFile, run
from dfengine.client.identity import identify
from dfengine.client.tree_place import TreePlace
from dfengine.client.tree_result import FileResult, Rows, TreeResult
from dfengine.client.watch import Watch
from dfengine.errors import BadListing, BadValue, DigestMismatch, LocalError, TimedOut, TreeChanged
from dfengine.globs import Globs
from dfengine.location import is_content
from dfengine.manifest import LONGEST, Manifest, decode
from dfengine.net import forked
from dfengine.storage.hashing import content_digest
from dfengine.storage.home import Home
from dfengine.storage.tree_target import TreeTarget
from dfengine.tree import DATA, MANIFEST, TreeTask, is_of, tree_url
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dfengine.client.identity import Identity
    from dfengine.client.supernode_session import Membership
    from dfengine.client.throttle import Throttle
    from dfengine.client.watch import Observer
    from dfengine.origin.cancel import Cancel
    from dfengine.origin.kinds import Origin
    from dfengine.settings import GetSettings

__all__ = ["FileResult", "TreeResult", "TreeSettings", "fetch", "listed"]

AGAIN = 2
"""Times that a tree is listed again because it changed while it was fetched."""

ADVICE = "run it again to go on from here"


class TreeSettings(Value):
    """get: as of a file; its `url` is the directory's, its `output` the directory to write to. include, exclude: see `globs`."""

    get: GetSettings
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def globs(self) -> Globs:
        """Raises BadValue."""
        return Globs(self.include, self.exclude).check()

    def check(self) -> None:
        """Raises BadValue for what no tree can be named by."""
        self.globs  # noqa: B018 - it checks them
        if not is_content(self.get.url):
            tree_url(self.get.url)
        elif self.include or self.exclude:
            raise BadValue("a shared directory is downloaded as a whole, without --include and --exclude")
        if self.get.digest or self.get.md5:
            raise BadValue("a digest is of one file: a directory has none")


def fetch(settings: TreeSettings, observer: Observer | None = None, limit: Throttle | None = None) -> TreeResult:
    """Download what lies below `settings.get.url` into the directory `settings.get.output`. observer: see client.get; of the data.

    limit: of several downloads together, see `ToFile`.

    Files that could not be written are in the result's `errors`. Raises subclasses of DfengineError where nothing more can be written, and
    for a manifest that names what must not be written, before anything is.
    """
    return Tree(settings, observer, limit).run()


def listed(settings: TreeSettings) -> Manifest:
    """The manifest of what `fetch` would download; nothing else is fetched. Raises subclasses of DfengineError."""
    return Tree(settings).manifest()


class Tree:
    """One download of a tree, which another thread may `stop`."""

    def __init__(self, settings: TreeSettings, observer: Observer | None = None, limit: Throttle | None = None) -> None:
        """Raises BadValue."""
        self._limit = limit
        self._globs = settings.globs
        self._shared = is_content(settings.get.url)
        url = settings.get.url if self._shared else tree_url(settings.get.url)
        self._settings = settings.get.replace(url=url, digest=None, md5="", no_join=True, report_digest=False)
        self._observer = observer
        self._deadline = time.monotonic() + settings.get.timeout if settings.get.timeout else 0.0
        self._running: Downloading | None = None
        self._stopped: BaseException | None = None

    def stop(self, error: BaseException) -> None:
        """From any thread: end with `error`."""
        self._stopped = error
        running = self._running
        if running is not None:
            running.stop(error)

    def _begun(self, running: Downloading) -> None:
        self._running = running
        if self._stopped is not None:
            running.stop(self._stopped)

    def _left(self) -> GetSettings:
        """The settings, with what is left of the time. Raises TimedOut."""
        if not self._deadline:
            return self._settings
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimedOut(f"not finished within {self._settings.timeout:g} s; {ADVICE}")
        return self._settings.replace(timeout=left)

    def run(self) -> TreeResult:
        """See `fetch`."""
        started = time.monotonic()
        for _ in range(AGAIN):
            # What changed while it was fetched is listed again; what is here of it stays.
            with contextlib.suppress(TreeChanged):
                return self._once(started)
        return self._once(started)

    def _once(self, started: float) -> TreeResult:
        """By the manifest as it is now. Raises TreeChanged when a file turns out to be another one."""
        task = TreeTask(MANIFEST, self._globs)
        who = self._who(task)
        manifest = self._manifest(who, task)
        target = _target(manifest, self._settings, who.kept, self._check)
        forked.keep(target)
        try:
            if not self._settings.force and target.find_kept():
                target.tidy()
                return self._kept(manifest, target, time.monotonic() - started)
            target.prepare()
            if target.folds_case() and (clashes := manifest.case_clashes()):
                raise BadListing(f"{clashes[0][0][:200]!r} and {clashes[0][1][:200]!r} are one path in {target.path}")
            left, part = self._left(), None if self._shared else TreeTask(DATA, self._globs, manifest.identity)
            data = TreeData(left, part, target, manifest, self._observer, self._limit)
            self._begun(data)
            return data.all(started)
        finally:
            self._running = None
            target.close()

    def manifest(self) -> Manifest:
        """See `listed`."""
        task = TreeTask(MANIFEST, self._globs)
        return self._manifest(self._who(task), task)

    def _who(self, task: TreeTask) -> Identity:
        return identify(self._settings, None if self._shared else task)

    def _check(self) -> None:
        if self._stopped is not None:
            raise self._stopped
        self._left()

    def _manifest(self, who: Identity, task: TreeTask) -> Manifest:
        """Raises BadListing for one that is none, or of another directory."""
        with _manifest_path(self._settings, who.name) as path:
            download = ManifestFile(self._left().replace(output=path, quiet=True), who, task)
            self._begun(download)
            run(download)
            with open(path, "rb") as file:
                content = file.read(LONGEST + 1)
        if self._shared:
            return _of_shared(content, self._settings.url)
        manifest = decode(content)
        if not is_of(manifest, self._settings.url):
            raise BadListing(f"the manifest of {self._settings.url[:200]} is that of {manifest.base[:200]}")
        return manifest

    def _kept(self, manifest: Manifest, target: TreeTarget, seconds: float) -> TreeResult:
        return TreeResult(
            self._settings.url, target.path, "", manifest.identity, manifest.length, len(manifest), seconds, 0, 0, 0, manifest.length,
            {}, Rows(manifest), why_not="all files were here already",
        )  # fmt: skip


class ManifestFile(ToFile):
    """The download of a tree's manifest into a file."""

    def __init__(self, settings: GetSettings, who: Identity, tree: TreeTask) -> None:
        super().__init__(settings, None, who=who)
        self.tree = tree

    def opened(self, member: Membership) -> None:
        """See Downloading. Raises BadListing."""
        if member.geometry.length > LONGEST:
            raise BadListing(f"a manifest of {member.geometry.length} bytes is longer than {LONGEST}")
        super().opened(member)

    def prepared(self) -> None:
        """See Downloading. That of a shared directory is content as any other."""
        if is_content(self.settings.url):
            return
        self.registration = self.registration.replace(tree=MANIFEST, include=self.tree.globs.include, exclude=self.tree.globs.exclude)

    def origin(self, settings: GetSettings, cancel: Cancel, floor: float) -> Origin:
        """See Downloading."""
        from dfengine.origin.manifest_origin import ManifestOrigin
        from dfengine.origin.schemes import of_download

        return ManifestOrigin(settings.url, self.tree.globs, of_download(settings, floor), cancel)


class TreeData(Downloading):
    """The download of a tree's data."""

    def __init__(
        self, settings: GetSettings, tree: TreeTask | None, target: TreeTarget, manifest: Manifest, observer: Observer | None,
        limit: Throttle | None,
    ) -> None:  # fmt: skip
        """tree: None for a shared directory, whose data is content with the name that the manifest's base is."""
        self.tree = tree
        self.manifest = manifest
        self._named = settings.url
        if tree is None:
            settings = settings.replace(url=manifest.base[:-1])
        self._target = target
        self._tree_place = TreePlace(settings, target)
        self._tree_place.limit = limit
        watch = Watch(settings.timeout, observer, ADVICE, settings.quiet)
        super().__init__(settings, self._tree_place, watch, identify(settings, tree))

    def prepared(self) -> None:
        """See Downloading."""
        if self.tree is None:
            self.registration = self.registration.replace(in_order=True)
            return
        self.registration = self.registration.replace(
            tree=DATA, include=self.tree.globs.include, exclude=self.tree.globs.exclude, manifest=self.tree.manifest, in_order=True
        )

    def origin(self, settings: GetSettings, cancel: Cancel, floor: float) -> Origin:
        """See Downloading."""
        from dfengine.origin.schemes import of_download
        from dfengine.origin.tree_origin import TreeOrigin

        return TreeOrigin(self.manifest, of_download(settings, floor), cancel)

    def all(self, started: float) -> TreeResult:
        """Until every file has its name or its error. started: monotonic seconds, of the whole. Raises subclasses of DfengineError."""
        try:
            self.fill()
            transfer = self._tree_place.finish()
            self._target.look_in_place()
            byte_counts, file = self._tree_place.byte_counts, transfer.file
            self._tree_place.keep()
            if not file.failed:
                self._target.discard()
            found = self.result(byte_counts, self._target.path, {})
            self.report(next((error for error in file.failed.values() if isinstance(error, DigestMismatch)), None))
            return TreeResult(
                self._named, found.output, found.task_id, self.manifest.identity, found.length, len(self.manifest),
                time.monotonic() - started, found.from_peers, found.from_supernode, found.from_origin, found.resumed, dict(file.failed),
                Rows(self.manifest, file.geometry, bytes(transfer.came)), found.back_to_source, found.hedged,
                found.serves, found.why_not, found.peers,
            )  # fmt: skip
        except BaseException as error:
            self.abandon(error)
            raise
        finally:
            self.close()

    def opened(self, member: Membership) -> None:
        """See Downloading."""
        self.say(f"task {member.task} at {member.node}")
        if self.home is not None and self.peer.port:
            try:
                self._tree_place.share(self.home, self.who.name, member.cid, str(member.node), member.task)
                self.shared()
            except LocalError as error:
                self.unshared(error)


def _of_shared(content: bytes, name: str) -> Manifest:
    """The manifest of a shared directory, whose digest was compared. Raises BadListing."""
    try:
        manifest = decode(content)
    except BadListing as error:
        raise BadListing(f"{name} is no shared directory: {error}; a file is downloaded without --recursive") from None
    if not is_content(manifest.base) or not all(manifest.digests):
        raise BadListing(f"{name} is the manifest of {manifest.base[:200]}, and no shared directory")
    return manifest


@contextlib.contextmanager
def _manifest_path(settings: GetSettings, name: str) -> Iterator[str]:
    """Where the manifest is written: in the home directory, from where it is served."""
    folder = ""
    if settings.pattern == "p2p":
        with contextlib.suppress(LocalError):
            folder = os.path.join(Home(settings.home).path, "trees")
    if folder:
        path = os.path.join(folder, f"{name}.manifest")
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                if os.lstat(path).st_nlink < 2:  # nobody serves it
                    os.unlink(path)
        return
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="dfengine-") as folder:
        yield os.path.join(folder, "manifest")


def _target(manifest: Manifest, settings: GetSettings, task: str, look: Callable[[], None]) -> TreeTarget:
    """Raises BadValue, StorageError."""
    return TreeTarget(
        settings.output, task, manifest.paths, manifest.sizes, modes=manifest.modes, mtimes=_mtimes(manifest), marks=_marks(manifest),
        digests=manifest.digests, look=look,
    )  # fmt: skip


def _mtimes(manifest: Manifest) -> list[int]:
    """In ns, -1: not told."""
    return [int(each * 10**9) if each >= 0 else -1 for each in manifest.modified]


def _marks(manifest: Manifest) -> bytes:
    """16 bytes for each file, the same for the same version of the same file; zeros where nothing tells its version."""
    base, none = manifest.base, bytes(16)
    columns = zip(manifest.paths, manifest.sizes, manifest.etags, manifest.modified, manifest.digests, strict=True)
    return b"".join(
        content_digest(f"{base}\n{path}\n{size}\n{etag}\n{modified}\n{digest}".encode("utf-8", "surrogateescape"))
        if etag or digest or modified >= 0 else none
        for path, size, etag, modified, digest in columns
    )
