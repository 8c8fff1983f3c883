"""The place of a stream's pieces: slots in memory, the transfer that fills them, and eviction."""

from __future__ import annotations

import threading

from dfengine._piece import MIN_PIECE_SIZE, Geometry
from dfengine._window import Window
from dfengine.client import fetch
from dfengine.client.digest import FileDigester, compare
from dfengine.client.passed_memory import PassedMemory
from dfengine.client.plan import Plan
from dfengine.errors import DigestMismatch, OriginChanged, StorageError, SupernodeError
from dfengine.settings import GetSettings
from dfengine.storage.available_memory import available
from dfengine.storage.home import Entry
from dfengine.storage.stream_memory import StreamMemory
from dfengine.streaming.cache import Cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dfengine.client.leader_place import LeaderPlace
    from dfengine.client.monitor import Monitor
    from dfengine.client.transfer import Transfer
    from dfengine.storage.hashing import Hasher

MEMORY = 256 << 20
"""Default bytes of the window, and of the cache; a sixteenth of the available memory if that is less."""

HEDGE = 0.5
"""Standard deviations over the mean after which the piece that the consumer waits for is hedged."""

BUFFERS = 36 << 20
"""Bytes of receive buffers, in addition to window and cache; up to twice that while sources are silent (Transfer.check_sources)."""


