"""Assembles a file: part file, the transfer that fills it, digests of the whole file, and the rename at the end."""

from __future__ import annotations

import contextlib
import os

from dfengine._window import Window
from dfengine.client import fetch
from dfengine.client.digest import FileDigester, compare
from dfengine.client.finished import confirm, has_digests, hash_file, read_description, write_description
from dfengine.client.piece_storage import PieceStorage
from dfengine.client.plan_of_file import PlanOfFile
from dfengine.errors import BadValue, DigestMismatch, StorageError
from dfengine.location import is_content
from dfengine.storage.hashing import hasher
from dfengine.storage.part_file import PartFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine._piece import Geometry
    from dfengine.client.monitor import Monitor
    from dfengine.client.transfer import Transfer
    from dfengine.settings import GetSettings
    from dfengine.storage.home import Home
    from dfengine.storage.piece_file import PieceFile

SPARE = 16 << 20
"""Bytes of piece buffers that the digest thread may hold, beyond those of the fetch threads."""


class Assembly(PieceStorage):
    """The file of one output path.

    It is `doubtful` when stored pieces may be of another generation than those that are fetched. Then the user's digest, the origin's bytes
    or the supernode's md5 of the whole file must prove it.
    """

    def __init__(self, settings: GetSettings, task: str, check: Callable[[], None] | None = None) -> None:
        """check: called between pieces that are hashed again; it may raise. Raises BadValue when the output path cannot be replaced."""
        super().__init__(settings)
        self._target = PartFile(settings.output, task, check)
        self._check = check or (lambda: None)
        self._shared: tuple[Home, str] | None = None
        self._task = task
        self.of_directory = False
        """Whether the file may be the manifest of a shared directory."""
        self.finished = None if settings.force else read_description(self._target.path, task)
        self.output_is_current = False
        """Whether the output of an earlier download is the requested version: nothing is fetched."""

    @property
    def path(self) -> str:
        """Absolute path of the output."""
        return self._target.path

    def is_output_current(self, length: int, generation: str) -> bool:
        """See PieceStorage. If true, the output is left unchanged."""
        found = self.finished
        same = found is not None and (found.length, found.generation) == (length, generation)
        if found is not None and same and not self.expected:
            self.finished = confirm(self.path, found, self._check) if self._is_unchanged() else None
        self.output_is_current = same and self.finished is not None and not self.expected and bool(generation)
        return self.output_is_current

    def has_expected_digests(self) -> bool:
        """Whether the output exists with the digests that are expected; then it is current. False if none is expected."""
        self.output_is_current = not self._settings.force and has_digests(self.path, self.expected, self._check)
        return self.output_is_current

    def _is_unchanged(self) -> bool:
        """Whether the output is as it was when the download began: other programs may write to it while an answer is awaited."""
        found = read_description(self.path, self._task)
        if found is None or self.finished is None:
            return found is self.finished
        # The peer server may have removed its link, and noted the output again.
        return found.replace(noted=self.finished.noted) == self.finished

    def existing(self, by_host: bool) -> tuple[int, dict[str, str]]:
        """Return length and digests of the output that is current. by_host: another download of this host has just completed it.

        Raises StorageError, also if it was changed or removed meanwhile, TimedOut, DigestMismatch.
        """
        found = dict(self.delegated_digests)
        wanted = self.algorithms if by_host else ["xxh3"] if self._settings.report_digest else []
        if self.finished is not None and self.finished.xxh3 and not by_host:
            found["xxh3"] = self.finished.xxh3
        if missing := [name for name in wanted if name not in found]:
            found.update(hash_file(self.path, missing, self._check))
        if by_host:
            compare(self.expected, found)
        elif self.finished is not None and not self._is_unchanged():
            raise StorageError(f"{self.path} was changed or removed while it was compared: run it again")
        try:
            return os.path.getsize(self.path), found
        except OSError as error:
            raise StorageError(f"cannot read {self.path}: {error.strerror}") from error

    def _on_continue(self, known: bytes, generation: bytes) -> None:
        assert self.transfer is not None
        self.doubtful = self.doubtful or known != generation or not generation
        if known != generation:
            # A download that is killed now leaves pieces that may be of two versions: none may resume from them under one version's name.
            self.transfer.file.record.forget_generation()

    def drop_unprovable(self, generation: bytes) -> None:
        """See PieceStorage. A supernode that names generations sends no md5 of the whole file."""
        if self.transfer is not None and generation and not self.transfer.file.record.generation and not self.expected:
            self.forget()

    def _restart(self) -> None:
        self.close()

    def _begin(self, geometry: Geometry, generation: bytes) -> Transfer:
        file = self._target.open(geometry, generation)
        held = [n for n in file.available if geometry.count < 0 or n < geometry.count]
        self.doubtful = bool(held) and not generation
        digester = self._make_digester(file)
        # A file that is hashed in order is fetched in order, so that few pieces are read back.
        plan = PlanOfFile(Window(-1, file.geometry.count), fetch.workers(geometry), order=int if digester is not None else None)
        plan.add_stored(held)
        self.byte_counts.reset(sum(geometry.content(n)[1] for n in held))
        return self._transfer(file, plan, digester)

    def _make_digester(self, file: PieceFile) -> FileDigester | None:
        algorithms = [name for name in self.algorithms if name not in self.delegated]
        if not algorithms:
            return None
        geometry = file.geometry
        spares = max(1, min(2, SPARE // fetch.buffer_size(geometry)))
        return FileDigester(file, algorithms, [fetch.piece_buffer(geometry) for _ in range(spares)])

    def share(self, home: Home, name: str, cid: str, node: str, task: str) -> None:
        """Let this host's peer server serve the pieces on disk, present and future. Raises StorageError."""
        if self.transfer is None:
            return
        self._shared = home, name
        home.withdraw(name)
        home.share(name, self.transfer.file, self._target, task=task, cid=cid, node=node, expire=self._settings.expiretime)

    def verify(self, monitor: Monitor, supernode_md5: str = "") -> None:
        """Compare digests of the complete file with the user's, or else with the supernode's md5 if the file is `doubtful`.

        Raises DigestMismatch, also for a doubtful file that nothing proves, or BadValue for a shared directory, which is not a file. Then
        the data is discarded and cannot be resumed.
        """
        transfer = self.transfer
        if transfer is None:
            raise StorageError("nothing was downloaded")
        self._await_digests(transfer, monitor)
        self.digests.update(self.delegated_digests)
        if missing := [name for name in self.algorithms if name not in self.digests]:
            self.digests.update(self._hash_file(missing, transfer, monitor))
        try:
            compare(self.expected, self.digests)
        except DigestMismatch:
            self.discard()
            raise
        if self.doubtful and not self.expected:
            self._check_md5(supernode_md5.lower(), transfer, monitor)
        if is_content(self._settings.url) and not self.of_directory and transfer.file.geometry.count > 0:
            self._check_head(transfer)

    def _check_md5(self, expected: str, transfer: Transfer, monitor: Monitor) -> None:
        """Raises DigestMismatch, after discarding the data, unless the whole file has the expected md5; "": it is not known."""
        if not expected:
            self.discard()
            raise DigestMismatch("no supernode sent the file's md5, so pieces of two versions may be mixed; run it again")
        md5 = self._hash_file(["md5"], transfer, monitor)["md5"]
        if md5 != expected:
            self.discard()
            raise DigestMismatch(f"the file's md5 is {md5}, not {expected}: pieces of two versions were mixed; run it again")

    def _check_head(self, transfer: Transfer) -> None:
        """Raises BadValue for a shared directory, after discarding the data."""
        from dfengine.manifest import HEAD_BYTES, check_no_directory

        try:
            check_no_directory(self._settings.url, os.pread(transfer.file.fd, HEAD_BYTES, 0))
        except BadValue:
            self.discard()
            raise

    def _hash_file(self, algorithms: list[str], transfer: Transfer, monitor: Monitor) -> dict[str, str]:
        """Hash the file in a second pass: only after resuming with a supernode without generations, or after the leader was lost."""
        hashes, buffer = {name: hasher(name) for name in algorithms}, fetch.piece_buffer(transfer.file.geometry)
        for n in range(transfer.file.geometry.count):
            monitor.check(transfer)
            content = buffer[: transfer.file.read_into(n, buffer)]
            for each in hashes.values():
                each.update(content)
        return {name: str(each.hexdigest()) for name, each in hashes.items()}

    def _output_key(self) -> str:
        from dfengine.client.leader_place import output_key

        return output_key(self.path)

    def finish(self) -> None:
        """Rename the verified file to the output path. Raises StorageError."""
        if self.transfer is None:
            raise StorageError("nothing was downloaded")
        file = self.transfer.file
        named = self.version.name if self.version is not None else file.record.generation.decode("ascii", "replace")
        write_description(file.fd, self._task, named, self.version, self.digests.get("xxh3", ""))
        if self.joining is not None:
            self.joining.page.publish_digests(self.digests)
        self._target.finish(file, keep=self._keep_serving)
        if self.joining is not None:
            self.joining.finish()

    def _keep_serving(self) -> None:
        """Keep serving the file after the rename; an error is ignored, because the output matters more."""
        if self._shared is not None and self.transfer is not None:
            home, name = self._shared
            with contextlib.suppress(StorageError):
                home.keep_record(name, self.transfer.file)

    def discard(self) -> None:
        """Delete the data, which is wrong: no piece of it may be served or resumed."""
        if self._shared is not None:
            self._shared[0].withdraw(self._shared[1])
        self._target.discard()

    def forget(self) -> None:
        """See PieceStorage. Digests of the discarded pieces must not count as those of the next."""
        self.delegated, self.delegated_digests, self.digests = [], {}, {}
        self.discard()
        self.close()

    def _close(self, file: PieceFile) -> None:
        if file.fd >= 0 and not file.available.count():
            self.discard()
        super()._close(file)
