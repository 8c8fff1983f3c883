"""Where a stream's pieces come together: slots in memory, the transfer that fills them, and what leaves them when."""

from __future__ import annotations

import threading

from dfengine._piece import MIN_PIECE_SIZE, Geometry
from dfengine._window import Window
from dfengine.client import fetch
from dfengine.client.digest import Follower, compare
from dfengine.client.handed_over import HandedOver
from dfengine.client.plan import Plan
from dfengine.errors import DigestMismatch, OriginChanged, StorageError
from dfengine.settings import GetSettings
from dfengine.storage.available_memory import available
from dfengine.storage.home import Entry
from dfengine.storage.slots import SlotFile
from dfengine.streaming.cache import Cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dfengine.client.leader_place import LeaderPlace
    from dfengine.client.transfer import Transfer
    from dfengine.client.watch import Watch
    from dfengine.storage.hashing import Hasher

MEMORY = 256 << 20
"""Bytes of the window, and of the cache, by default; a sixteenth of the memory that is available if that is less."""

HEDGE = 0.5
"""Deviations over the mean after which the piece that the consumer waits for is asked for once more."""

BUFFERS = 36 << 20
"""Bytes of receive buffers, besides window and cache; up to twice that while sources are silent (Transfer.listen)."""


def window_pieces(settings: GetSettings, piece_size: int = MIN_PIECE_SIZE) -> int:
    """The window in pieces, at least one."""
    if settings.window:
        return settings.window
    return max(1, (settings.window_bytes or max(min(MEMORY, available() // 16), 4 * piece_size)) // piece_size)


def cache_pieces(settings: GetSettings, piece_size: int) -> int:
    """The cache in pieces."""
    return (min(MEMORY, available() // 16) if settings.cache < 0 else settings.cache) // piece_size


class Memory(HandedOver):
    """Of one stream: `pieces` of it were delivered, which are `delivered` bytes, and stay so whatever happens to the transfer.

    Law: bytes of two versions never follow one another; once a piece was given to the consumer, another version is an error.
    """

    def __init__(self, settings: GetSettings) -> None:
        super().__init__(settings)
        self.cache: Cache | None = None
        self.pieces = self.delivered = 0
        self._turn = threading.Lock()
        self._given = False
        """The consumer has some of a piece, or knows that the file is empty."""
        self.leaders: Sequence[LeaderPlace] = ()
        """From which pieces were copied."""

    def _begin(self, geometry: Geometry, generation: bytes) -> Transfer:
        wnd = window_pieces(self._settings, geometry.piece_size)
        file = SlotFile.allocate(geometry, generation)
        workers = max(1, min(fetch.workers(geometry), BUFFERS // fetch.room(geometry), wnd))
        plan = Plan(Window(wnd, geometry.count), workers, order=lambda n: n, hedge_next=HEDGE)
        self.byte_counts.reset()
        transfer = self._transfer(file, plan, Follower(file, self.algorithms) if self.algorithms and not self.lending else None)
        self.cache = transfer.leaving = Cache(cache_pieces(self._settings, geometry.piece_size), lambda n: bool(file.record.used.clear(n)))
        return transfer

    def _begin_again(self) -> None:
        self.forget()

    def share(self, sockets: str, name: str, cid: str, node: str, task: str) -> None:
        """Let this host's peer server, which listens in the folder `sockets`, serve the pieces that are here. Raises LocalError."""
        transfer = self.transfer
        if transfer is None:
            return
        entry = Entry(name, task, cid, node, [], "", 0, 0, self._settings.alivetime)
        file = transfer.file
        assert isinstance(file, SlotFile)
        self.hand_over(sockets, entry, file)

    def hash_on(self, first: int, hashes: Mapping[str, Hasher]) -> None:
        """No leader computes the digests any more: this stream does, from piece `first` on, with `hashes` of those before."""
        transfer, self.lending = self.transfer, []
        assert transfer is not None
        transfer.follower = Follower(transfer.file, self.algorithms, first=first, hashes=hashes)
        transfer.start(transfer.follower.run, "digest", fetches=False)

    def give(self, transfer: Transfer, n: int) -> tuple[int, int, int] | None:
        """(descriptor, offset, bytes) of piece n of `transfer`, which stays there until `taken`; (-1, 0, 0) where the file ends before n.

        None: `transfer` is of another version than what comes now.
        """
        with self._turn:
            if transfer is not self.transfer:
                return None
            self._given = True
        return (-1, 0, 0) if 0 <= transfer.plan.window.count <= n else transfer.file.locate(n)

    def taken(self, n: int) -> None:
        """The consumer has all of piece n, the oldest: the window moves, and what the cache has no room for leaves.

        Raises what ended the stream before the digest was computed to there, StorageError.
        """
        transfer = self.transfer
        assert transfer is not None
        file = transfer.file
        if transfer.follower is not None and not transfer.follower.passed(n):
            raise transfer.error or StorageError("the stream was stopped")
        self.pieces = n + 1
        self.delivered += file.geometry.content(n)[1]
        gone = transfer.delivered(n)
        self._tell_window(transfer)
        for piece in gone:
            file.evict(piece)

    def _tell_window(self, transfer: Transfer) -> None:
        if transfer.page is not None:
            transfer.page.moved(transfer.plan.window.una, transfer.plan.window.end)

    def show_host(self) -> None:
        """See Place."""
        super().show_host()
        if self.transfer is not None:
            self._tell_window(self.transfer)

    def say_digests(self, found: dict[str, str]) -> None:
        """Digests of the whole file, for this stream and those of its host that joined it."""
        self.digests = found
        super().say_digests(found)
        if self.joining is not None:
            self.joining.page.changed()

    def verify(self) -> None:
        """All was delivered: compare whole digests with what the user gave. Raises DigestMismatch."""
        try:
            compare(self.expected, self.digests)
        except DigestMismatch:
            self.withdraw()
            raise

    def copy_kept(self, watch: Watch) -> None:
        """See Place: at the consumer's pace. Nothing that was delivered stays here, since it stays there."""
        kept, transfer = self.kept_copy, self.transfer
        if kept is not None and transfer is not None and self.cache is not None:
            from dfengine.streaming.kept import deliver

            self.cache.off = True
            if deliver(kept, transfer, watch):
                self.lent = kept.lent(self.algorithms)
            self._let_go_of_kept()

    def find_kept(self, task: str, geometry: Geometry, generation: bytes) -> None:
        """See Place. What has not every piece would be evicted before a stream came to what it has."""
        super().find_kept(task, geometry, generation)
        if self.kept_copy is not None and not self.kept_copy.whole:
            self._let_go_of_kept()

    def forget(self) -> None:
        """See Place."""
        with self._turn:
            if self._given:
                raise OriginChanged("the origin's file changed in the middle of the stream")
            self.lending, self.lent, self.leaders = [], {}, ()
            self.withdraw()
            self.close()
