"""The downloads of a tree's two tasks: its manifest into a file, its data into a directory."""

from __future__ import annotations

import time

from dfengine.client.download import BaseDownload, FileDownload
from dfengine.client.identity import identify
from dfengine.client.monitor import Monitor
from dfengine.client.tree_place import TreePlace
from dfengine.client.tree_result import FileResults, TreeResult
from dfengine.errors import BadListing, DigestMismatch, LocalError, SupernodeError
from dfengine.location import is_content
from dfengine.manifest import MAX_ENCODED
from dfengine.task import redacted_url
from dfengine.tree import DATA, MANIFEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.identity import Identity
    from dfengine.client.monitor import Observer
    from dfengine.client.supernode_session import Membership
    from dfengine.client.throttle import Throttle
    from dfengine.manifest import Manifest
    from dfengine.origin.cancel import Cancel
    from dfengine.origin.origin_interface import Origin
    from dfengine.origin.tree_listing import ListingCache
    from dfengine.settings import GetSettings
    from dfengine.storage.tree_target import TreeTarget
    from dfengine.tree import TreeTask

ADVICE = "run it again to resume"


class ManifestOutdated(SupernodeError):
    """A supernode could not fetch a tree's data: it may have a new manifest by now, which names the reason."""


class ManifestFile(FileDownload):
    """The download of a tree's manifest into a file."""

    def __init__(self, settings: GetSettings, identity: Identity, tree: TreeTask, before: Callable[[], ListingCache]) -> None:
        """before: returns the caller's knowledge of the directory, for a listing by this download."""
        super().__init__(settings, None, identity=identity)
        self._assembly.of_directory = True
        self.tree = tree
        self._before = before

    @property
    def sender(self) -> str:
        """The source of the manifest, for messages."""
        swarm = self._swarm
        return f"supernode {swarm.member.node}" if swarm is not None and swarm.member is not None else redacted_url(self.settings.url)[:200]

    def on_opened(self, member: Membership) -> None:
        """See BaseDownload. Raises BadListing."""
        if member.geometry.length > MAX_ENCODED:
            raise BadListing(f"a manifest of {member.geometry.length} bytes is longer than {MAX_ENCODED}")
        super().on_opened(member)

    def on_registration(self) -> None:
        """See BaseDownload. The manifest of a shared directory is registered like other content."""
        if is_content(self.settings.url):
            return
        self.registration = self.registration.replace(tree=MANIFEST, include=self.tree.globs.include, exclude=self.tree.globs.exclude)

    def origin(self, settings: GetSettings, cancel: Cancel, floor: float) -> Origin:
        """See BaseDownload."""
        from dfengine.origin.manifest_origin import ManifestOrigin
        from dfengine.origin.schemes import settings_for_download

        return ManifestOrigin(settings.url, self.tree.globs, settings_for_download(settings, floor), cancel, before=self._before())


class TreeData(BaseDownload):
    """The download of a tree's data."""

    def __init__(
        self, settings: GetSettings, tree: TreeTask | None, target: TreeTarget, manifest: Manifest, observer: Observer | None,
        limit: Throttle | None, of: str,
    ) -> None:  # fmt: skip
        """tree: None for a shared directory, whose data is content that the manifest's base names. of: see TreePlace."""
        self.tree = tree
        self.manifest = manifest
        self._named = settings.url
        if tree is None:
            settings = settings.replace(url=manifest.base[:-1])
        self._target = target
        self._tree_place = TreePlace(settings, target)
        self._tree_place.limit, self._tree_place.of = limit, of
        monitor = Monitor(settings.timeout, observer, ADVICE, settings.quiet)
        super().__init__(settings, self._tree_place, monitor, identify(settings, tree))

    def on_registration(self) -> None:
        """See BaseDownload."""
        if self.tree is None:
            self.registration = self.registration.replace(in_order=True)
            return
        self.registration = self.registration.replace(
            tree=DATA, include=self.tree.globs.include, exclude=self.tree.globs.exclude, manifest=self.tree.manifest, in_order=True
        )

    def origin(self, settings: GetSettings, cancel: Cancel, floor: float) -> Origin:
        """See BaseDownload."""
        from dfengine.origin.schemes import settings_for_download
        from dfengine.origin.tree_origin import TreeOrigin

        return TreeOrigin(self.manifest, settings_for_download(settings, floor), cancel)

    @property
    def reason(self) -> str | None:
        """Why the origin was read; None: it was not."""
        return self._reason

    def _from_origin(self, reason: str) -> None:
        if self.may_refetch_manifest and self._swarm is not None and self._swarm.refused:
            raise ManifestOutdated(reason)
        super()._from_origin(reason)

    def all(self, started: float) -> TreeResult:
        """Download until each file has a name or an error. started: monotonic seconds, of the whole. Raises subclasses of DfengineError."""
        try:
            self.fill()
            transfer = self._tree_place.finish()
            self._target.check_in_place()
            byte_counts, file = self._tree_place.byte_counts, transfer.file
            self._tree_place.keep_serving()
            if not file.failed:
                self._target.discard()
            found = self.result(byte_counts, self._target.path, {})
            self.report(next((error for error in file.failed.values() if isinstance(error, DigestMismatch)), None))
            rows = FileResults(self.manifest, file.geometry, bytes(transfer.piece_sources))
            return TreeResult(
                self._named, found.output, found.task_id, self.manifest.identity, found.length, rows.count,
                time.monotonic() - started, found.from_peers, found.from_supernode, found.from_origin, found.resumed,
                {**file.failed, **rows.errors}, rows, found.back_to_source, found.hedged,
                found.serves, found.why_not, found.peers,
            )  # fmt: skip
        except BaseException as error:
            self.abandon(error)
            raise
        finally:
            self.close()

    def on_opened(self, member: Membership) -> None:
        """See BaseDownload."""
        self.log_verbose(f"task {member.task} at {member.node}")
        if self.home is not None and self.peer.port:
            try:
                self._tree_place.share(self.home, self.identity.name, member.cid, str(member.node), member.task)
                self.mark_serving()
            except LocalError as error:
                self.note_not_serving(error)
