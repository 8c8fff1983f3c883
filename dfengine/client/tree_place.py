"""The place of a tree's data: a directory, in which each file gets its name when it is completely verified."""

from __future__ import annotations

import contextlib

from dfengine._piece import frame_head
from dfengine._window import Window
from dfengine.client import fetch
from dfengine.client.fetch import verify
from dfengine.client.piece_storage import PieceStorage
from dfengine.client.plan import Plan
from dfengine.client.transfer import Transfer
from dfengine.errors import DigestMismatch, ProtocolViolation, StorageError
from dfengine.storage.hashing import content_digest
from dfengine.storage.tree_file import TreeFile
from dfengine.task import SUPERNODE_CID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dfengine._piece import Geometry
    from dfengine.client.job import Job
    from dfengine.client.messages import Source
    from dfengine.settings import GetSettings
    from dfengine.storage.home import Home
    from dfengine.storage.tree_target import TreeTarget

RESUMED, PEERS, SUPERNODE, ORIGIN = range(4)
"""Source of a piece; RESUMED: an earlier download."""


class TreeTransfer(Transfer):
    """Records the source of each piece in `piece_sources`."""

    file: TreeFile
    piece_sources: bytearray
    similar = False
    """Whether the directory had files that may be the wanted ones."""
    _compared: frozenset[int] = frozenset()

    def offer(self, offers: Iterable[tuple[int, str, Iterable[Source]]]) -> None:
        """See TransferState. A piece whose digest matches the files in the directory is read from them. Raises StorageError."""
        offered = list(offers)
        for n, digest, _ in offered if self.similar else ():
            # At its first offer no thread fetches the piece yet.
            if n not in self._compared and n not in self.file.available:
                self._compared |= {n}
                self._restore_piece(n, digest)
        super().offer(offered)

    def _restore_piece(self, n: int, digest: str) -> None:
        """Verify and write piece n from the directory's files like a received one: the files may be of several versions."""
        geometry, file = self.file.geometry, self.file
        offset, length = geometry.content(n)
        content = memoryview(bytearray(length))
        if not length or file.scatter.read_into(content, offset, length, False) >= 0:
            return
        try:
            xxh3 = verify(digest, frame_head(length, geometry.piece_size), content)
        except DigestMismatch:
            return
        file.write(n, content, xxh3 or content_digest(content))
        with self._changed:
            self.plan.add_stored((n,))
            self.byte_counts.resumed += length
            self._on_stored(n)

    def commit(self, job: Job, buffer: memoryview, length: int, xxh3: bytes | None, in_place: bool = False) -> memoryview | None:
        """See Transfer."""
        if not self.piece_sources[job.piece]:
            self.piece_sources[job.piece] = SUPERNODE if job.source.cid.startswith(SUPERNODE_CID) else PEERS
        return super().commit(job, buffer, length, xxh3, in_place)

    def _add_stored(self, n: int, length: int, host: bool = False) -> None:
        self.piece_sources[n] = ORIGIN
        super()._add_stored(n, length, host)


class TreePlace(PieceStorage):
    """The place of one directory."""

    _kind = TreeTransfer
    knows_length = True
    transfer: TreeTransfer | None

    def __init__(self, settings: GetSettings, target: TreeTarget) -> None:
        super().__init__(settings)
        self._target = target
        self._shared: tuple[Home, str] | None = None
        self.of = ""
        """Name of the download of its manifest."""

    def _restart(self) -> None:
        self.close()

    def _begin(self, geometry: Geometry, generation: bytes) -> TreeTransfer:
        if geometry.length != self._target.length:
            raise ProtocolViolation(f"the manifest names files of {self._target.length} bytes, and the data has {geometry.length}")
        file = self._target.open(geometry, generation)
        held = list(file.available)
        plan = Plan(Window(-1, geometry.count), fetch.workers(geometry), order=int)
        plan.add_stored(held)
        self.byte_counts.reset(sum(geometry.content(n)[1] for n in held))
        transfer = self._transfer(file, plan, None)
        assert isinstance(transfer, TreeTransfer)
        transfer.piece_sources, transfer.similar = bytearray(geometry.count), self._target.similar
        return transfer

    def finish(self) -> TreeTransfer:
        """Give the last files their names, after every piece is stored. Raises StorageError."""
        transfer = self.transfer
        if transfer is None:
            raise StorageError("nothing was downloaded")
        transfer.file.finish_all()
        return transfer

    def share(self, home: Home, name: str, cid: str, node: str, task: str) -> None:
        """Let this host's peer server serve the pieces on disk, present and future. Raises StorageError."""
        if self.transfer is not None:
            self._shared = home, name
            home.withdraw(name)
            home.share_tree(name, self.transfer.file, self._target, task=task, cid=cid, node=node, expire=self._settings.expiretime,
                            of=self.of)

    def keep_serving(self) -> None:
        """Keep serving the files after all have their names. Errors are ignored."""
        if self._shared is not None and self.transfer is not None:
            with contextlib.suppress(StorageError):
                self._shared[0].keep_record(self._shared[1], self.transfer.file)

    def forget(self) -> None:
        """See PieceStorage."""
        if self._shared is not None:
            self._shared[0].withdraw(self._shared[1])
        self._target.discard(done=False)
        self.close()
