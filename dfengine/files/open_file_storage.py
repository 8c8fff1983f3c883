"""The place of an open file's pieces: one memfd, or one sparse file in the home directory, with the record beside it.

Readers read from it by pread and mmap, and this host's peer server sends from it, independently of each other.

Invariant: a place never has bytes of two versions. Once the file was opened, and its length read, another version is an error.
"""

from __future__ import annotations

import os
import threading

from dfengine._window import Window
from dfengine.client import fetch
from dfengine.client.digest import FileDigester, compare
from dfengine.client.monitor import TICK
from dfengine.client.on_demand import TransferOnDemand
from dfengine.client.passed_memory import PassedMemory
from dfengine.client.plan_on_demand import PlanOnDemand
from dfengine.client.supernode_answer import READ
from dfengine.client.throttle import Throttle
from dfengine.errors import DigestMismatch, OriginChanged, StorageError, SupernodeError
from dfengine.storage.available_memory import available
from dfengine.storage.home import Entry, Home
from dfengine.storage.memory_file import MemoryFile
from dfengine.storage.part_file import PartFile
from dfengine.storage.path_protection import is_own_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine._piece import Geometry
    from dfengine.client.host_leader_client import HostLeaderClient
    from dfengine.client.leader_place import LeaderPlace
    from dfengine.client.monitor import Monitor
    from dfengine.settings import GetSettings
    from dfengine.storage.piece_file import PieceFile

SHARE = 4
"""By default a file of at most 1/SHARE of the available memory is stored in memory."""

FOLDER = "files"
"""Folder of the home directory for files that are stored on its disk."""

MEMORY, DISK = "memory", "disk"


