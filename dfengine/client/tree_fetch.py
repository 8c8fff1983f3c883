"""Downloads a tree: its manifest, then the data of all its files as one task, scattered into a directory.

    manifest -> checked -> complete files are found -> data from the swarm, else from the origin -> files -> result

The result names files that failed; the others are complete. An error that ends the whole download is raised; another run resumes it.
If a file cannot be read at the origin, the manifest is fetched again. It then names the file as refused, and the others are fetched.
"""

from __future__ import annotations

import contextlib
import os
import time

from dfengine.client.download import run
from dfengine.client.identity import identify
from dfengine.client.tree_files import target_of
from dfengine.client.tree_result import FileResult, FileResults, TreeResult
from dfengine.client.tree_tasks import ManifestFile, ManifestOutdated, TreeData
from dfengine.errors import BadListing, BadValue, LocalError, OriginError, StorageError, TimedOut, TreeChanged
from dfengine.globs import Globs
from dfengine.location import OBJECTS, is_content, scheme_of
from dfengine.manifest import MAX_ENCODED, Manifest, decode
from dfengine.net import fork_safety
from dfengine.storage.home import MANIFEST as MANIFEST_FILE
from dfengine.storage.home import Home
from dfengine.task import redacted_url
from dfengine.tree import DATA, MANIFEST, TreeTask, is_of, tree_url
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dfengine.client.download import BaseDownload
    from dfengine.client.identity import Identity
    from dfengine.client.monitor import Observer
    from dfengine.client.throttle import Throttle
    from dfengine.origin.tree_listing import ListingCache
    from dfengine.settings import GetSettings
    from dfengine.storage.tree_target import TreeTarget

__all__ = ["FileResult", "TreeResult", "TreeSettings", "fetch", "listed"]

MAX_RELISTS = 2
"""Times that a tree is listed again because it changed during the download."""

FEW, PATIENCE = 32, 60.0
"""Most missing files that are checked for refusals before they are fetched, and seconds for the check."""

ROUNDS = 8
"""Times that the manifest is fetched again because a file could not be read."""

class TreeSettings(Value):
    """get: as for a file; `url` is the directory's, `output` the directory to write to. include, exclude: see `globs`.

    delete: when all files are complete, other files below it are deleted (`storage.extraneous_files`), except those made since the start.
    """

    get: GetSettings
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    delete: bool = False

    @property
    def globs(self) -> Globs:
        """The checked globs. Raises BadValue."""
        return Globs(self.include, self.exclude).check()

    def check(self) -> None:
        """Raise BadValue for settings that cannot be used for a tree."""
        self.globs  # noqa: B018 - it checks them
        if not is_content(self.get.url):
            tree_url(self.get.url)
        elif self.include or self.exclude:
            raise BadValue("a shared directory is downloaded as a whole, without --include and --exclude")
        if self.get.sign == "client" and self.get.nodes and self.get.pattern != "source" and scheme_of(self.get.url) in OBJECTS:
            raise BadValue("--sign client signs the URL of one object, and a directory must be listed: have the supernode's credentials "
                           "open it (--origin-sign there), or download it without a supernode")  # fmt: skip
        if self.get.digest or self.get.md5:
            raise BadValue("a digest is of one file: a directory has none")


def fetch(settings: TreeSettings, observer: Observer | None = None, limit: Throttle | None = None) -> TreeResult:
    """Download all files below `settings.get.url` into the directory `settings.get.output`. observer: for the data, see client.get.

    limit: shared by several downloads, see `FileDownload`.

    Files that could not be written are in the result's `errors`. Raises subclasses of DfengineError if no more files can be written, and,
    before writing, for a manifest that names paths that must not be written.
    """
    return Tree(settings, observer, limit).run()


def listed(settings: TreeSettings) -> Manifest:
    """Return the manifest of the files that `fetch` would download, and fetch only that. Raises subclasses of DfengineError."""
    return Tree(settings).manifest()


