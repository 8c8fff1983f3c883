"""Where a download's pieces come together: the transfer that fills the place, and what is known of the file.

`assembly.Assembly` is a file beside the output, `streaming.memory.Memory` a window in memory.
Law: pieces of two generations never mix.
"""

from __future__ import annotations

from dfengine.client.byte_counts import ByteCounts
from dfengine.client.node_answer import FILE
from dfengine.client.throttle import Throttle
from dfengine.client.transfer import Transfer
from dfengine.client.watch import TICK
from dfengine.task import expected_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine._piece import Geometry
    from dfengine.client.connection_pool import ConnectionPool
    from dfengine.client.digest import Follower
    from dfengine.client.finished import Finished
    from dfengine.client.joining import Joining
    from dfengine.client.kept_copy import KeptCopy
    from dfengine.client.plan import Plan
    from dfengine.client.returning import Returning
    from dfengine.client.watch import Watch
    from dfengine.origin.version import Version
    from dfengine.settings import GetSettings
    from dfengine.storage.home import Home
    from dfengine.storage.piece_file import PieceFile


class Place:
    """Of one download. `transfer` is None until `open`."""

    patience = FILE
    """With supernodes."""
    wanted = b""
    """Generation that the file must have; b"": the present one."""

    def __init__(self, settings: GetSettings) -> None:
        self._settings = settings
        self._hedged = 0
        self.transfer: Transfer | None = None
        self._left: PieceFile | None = None
        """What `close` has still to close: the threads have ended."""
        self.limit: Throttle | None = None
        """The limit of several downloads, of which the settings tell this one's part."""
        self.connections: ConnectionPool | None = None
        """Those of several downloads; None: the transfer has its own."""
        self.byte_counts = ByteCounts()
        self.expected = settings.expected
        """Digests that the whole file must have."""
        self.digests: dict[str, str] = {}
        """Algorithm -> hex digest of the whole file, when it was computed."""
        self.finished: Finished | None = None
        """The output of an earlier download, if it is there."""
        self.version: Version | None = None
        """Which version of the file the origin named; None if it was not asked."""
        self.mixed = False
        """Resumed pieces and new ones are of one version only if the whole file's digest agrees."""
        self.joining: Joining | None = None
        """This download among those of its host; None: it is alone."""
        self.kept_at: Home | None = None
        """Where this host's peer server may have the file in memory."""
        self.kept_copy: KeptCopy | None = None
        """What it has of the file that the transfer is to bring."""
        self.returning: Returning | None = None
        """What leads from the origin back to the swarm, for a file that is open for long."""
        self.lending: list[str] = []
        """Algorithms of the whole file's digests that this host's leader computes for it."""
        self.stuck = False
        """A thread did not end when this was closed."""
        self.lent: dict[str, str] = {}
        """Those digests, when they came."""

    @property
    def hedged(self) -> int:
        """Pieces that were requested from a second source while the first was late, of all transfers so far."""
        return self._hedged + (self.transfer.plan.hedged if self.transfer is not None else 0)

    @property
    def algorithms(self) -> list[str]:
        """Of the whole file's digests that are wanted."""
        wanted = [digest.algorithm for digest in self.expected]
        return list(dict.fromkeys([*wanted, "xxh3"] if self._settings.report_digest else wanted))

    def expect(self, etag: str) -> None:
        """The origin says the file's entity-tag, which is a digest where it is a model hub's. What is begun already goes without."""
        named = expected_of(self._settings.url, self._settings.headers, etag)
        if self.transfer is None and named is not None:
            self.expected = [digest for digest in self._settings.expected if digest != named] + [named]

    def open(self, geometry: Geometry, generation: bytes) -> Transfer:
        """The transfer that fills the place; a running one continues if it is of the same file, else a new one starts.

        Raises StorageError, and OriginChanged where bytes of another file were delivered.
        """
        transfer = self.transfer
        if transfer is not None:
            file = transfer.file
            lengths, known = {file.geometry.length, geometry.length} - {-1}, file.record.generation
            same = len(lengths) < 2 and file.geometry.piece_size == geometry.piece_size
            if same and (not known or not generation or known == generation):
                self._continued(known, generation)
                return self.go_on(geometry)
            self._begin_again()
        self.transfer = transfer = self._begin(geometry, generation)
        if transfer.follower is not None:
            transfer.start(transfer.follower.run, "digest", fetches=False)
        self.show_host()
        return transfer

    def show_host(self) -> None:
        """If this download leads, others of this host take its pieces from here."""
        transfer, joining = self.transfer, self.joining
        if transfer is not None and joining is not None and joining.leads and transfer.page is None:
            transfer.page = joining.page
            joining.wanted, joining.progress = self._wanted, self._progress
            joining.open(transfer.file, self._output_key(), self.algorithms)

    def _wanted(self, pieces: list[int]) -> None:
        """What others of this host wait for is fetched first."""
        transfer = self.transfer
        if transfer is not None:
            transfer.ask_for_host(pieces)

    def _progress(self) -> int:
        """See SignalPage.progress."""
        transfer = self.transfer
        if transfer is None:
            return 0
        return transfer.moving().total + (transfer.follower.hashed if transfer.follower is not None else 0)

    def _output_key(self) -> str:
        return ""

    def doubt(self) -> None:
        """See `mixed`."""
        self.mixed = True
        if self.joining is not None:
            self.joining.page.doubt()

    def go_on(self, geometry: Geometry) -> Transfer:
        """The transfer that is there, whatever generation its pieces are of: the caller compares them. Raises ProtocolViolation."""
        assert self.transfer is not None
        if geometry.length >= 0:
            self.transfer.learn_length(geometry.length)
        return self.transfer

    def holds(self, length: int, generation: str) -> bool:
        """The output of an earlier download is this version of the file: nothing needs to be fetched."""
        return False

    def forget(self) -> None:
        """Start over: what is here belongs to a file that the origin no longer has. Raises OriginChanged where bytes were delivered."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop all threads and close the file. May be called again."""
        transfer = self.transfer
        if transfer is not None:
            self.stuck = True  # also where a signal's exception comes before it is known that the threads have ended
            if transfer.close():
                self._left, self.stuck = transfer.file, False
            self._hedged += transfer.plan.hedged
            self.transfer = None
        if self._left is not None:
            self._close(self._left)
            self._left = None
        if not self.stuck:
            self._let_go_of_kept()

    goes_on = False
    """It goes on in memory that is kept, and writes there."""

    def find_kept(self, task: str, geometry: Geometry, generation: bytes) -> None:
        """Before a transfer of this version begins: what this host keeps of it in memory is `kept_copy`."""
        if self.kept_at is None or self.transfer is not None or not generation or geometry.length <= 0:
            return
        from dfengine.client import kept_copy

        self._let_go_of_kept()
        self.kept_copy = kept_copy.ask(self.kept_at.sockets, task, geometry, generation, self.goes_on)
        if self.kept_copy is not None and any(self.kept_copy.digests.get(each.algorithm, each.hex) != each.hex for each in self.expected):
            self._let_go_of_kept()  # it is another file than the user wants, and may be another than the supernode has
        # Digests of the whole file are known already, or computed here as the pieces come.
        self.lending = [*self.kept_copy.lent(self.algorithms)] if self.kept_copy is not None else []

    def copy_kept(self, watch: Watch) -> None:
        """Copy from there what the transfer lacks. Raises StorageError, and what `watch` raises."""
        kept, transfer = self.kept_copy, self.transfer
        if kept is not None and transfer is not None:
            from dfengine.client import kept_copy

            if kept_copy.copy_into(kept, transfer, watch):
                self.lent = kept.lent(self.algorithms)
            self._let_go_of_kept()

    def _let_go_of_kept(self) -> None:
        kept, self.kept_copy = self.kept_copy, None
        if kept is not None:
            kept.close()

    def _begin(self, geometry: Geometry, generation: bytes) -> Transfer:
        """A new transfer; its digest thread is not started yet. Raises StorageError."""
        raise NotImplementedError

    def _begin_again(self) -> None:
        """End the transfer of another file."""
        raise NotImplementedError

    def _continued(self, known: bytes, generation: bytes) -> None:
        """The running transfer continues. known: the generation of its pieces."""

    def _await_digests(self, transfer: Transfer, watch: Watch) -> None:
        """Wait for digests of the whole file that are computed while it comes, if there are any. Raises StorageError, TimedOut."""
        while transfer.follower is not None:
            watch.check(transfer)
            found = transfer.follower.result(TICK)
            if found is not None:
                self.digests = found
                return

    def _close(self, file: PieceFile) -> None:
        file.close()

    _kind = Transfer
    """Of its transfers."""
    knows_length = False
    """The length of the data is known before: if there is no room for it, the disk is the cause, not a supernode."""

    def _transfer(self, file: PieceFile, plan: Plan, follower: Follower | None) -> Transfer:
        rate = self._settings.locallimit
        throttle = Throttle(rate, self.limit) if rate else None
        return self._kind(file, plan, self.byte_counts, follower=follower, throttle=throttle, connections=self.connections)