def window_pieces(settings: GetSettings, piece_size: int = MIN_PIECE_SIZE) -> int:
    """Size of the window in pieces, at least one."""
    if settings.window:
        return settings.window
    return max(1, (settings.window_bytes or max(min(MEMORY, available() // 16), 4 * piece_size)) // piece_size)


def cache_pieces(settings: GetSettings, piece_size: int) -> int:
    """Size of the cache in pieces."""
    return (min(MEMORY, available() // 16) if settings.cache < 0 else settings.cache) // piece_size


class StreamBuffer(PassedMemory):
    """The place of one stream. `pieces` pieces, of `delivered` bytes, were delivered; both stay when the transfer is replaced.

    Invariant: bytes of two versions are never delivered; once the consumer got a piece, another version is an error.
    """

    def __init__(self, settings: GetSettings) -> None:
        super().__init__(settings)
        self.cache: Cache | None = None
        self.pieces = self.delivered = 0
        self._turn = threading.Lock()
        self._delivered_any = False
        """Whether the consumer got a part of a piece, or the information that the file is empty."""
        self.leaders: Sequence[LeaderPlace] = ()
        """Leaders from which pieces were copied."""

    def _begin(self, geometry: Geometry, generation: bytes) -> Transfer:
        wnd = window_pieces(self._settings, geometry.piece_size)
        file = StreamMemory.allocate(geometry, generation)
        workers = max(1, min(fetch.workers(geometry), BUFFERS // fetch.buffer_size(geometry), wnd))
        plan = Plan(Window(wnd, geometry.count), workers, order=lambda n: n, hedge_next=HEDGE)
        self.byte_counts.reset()
        transfer = self._transfer(file, plan, FileDigester(file, self.algorithms) if self.algorithms and not self.delegated else None)
        most = cache_pieces(self._settings, geometry.piece_size)
        self.cache = transfer.eviction_reports = Cache(most, lambda n: bool(file.record.used.clear(n)))
        return transfer

    def _restart(self) -> None:
        self.forget()

    def drop_unprovable(self, generation: bytes) -> None:
        """See PieceStorage. An empty transfer starts over, so that its pieces are named by their version, and shared with the host."""
        if self.transfer is not None and generation and not self.transfer.file.record.generation and self.transfer.drop_offers():
            self.forget()

    def _on_continue(self, known: bytes, generation: bytes) -> None:
        """See PieceStorage. Raises SupernodeError if the stored pieces, from a 1.x leader, name no version; then the origin is read."""
        assert self.transfer is not None
        if not (known and generation):
            if not self.transfer.drop_offers():
                raise SupernodeError("the pieces of this host's leader are from a supernode of 1.x, which names no version of the file")
            self.transfer.file.record.forget_generation()  # later downloads must not copy these pieces as the registered version's

    def share(self, sockets: str, name: str, cid: str, node: str, task: str) -> None:
        """Let this host's peer server, which listens in the folder `sockets`, serve the pieces in memory. Raises LocalError."""
        transfer = self.transfer
        if transfer is None:
            return
        entry = Entry(name, task, cid, node, [], "", 0, 0, self._settings.alivetime)
        file = transfer.file
        assert isinstance(file, StreamMemory)
        self.hand_over(sockets, entry, file)

    def continue_hashing(self, first: int, hashes: Mapping[str, Hasher]) -> None:
        """Compute the digests here, because no leader does any more: from piece `first` on, with `hashes` of the pieces before."""
        transfer, self.delegated = self.transfer, []
        assert transfer is not None
        transfer.digester = FileDigester(transfer.file, self.algorithms, first=first, hashes=hashes)
        transfer.start(transfer.digester.run, "digest", fetches=False)

    def piece_location(self, transfer: Transfer, n: int) -> tuple[int, int, int] | None:
        """Return (descriptor, offset, bytes) of `transfer`'s piece n, which stays until `consumed`; (-1, 0, 0): the file ends before n.

        None: `transfer` was replaced by one of another version.
        """
        with self._turn:
            if transfer is not self.transfer:
                return None
            self._delivered_any = True
        return (-1, 0, 0) if 0 <= transfer.plan.window.count <= n else transfer.file.locate(n)

    def consumed(self, n: int) -> None:
        """Move the window after the consumer has taken all of piece n, the oldest; evict pieces for which the cache has no room.

        Waits until piece n is hashed. Raises the error that ended the stream before that, StorageError.
        """
        transfer = self.transfer
        assert transfer is not None
        file = transfer.file
        if transfer.digester is not None and not transfer.digester.await_hashed(n):
            raise transfer.error or StorageError("the stream was stopped")
        self.pieces = n + 1
        self.delivered += file.geometry.content(n)[1]
        gone = transfer.delivered(n)
        self._publish_window(transfer)
        for piece in gone:
            file.evict(piece)

    def _publish_window(self, transfer: Transfer) -> None:
        if transfer.page is not None:
            transfer.page.set_window(transfer.plan.window.una, transfer.plan.window.end)

    def publish(self) -> None:
        """See PieceStorage."""
        super().publish()
        if self.transfer is not None:
            self._publish_window(self.transfer)

    def publish_digests(self, found: dict[str, str]) -> None:
        """Set the digests of the whole file, and publish them to joined streams of this host."""
        self.digests = found
        super().publish_digests(found)
        if self.joining is not None:
            self.joining.page.changed()

    def verify(self) -> None:
        """Compare whole-file digests with the user's after all pieces were delivered. Raises DigestMismatch."""
        try:
            compare(self.expected, self.digests)
        except DigestMismatch:
            self.withdraw()
            raise

    def copy_kept(self, monitor: Monitor) -> None:
        """See PieceStorage: copies at the consumer's pace. Delivered pieces are evicted at once, since the peer server keeps them."""
        kept, transfer = self.kept_copy, self.transfer
        if kept is not None and transfer is not None and self.cache is not None:
            from dfengine.streaming.kept_stream import deliver

            self.cache.disabled = True
            if deliver(kept, transfer, monitor):
                self.delegated_digests = kept.known_digests(self.algorithms)
            self._release_kept_copy()

    def find_kept(self, task: str, geometry: Geometry, generation: bytes) -> None:
        """See PieceStorage. Only a complete copy is used: an incomplete one would be evicted before the stream reaches its pieces."""
        super().find_kept(task, geometry, generation)
        if self.kept_copy is not None and not self.kept_copy.whole:
            self._release_kept_copy()

    def forget(self) -> None:
        """See PieceStorage."""
        with self._turn:
            if self._delivered_any:
                raise OriginChanged("the origin's file changed in the middle of the stream")
            self.delegated, self.delegated_digests, self.leaders = [], {}, ()
            self.withdraw()
            self.close()