class Tree:
    """One download of a tree, which another thread may `stop`."""

    def __init__(self, settings: TreeSettings, observer: Observer | None = None, limit: Throttle | None = None) -> None:
        """Raises BadValue for unusable settings."""
        self._limit = limit
        self._delete = settings.delete
        self._began = time.time_ns()
        self._written: set[str] = set()
        """With `delete`: the paths of all manifests so far."""
        self._globs = settings.globs
        self._shared = is_content(settings.get.url)
        url = settings.get.url if self._shared else tree_url(settings.get.url)
        self._settings = settings.get.replace(url=url, digest=None, md5="", no_join=True, report_digest=False)
        self._observer = observer
        self._deadline = time.monotonic() + settings.get.timeout if settings.get.timeout else 0.0
        self._running: BaseDownload | None = None
        self._stopped: BaseException | None = None
        self._known: ListingCache | None = None
        self._requested_manifests: set[str] = set()
        """Identities of manifests whose data was requested: each may be refetched only once (see BaseDownload.may_refetch_manifest)."""
        self._run = os.urandom(16)
        self._target: TreeTarget | None = None
        self._data: TreeData | None = None
        self._reason: str | None = None
        """Why the origin is read, if a file that it refused made this download stay with the origin."""

    def stop(self, error: BaseException) -> None:
        """End the download with `error`. May be called from any thread."""
        self._stopped = error
        running = self._running
        if running is not None:
            running.stop(error)

    def _set_running(self, running: BaseDownload) -> None:
        self._running = running
        running.monitor.allowed = self._settings.timeout
        if self._stopped is not None:
            running.stop(self._stopped)

    def _before(self) -> ListingCache:
        """Knowledge of the directory from earlier rounds, for a download that lists it by itself."""
        from dfengine.origin.tree_listing import ListingCache

        self._known = self._known or ListingCache()
        return self._known

    def _remaining(self) -> GetSettings:
        """Return the settings with the remaining time. Raises TimedOut."""
        if not self._deadline:
            return self._settings
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimedOut.after(self._settings.timeout, "; run it again to resume")
        return self._settings.replace(timeout=left)

    def run(self) -> TreeResult:
        """Download the tree; see `fetch`."""
        started, changes, rounds = time.monotonic(), 0, 0
        while True:
            try:
                return self._once(started)
            except ManifestOutdated:
                rounds += 1
            except OriginError as error:
                from dfengine.origin.refused_files import refuses

                if error.path and (refuses(error) or error.status >= 500):
                    # The origin may answer this host otherwise than a supernode: stay with the origin.
                    self._before().report_refusal(error.path, error.status)
                    self._reason = self._reason or (self._data.reason if self._data is not None else None)
                    self._settings = self._settings.replace(pattern="source")
                    rounds += 1
                    if rounds > ROUNDS:
                        error.args = (f"{error}; --exclude {error.path} leaves it out", *error.args[1:])
                        raise
                elif isinstance(error, TreeChanged) and changes < MAX_RELISTS:
                    changes += 1  # list it again; the files on disk stay
                else:
                    raise

    def _once(self, started: float) -> TreeResult:
        """Download by the present manifest. Raises TreeChanged if a file turns out to be of another version."""
        task = TreeTask(MANIFEST, self._globs)
        identity = self._identity(task)
        manifest = self._manifest(identity, task)
        target = target_of(manifest, self._settings, identity.storage_id, self._check, self._run)
        try:
            whole = not self._settings.force and target.find_kept()
            if target.kept and not whole and (refused := self._refused(manifest, target.kept)):
                manifest = manifest.without(refused)
                target = target_of(manifest, self._settings, identity.storage_id, self._check, self._run)
                whole = target.find_kept()
            fork_safety.register(target)
            previous, self._target = self._target, target
            if previous is not None and previous.parts != target.parts:
                previous.cleanup()
                previous.close()
            began = self._began
            if not whole or self._delete:
                target.lock(self._delete)
                began = min(self._began, target.clock())
                if target.kept:  # another download may have written files since
                    whole = target.find_kept()
            if whole:
                target.cleanup()
                return self._delete_surplus(self._kept(manifest, target, time.monotonic() - started), target, began)
            if self._delete:
                self._written.update(manifest.paths)
            target.prepare()
            if target.folds_case() and (clashes := manifest.case_clashes()):
                raise BadListing(f"{clashes[0][0][:200]!r} and {clashes[0][1][:200]!r} are one path in {target.path}")
            left, part = self._remaining(), None if self._shared else TreeTask(DATA, self._globs, manifest.identity)
            data = TreeData(left, part, target, manifest, self._observer, self._limit, identity.name)
            if not self._shared:
                data.selecting_task = identity.task  # the supernode that made the manifest has it, and is told if it is wrong
            new = manifest.identity not in self._requested_manifests and len(self._requested_manifests) < ROUNDS
            data.may_refetch_manifest = new and not self._shared
            self._requested_manifests.add(manifest.identity)
            self._set_running(data)
            self._data = data
            result = self._delete_surplus(data.all(started), target, began)
            return result.replace(back_to_source=self._reason) if self._reason is not None else result
        finally:
            self._running = None
            target.close()

    def _delete_surplus(self, result: TreeResult, target: TreeTarget, began: int) -> TreeResult:
        """Delete surplus files if requested, after all files are complete. began: nanoseconds, by the clock of the directory."""
        if not self._delete or result.errors or not result.count:
            return result
        from dfengine.storage.extraneous_files import CreatedSince, find_extraneous

        deleted, undeleted = list[str](), None
        try:
            belongs, created_since = frozenset(result.rows.manifest.paths), CreatedSince(began, target.clock(), self._written)
            for path in find_extraneous(target.path, belongs, self._globs.matcher().matches, remove=True, created_since=created_since):
                self._check()
                deleted.append(path)
        except StorageError as error:
            undeleted = error
        return result.replace(deleted=tuple(deleted), undeleted=undeleted)

    def _refused(self, manifest: Manifest, kept: Collection[int]) -> dict[str, int]:
        """Return path -> status of the files that an earlier run left, if they are few, and that the origin still refuses.

        Only for a download that reads the origin itself: otherwise the pieces with these files would be fetched again, with complete files.
        """
        settings = self._settings
        if len(manifest) - len(kept) > FEW or self._shared or (settings.nodes and settings.pattern != "source"):
            return {}
        from dfengine.origin.cancel import Cancel
        from dfengine.origin.refused_files import FileRequests
        from dfengine.origin.schemes import settings_for_download

        here, cancel = frozenset(kept), Cancel()
        try:
            left = [manifest[n] for n in range(len(manifest)) if n not in here]
            found = FileRequests(settings_for_download(settings, 0.0), cancel, time.monotonic() + PATIENCE).find_refused(left, {}, True)
            return found if len(found) < len(manifest) else {}
        finally:
            cancel.close()

    def manifest(self) -> Manifest:
        """Return the manifest; see `listed`."""
        task = TreeTask(MANIFEST, self._globs)
        return self._manifest(self._identity(task), task)

    def _identity(self, task: TreeTask) -> Identity:
        return identify(self._settings, None if self._shared else task)

    def _check(self) -> None:
        if self._stopped is not None:
            raise self._stopped
        self._remaining()

    def _manifest(self, identity: Identity, task: TreeTask) -> Manifest:
        """Fetch the manifest. Raises BadListing if it is invalid, or of another directory."""
        with _manifest_path(self._settings, identity.name) as path:
            download = ManifestFile(self._remaining().replace(output=path, quiet=True), identity, task, self._before)
            self._set_running(download)
            run(download)
            with open(path, "rb") as file:
                content = file.read(MAX_ENCODED + 1)
        if self._shared:
            return _of_shared(content, self._settings.url)
        try:
            manifest = decode(content)
        except BadListing as error:
            raise BadListing(f"{download.sender}: {error}") from None
        if not is_of(manifest, self._settings.url):
            raise BadListing(f"the manifest for {redacted_url(self._settings.url)[:200]} is of {redacted_url(manifest.base)[:200]}")
        return manifest

    def _kept(self, manifest: Manifest, target: TreeTarget, seconds: float) -> TreeResult:
        rows = FileResults(manifest)
        return TreeResult(
            self._settings.url, target.path, "", manifest.identity, manifest.length, rows.count, seconds, 0, 0, 0, manifest.length,
            rows.errors, rows, why_not="all files existed already",
        )  # fmt: skip


def _of_shared(content: bytes, name: str) -> Manifest:
    """Decode the manifest of a shared directory, whose digest was verified. Raises BadListing."""
    try:
        manifest = decode(content)
    except BadListing as error:
        raise BadListing(f"{name} is not a shared directory: {error}; a file is downloaded without --recursive") from None
    if not is_content(manifest.base) or not all(manifest.digests):
        raise BadListing(f"{name} is the manifest of {manifest.base[:200]}, not of a shared directory")
    return manifest


@contextlib.contextmanager
def _manifest_path(settings: GetSettings, name: str) -> Iterator[str]:
    """Path for the manifest: in the home directory, from where it is served, else in a temporary directory."""
    folder = ""
    if settings.pattern == "p2p":
        with contextlib.suppress(LocalError):
            folder = os.path.join(Home(settings.home).path, "trees")
    if folder:
        path = os.path.join(folder, f"{name}{MANIFEST_FILE}")
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                if os.lstat(path).st_nlink < 2:  # the peer server does not serve it
                    os.unlink(path)
        return
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="dfengine-") as folder:
        yield os.path.join(folder, "manifest")
