"""The place in which a download collects its pieces, with the transfer that fills it and the state of the whole file.

`assembly.Assembly` is a file beside the output, `streaming.stream_buffer.StreamBuffer` a window in memory.
Invariant: pieces of two generations never mix.
"""

from __future__ import annotations

from dfengine.client.byte_counts import ByteCounts
from dfengine.client.monitor import TICK
from dfengine.client.supernode_answer import FILE
from dfengine.client.throttle import Throttle
from dfengine.client.transfer import Transfer
from dfengine.task import expected_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine._piece import Geometry
    from dfengine.client.connection_pool import ConnectionPool
    from dfengine.client.digest import FileDigester
    from dfengine.client.finished import Finished
    from dfengine.client.host_leader_client import HostLeaderClient
    from dfengine.client.kept_copy import KeptCopy
    from dfengine.client.monitor import Monitor
    from dfengine.client.plan import Plan
    from dfengine.client.swarm_recovery import SwarmRecovery
    from dfengine.origin.version import Version
    from dfengine.settings import GetSettings
    from dfengine.storage.home import Home
    from dfengine.storage.piece_file import PieceFile


class PieceStorage:
    """The place of one download. `transfer` is None until `open`."""

    patience = FILE
    """How long to wait for supernodes."""
    required_generation = b""
    """Generation that the file must have; b"": the present one."""

    def __init__(self, settings: GetSettings) -> None:
        self._settings = settings
        self._hedged = 0
        self.transfer: Transfer | None = None
        self._unclosed_file: PieceFile | None = None
        """The file that `close` has yet to close; the threads have ended."""
        self.limit: Throttle | None = None
        """The shared limit of several downloads; the settings contain this one's part."""
        self.connections: ConnectionPool | None = None
        """The shared pool of several downloads; None: the transfer has its own."""
        self.byte_counts = ByteCounts()
        self.expected = settings.expected
        """Digests that the whole file must have."""
        self.digests: dict[str, str] = {}
        """Algorithm -> hex digest of the whole file, once computed."""
        self.finished: Finished | None = None
        """The output of an earlier download, if it exists."""
        self.version: Version | None = None
        """The version of the file in the origin's answer; None if the origin was not asked."""
        self.unproved_version = False
        """Whether only the whole file's digest can prove that resumed and new pieces are of one version."""
        self.doubtful = False
        """Whether stored pieces may be of another version than later ones, since a 1.x supernode names none."""
        self.joining: HostLeaderClient | None = None
        """Membership in this host's group of downloads of the file; None: the download is alone."""
        self.kept_copy_home: Home | None = None
        """Home of this host's peer server, which may have the file in memory."""
        self.kept_copy: KeptCopy | None = None
        """The pieces of the file that the peer server has in memory."""
        self.swarm_recovery: SwarmRecovery | None = None
        """Returns the download from the origin to the swarm, for a file that stays open for long."""
        self.delegated: list[str] = []
        """Algorithms of whole-file digests that this host's leader computes for this download."""
        self.stuck = False
        """Whether a thread did not end when this was closed."""
        self.delegated_digests: dict[str, str] = {}
        """Algorithm -> hex digest from the leader, once received."""

    @property
    def hedged(self) -> int:
        """Pieces that were requested from a second source because the first was late, in all transfers so far."""
        return self._hedged + (self.transfer.plan.hedged if self.transfer is not None else 0)

    @property
    def algorithms(self) -> list[str]:
        """Algorithms of the whole-file digests that are wanted."""
        wanted = [digest.algorithm for digest in self.expected]
        return list(dict.fromkeys([*wanted, "xxh3"] if self._settings.report_digest else wanted))

    def expect(self, etag: str) -> None:
        """Expect the digest in the origin's entity-tag, if it is a model hub's. A transfer that has begun is not affected."""
        named = expected_of(self._settings.url, self._settings.headers, etag)
        if self.transfer is None and named is not None:
            self.expected = [digest for digest in self._settings.expected if digest != named] + [named]

    def open(self, geometry: Geometry, generation: bytes) -> Transfer:
        """Return the transfer that fills the place. A running one continues if it is of the same file; otherwise a new one starts.

        Raises StorageError, or OriginChanged if bytes of another file were delivered.
        """
        transfer = self.transfer
        if transfer is not None:
            file = transfer.file
            lengths, known = {file.geometry.length, geometry.length} - {-1}, file.record.generation
            same = len(lengths) < 2 and file.geometry.piece_size == geometry.piece_size
            if same and (not known or not generation or known == generation):
                self._on_continue(known, generation)
                return self.continue_transfer(geometry)
            self._restart()
        self.transfer = transfer = self._begin(geometry, generation)
        if transfer.digester is not None:
            transfer.start(transfer.digester.run, "digest", fetches=False)
        self.publish()
        return transfer

    def publish(self) -> None:
        """If this download leads, let other downloads of this host copy its pieces."""
        transfer, joining = self.transfer, self.joining
        if transfer is not None and joining is not None and joining.leads and transfer.page is None:
            transfer.page = joining.page
            joining.wanted, joining.progress = self._prefer_for_host, self._progress
            joining.open(transfer.file, self._output_key(), self.algorithms)

    def _prefer_for_host(self, pieces: list[int]) -> None:
        """Fetch first the pieces that other downloads of this host wait for."""
        transfer = self.transfer
        if transfer is not None:
            transfer.prefer_for_host(pieces)

    def _progress(self) -> int:
        """See SignalPage.progress."""
        transfer = self.transfer
        if transfer is None:
            return 0
        return transfer.in_flight().total + (transfer.digester.hashed if transfer.digester is not None else 0)

    def _output_key(self) -> str:
        return ""

    def mark_unproved_version(self) -> None:
        """Set `unproved_version`, also for the downloads that joined this one."""
        self.unproved_version = True
        if self.joining is not None:
            self.joining.page.mark_unproved()

    def drop_unprovable(self, generation: bytes) -> None:
        """Before `open` at a supernode: discard the pieces if nothing can prove that they are of `generation`."""

    def continue_transfer(self, geometry: Geometry) -> Transfer:
        """Return the running transfer, whatever its pieces' generation: the caller compares the pieces. Raises ProtocolViolation."""
        assert self.transfer is not None
        if geometry.length >= 0:
            self.transfer.learn_length(geometry.length)
        return self.transfer

    def is_output_current(self, length: int, generation: str) -> bool:
        """Whether the output of an earlier download is this version of the file, so that nothing needs to be fetched."""
        return False

    def forget(self) -> None:
        """Discard the pieces: the origin no longer has their version. Raises OriginChanged if bytes were delivered."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop all threads and close the file. May be called again."""
        transfer = self.transfer
        if transfer is not None:
            self.stuck = True  # stays so if a signal raises before the threads are known to have ended
            if transfer.close():
                self._unclosed_file, self.stuck = transfer.file, False
            self._hedged += transfer.plan.hedged
            self.transfer = None
        if self._unclosed_file is not None:
            self._close(self._unclosed_file)
            self._unclosed_file = None
        if not self.stuck:
            self._release_kept_copy()

    reuses_memory = False
    """Whether the download continues in the kept memory and writes to it."""

    def find_kept(self, task: str, geometry: Geometry, generation: bytes) -> None:
        """Set `kept_copy` to this version's pieces in the peer server's memory, before a transfer of the version begins."""
        if self.kept_copy_home is None or self.transfer is not None or not generation or geometry.length <= 0:
            return
        from dfengine.client import kept_copy

        self._release_kept_copy()
        self.kept_copy = kept_copy.request_copy(self.kept_copy_home.sockets, task, geometry, generation, self.reuses_memory)
        if self.kept_copy is not None and any(self.kept_copy.digests.get(each.algorithm, each.hex) != each.hex for each in self.expected):
            self._release_kept_copy()  # not the file that the user expects; the supernode's may be another
        # Whole-file digests that are known already need not be computed while pieces arrive.
        self.delegated = [*self.kept_copy.known_digests(self.algorithms)] if self.kept_copy is not None else []

    def copy_kept(self, monitor: Monitor) -> None:
        """Copy the pieces that the transfer lacks from `kept_copy`. Raises StorageError, and the errors of `monitor`."""
        kept, transfer = self.kept_copy, self.transfer
        if kept is not None and transfer is not None:
            from dfengine.client import kept_copy

            if kept_copy.copy_into(kept, transfer, monitor):
                self.delegated_digests = kept.known_digests(self.algorithms)
            self._release_kept_copy()

    def _release_kept_copy(self) -> None:
        kept, self.kept_copy = self.kept_copy, None
        if kept is not None:
            kept.close()

    def _begin(self, geometry: Geometry, generation: bytes) -> Transfer:
        """Make a new transfer, without starting its digest thread. Raises StorageError."""
        raise NotImplementedError

    def _restart(self) -> None:
        """End the transfer of another file."""
        raise NotImplementedError

    def _on_continue(self, known: bytes, generation: bytes) -> None:
        """Called when the running transfer continues. known: the generation of its pieces."""

    def _await_digests(self, transfer: Transfer, monitor: Monitor) -> None:
        """Wait for the whole-file digests that are computed while pieces arrive, if any. Raises StorageError, TimedOut."""
        while transfer.digester is not None:
            monitor.check(transfer)
            found = transfer.digester.result(TICK)
            if found is not None:
                self.digests = found
                return

    def _close(self, file: PieceFile) -> None:
        file.close()

    _kind = Transfer
    """Class of its transfers."""
    knows_length = False
    """Whether the data's length is known beforehand: then a lack of space is the disk's fault, not a supernode's."""

    def _transfer(self, file: PieceFile, plan: Plan, digester: FileDigester | None) -> Transfer:
        rate = self._settings.locallimit
        throttle = Throttle(rate, self.limit) if rate else None
        return self._kind(file, plan, self.byte_counts, digester=digester, throttle=throttle, connections=self.connections)