class OpenFileStorage(PassedMemory):
    """The place of one open file. task: id of its data on this host (`Identity.storage_id`).

    store: MEMORY or DISK; "": memory for a file of at most a fourth of the available memory, else the disk. A file in memory costs no
    disk writes, and it is gone when the file is closed. On the disk, fetched pieces are kept for the next open of the same version, and
    a file of any length, or of unknown length, takes no memory but the page cache's.
    """

    patience = READ

    def __init__(self, settings: GetSettings, task: str, store: str = "") -> None:
        super().__init__(settings)
        self._task, self._store, self.reuses_memory = task, store, True
        self._target: PartFile | None = None
        self._home: tuple[Home, str] | None = None
        self._changed = threading.Condition()
        self._ended = self._opened = False
        self._last: TransferOnDemand | None = None
        self._on_opened: list[Callable[[], object]] = []

    @property
    def descriptors(self) -> list[int]:
        """See PassedMemory; includes descriptors of places that readers have moved away from."""
        return [*super().descriptors, *(self._last.file.former_descriptors if self._last is not None else [])]

    # Readers.

    def await_open(self, seconds: float) -> TransferOnDemand | None:
        """Return the transfer that fills the place, once the file's geometry is known; None after `seconds`, or when the download ended.

        From then on another version of the file is an error.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._last is not None, seconds)
            if self._last is None:
                return None
            self._opened = True
            return self._last

    def when_opened(self, notify: Callable[[], object]) -> None:
        """Call `notify` once, in any thread, when `await_open` would not wait any more: at once if it would not wait now."""
        with self._changed:
            if self._last is None and not self._ended:
                self._on_opened.append(notify)
                return
        notify()

    def await_end(self, seconds: float) -> bool:
        """Wait until the download has ended. Return False after `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended, seconds)

    @property
    def path(self) -> str:
        """Path of the data, for this user's processes, while the file is open."""
        assert self._last is not None
        return self._last.file.path if self._target is not None else f"/proc/{os.getpid()}/fd/{self._last.file.fd}"

    # The download thread.

    def open(self, geometry: Geometry, generation: bytes) -> TransferOnDemand:
        """See PieceStorage."""
        transfer = super().open(geometry, generation)
        assert isinstance(transfer, TransferOnDemand)
        self._set_last(transfer)
        return transfer

    def _set_last(self, transfer: TransferOnDemand) -> None:
        with self._changed:
            self._last = transfer
            self._changed.notify_all()
            waiting, self._on_opened = self._on_opened, []
        for notify in waiting:
            notify()

    def _begin(self, geometry: Geometry, generation: bytes) -> TransferOnDemand:
        kept, self.kept_copy = self.kept_copy, None
        if kept is not None and (kept.whole or self._fits_memory(geometry)):
            self.delegated_digests = {name: kept.digests[name] for name in self.delegated}
            transfer = self._transfer_over(kept.detach_file(), list(kept.file.available))
            self.byte_counts.host, self.byte_counts.resumed = self.byte_counts.resumed, 0
            return transfer
        if kept is not None:
            self.delegated = []
            kept.close()
        file = self._file(geometry, generation)
        held = list(file.available)
        if held and not generation:
            # Pieces that an earlier open left are not known to be of this version.
            for n in held:
                file.record.unpublish(n)
            held = []
        return self._transfer_over(file, held)

    def _transfer_over(self, file: PieceFile, held: list[int]) -> TransferOnDemand:
        geometry = file.geometry
        plan = PlanOnDemand(Window(-1, file.geometry.count), fetch.workers(geometry))
        plan.add_stored(held)
        self.byte_counts.reset(sum(geometry.content(n)[1] for n in held))
        rate = self._settings.locallimit
        return TransferOnDemand(
            file, plan, self.byte_counts, digester=FileDigester(file, self.algorithms) if self.algorithms and not self.delegated else None,
            throttle=Throttle(rate) if rate else None,
        )  # fmt: skip

    def can_share(self, file: PieceFile) -> bool:
        """Whether the place of this host's leader can be shared, according to `store`."""
        return not file.evicts and (file.in_memory if self._store == MEMORY else not file.in_memory if self._store == DISK else True)

    def find_kept(self, task: str, geometry: Geometry, generation: bytes) -> None:
        """See PieceStorage."""
        if self._store != DISK:
            super().find_kept(task, geometry, generation)

    def adopt(self, file: PieceFile) -> TransferOnDemand:
        """Use the place of this host's leader for the pieces; this value owns `file` from now on."""
        self.transfer = transfer = self._transfer_over(file, [])
        if transfer.digester is not None:
            transfer.start(transfer.digester.run, "digest", fetches=False)
        self._set_last(transfer)
        return transfer

    def delegate_digests(self, leader: LeaderPlace) -> None:
        """Let the leader compute the whole-file digests, if it computes all that are wanted here."""
        wanted = self.algorithms
        self.delegated = wanted if {*wanted} <= {*leader.algorithms} else []

    def await_delegated_digests(self, joining: HostLeaderClient, monitor: Monitor) -> None:
        """Wait for the leader's digests after every piece is stored, while this download is joined and the leader computes them."""
        assert self.transfer is not None
        record, leads, joining.waiting = self.transfer.file.record, joining.leads, None
        while self.delegated and joining.joined and joining.leads == leads:
            leader = joining.place
            if leader is not None:
                self.delegated_digests = leader.published_digests(record, self.delegated)
                if self.delegated_digests or joining.done or not {*self.delegated} <= {*leader.algorithms}:
                    return
            monitor.check(self.transfer)
            joining.receive(TICK)

    def take_over(self, exclusive: bool) -> None:
        """Fetch into an adopted place from now on. exclusive: no other process writes there any more, so memory can be used as it is.

        Otherwise the stored pieces are copied into a place of its own. Raises StorageError.
        """
        transfer = self.transfer
        assert isinstance(transfer, TransferOnDemand)
        file = transfer.file
        if file.in_memory and exclusive:
            return
        fresh = self._file(file.geometry, file.record.generation, file.in_memory)
        try:
            fresh.copy_missing(file)
        except BaseException:
            fresh.close()
            raise
        transfer.move(fresh)

    def _fits_memory(self, geometry: Geometry) -> bool:
        return self._store == MEMORY or (not self._store and 0 <= geometry.length <= available() // SHARE)

    def _file(self, geometry: Geometry, generation: bytes, in_memory: bool | None = None) -> PieceFile:
        """Make the file of a new place. in_memory: None: according to `store`. Raises StorageError."""
        if in_memory is None:
            in_memory = self._fits_memory(geometry)
        if in_memory:
            return MemoryFile.allocate(geometry, generation)
        home = Home(self._settings.home)
        folder = os.path.join(home.path, FOLDER)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if not is_own_folder(folder):
                raise StorageError(f"cannot use {folder}: other users can write there: choose another --home")
        except OSError as error:
            raise StorageError(f"cannot use {folder}: {error.strerror}") from error
        self._target = PartFile(os.path.join(folder, self._task[:16]), self._task)
        return self._target.open(geometry, generation, whole=False)

    def share(self, home: Home, name: str, cid: str, node: str, task: str) -> None:
        """Let this host's peer server serve the stored pieces, present and future. Raises LocalError."""
        if self._last is None:
            return
        file, expire = self._last.file, self._settings.expiretime
        if self._target is not None:
            self._home = home, name
            home.withdraw(name)
            home.share(name, file, self._target, task=task, cid=cid, node=node, expire=expire)
            return
        self.hand_over(home.sockets, Entry(name, task, cid, node, [], "", 0, 0, expire), file)

    def verify(self, monitor: Monitor) -> None:
        """Compare whole-file digests with the user's after every piece is stored. Raises DigestMismatch after withdrawing the pieces."""
        transfer = self.transfer
        if transfer is not None and self.delegated and not self.delegated_digests:
            # The leader that computed the digests is lost, but all pieces are stored.
            transfer.digester = FileDigester(transfer.file, self.algorithms)
            transfer.start(transfer.digester.run, "digest", fetches=False)
        if transfer is not None:
            self._await_digests(transfer, monitor)
        self.digests.update(self.delegated_digests)
        if self.digests:
            self.publish_digests(self.digests)
        try:
            compare(self.expected, self.digests)
        except DigestMismatch:
            self._discard()
            raise

    def end(self) -> None:
        """Wake all waiting threads: no further piece will arrive."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            last = self._last
            waiting, self._on_opened = self._on_opened, []
        for notify in waiting:
            notify()
        if last is not None:
            last.end()

    def forget(self) -> None:
        """See PieceStorage."""
        with self._changed:
            if self._opened:
                raise OriginChanged("the origin's file changed while it was open: open it again")
            self._last, self.delegated, self.delegated_digests = None, [], {}
        self._discard()
        self.close()

    def _restart(self) -> None:
        self.forget()

    def _on_continue(self, known: bytes, generation: bytes) -> None:
        """See PieceStorage. Raises SupernodeError if new pieces may be of another version than the stored ones; then the origin is read.

        Raises OriginChanged if the version that this file must have is not named any more.
        """
        assert self.transfer is not None
        if not (known and generation):
            if self.required_generation and generation != self.required_generation:
                raise OriginChanged("no source names the version of the file that was opened first: open it again")
            if not self.transfer.drop_offers():
                raise SupernodeError("a supernode of 1.x, which names no version of the file, was lost or forgot this download")
            self.transfer.file.record.forget_generation()  # pieces may be of another version than the registered one

    def _discard(self) -> None:
        """Delete wrong data: no piece of it may be served, or used by the next open."""
        self.withdraw()
        if self._home is not None:
            self._home[0].withdraw(self._home[1])
        if self._target is not None:
            self._target.discard()

    def close(self) -> None:
        """See PieceStorage. The peer server has its own descriptors."""
        file = self.transfer.file if self.transfer is not None else None
        if file is not None and self._target is not None and (
            self._target.private or not file.record.generation or not file.available.count()
        ):
            self._target.discard()
        super().close()
