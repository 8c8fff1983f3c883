"""Downloads missing pieces from the origin (`origin.reader`), over as many connections as the origin grants.

Stored pieces count only if the origin's first answer is of their version, or if a digest proves the data: a piece's digest from a
supernode, or the whole file's from the user. Otherwise all pieces are compared with the origin's, or the download starts over.
"""

from __future__ import annotations

import mmap
import time
from functools import partial

from dfengine._piece import Geometry, frame_head
from dfengine.client import fetch, thread_start
from dfengine.client.monitor import TICK
from dfengine.client.supernode_session import chance
from dfengine.errors import DigestMismatch, LocalError, OriginChanged, OriginDiffers, OriginError, StorageError, TreeChanged
from dfengine.net.tracing import CLIENT
from dfengine.origin.cancel import Cancel
from dfengine.origin.connection_limits import ConnectionLimits
from dfengine.origin.piece_claims import ENDLESS, missing
from dfengine.origin.reader import Reader
from dfengine.origin.request import with_traceparent
from dfengine.origin.retry import Retry
from dfengine.origin.schemes import for_download
from dfengine.storage.hashing import hasher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.monitor import Monitor
    from dfengine.client.piece_storage import PieceStorage
    from dfengine.client.transfer import Transfer
    from dfengine.origin.origin_interface import Answer, Origin
    from dfengine.settings import GetSettings

    Origins = Callable[[GetSettings, Cancel, float], Origin]
    """Makes the origin that a file is read from; the last argument is the minimum rate in bytes per second."""

RUN = 64 << 20
"""Most bytes of one range request."""

STEP = 1 << 20
"""Most bytes per receive."""

PART = 512 << 10
"""Bytes of a piece that are hashed and written in one step, while they are in the core's cache."""

PARKED = 10.0
"""Seconds between two checks of a download that is parked until a reader asks for bytes."""

TRIES = 1000
"""Most consecutive tries for an open file: in practice time limits them, not their number."""

PAUSE = 4.0
"""Seconds between two tries, plus a random part of up to the same again: the longest wait of a reader after the origin has recovered."""

MAX_RESTARTS = 4
"""Times that a download may start over because the file changed."""

_connection_limits = ConnectionLimits()
"""Numbers of connections that origins grant, as learned by this process."""


class FromOrigin:
    """The origin phase of one download."""

    def __init__(
        self, settings: GetSettings, assembly: PieceStorage, monitor: Monitor, renew: Callable[[bool], None] | None = None,
        origin: Origins | None = None,
    ) -> None:  # fmt: skip
        """renew: called by the main thread at intervals, with whether the download is parked. Raises BadValue."""
        self._renew = renew
        self._origin = origin or for_download
        self._settings = settings
        self._assembly = assembly
        self._monitor = monitor
        self._retry = Retry(settings.retry, settings.retry_max_time)
        if assembly.transfer is not None:
            self._opened()

    def run(self) -> None:
        """Fetch until every piece is stored or a supernode is back. Raises OriginError (also its subclasses), StorageError, TimedOut."""
        with self._monitor.span.child("read from the origin", CLIENT) as span:
            self._run(span.traceparent)

    def _run(self, traceparent: str) -> None:
        settings = self._settings
        limit = settings.locallimit
        # All connections share this host's link and the user's limit: neither may be mistaken for a slow origin.
        floor = min(settings.minrate, limit // 2 or settings.minrate) / max(1, settings.connections)
        traced = settings.replace(headers=with_traceparent(settings.url, settings.headers, traceparent))
        for attempt in range(MAX_RESTARTS + 1):
            cancel = Cancel()
            try:
                return self._once(self._origin(traced, cancel, floor), cancel)
            except OriginChanged as error:
                if attempt == MAX_RESTARTS or isinstance(error, TreeChanged):
                    raise
                self._monitor.notice(f"{error}: starts over")
                self._assembly.forget()
            finally:
                cancel.close()

    def _once(self, origin: Origin, cancel: Cancel) -> None:
        body = self._first(origin, cancel)
        length = body.version.length if body.not_modified else body.length
        if self._assembly.transfer is None and self._assembly.is_output_current(length, body.version.name):
            body.close()
            return
        if body.not_modified:  # and the output was changed meanwhile
            body.close()
            body = self._first(origin, cancel, conditional=False)
        try:
            transfer, comparing = self._open(body)
        except BaseException:
            body.close()
            raise
        self._opened()
        transfer.sync_stored()
        geometry = transfer.file.geometry
        count = geometry.count
        # If each piece needs a buffer of its own, the buffers' total size limits the number of connections.
        in_buffers = transfer.digester is not None or transfer.file.scattered
        most = fetch.most_buffers(geometry) if in_buffers else self._settings.connections
        connections = max(1, min(self._settings.connections, most))
        window = transfer.plan.window
        if count < 0 or comparing:
            gaps = [(0, count if count >= 0 else ENDLESS)]
        else:
            # Pieces that a stream has delivered are done, whether they are still in memory or not.
            gaps = [(max(first, window.una), past) for first, past in missing(transfer.file.available, count) if past > window.una]
        pieces = sum(past - first for first, past in gaps)
        longest = min(RUN // geometry.content_size + 1, -(-pieces // connections))
        longest = longest if window.wnd < 0 else min(longest, max(1, window.wnd // connections))
        reader = _reader(transfer)(
            origin, _Sink(transfer, self._monitor.notice), body, gaps, connections=connections, longest=longest, retry=self._retry,
            connection_limits=_connection_limits, chance=chance, compare=comparing,
        )
        # A main answer whose next pieces are stored already needs a thread of its own.
        threads = min(connections, max(1, pieces) + (gaps[:1] > [(1, 0)]))
        started = False
        try:
            with transfer.stop_callback(cancel.set):
                started = True
                thread_start.start_some(threads, lambda n: transfer.start(partial(_work, transfer, reader), f"origin-{n}"), body.close)
                try:
                    while not (transfer.plan.finished and reader.comparison.complete):
                        self._monitor.check(transfer)
                        parked = transfer.parked
                        if self._renew is not None:
                            self._renew(parked)
                        if self._assembly.swarm_recovery is not None and self._assembly.swarm_recovery.check(transfer):
                            break
                        transfer.sleep(PARKED if parked else TICK)
                        if transfer.wanted_pieces():
                            reader.stop()  # wakes threads that wait for work
                except BaseException:
                    cancel.set()  # ends threads that wait for the origin at once
                    raise
                finally:
                    reader.stop()
                transfer.stop_fetchers()
                transfer.from_origin.clear()
        finally:
            if not started:  # stopped before a thread took over the main answer
                body.close()
        if reader.comparison.complete:
            self._assembly.version = reader.version
            self._assembly.doubtful = self._assembly.doubtful and not transfer.plan.finished  # else each piece is of this version

    def _opened(self) -> None:
        """Retry for longer from now on: readers may already have the first bytes, so a failure costs more."""
        if self._settings.open_retry_time:
            self._retry.bound(TRIES, self._settings.open_retry_time, PAUSE)

    def _first(self, origin: Origin, cancel: Cancel, conditional: bool = True) -> Answer:
        """Return the answer to a plain GET, which states the file's length and is the reader's main answer. May wait for long.

        conditional: if the output exists, the origin may answer that its version is the present one.
        """
        here = self._assembly.finished if conditional and self._assembly.transfer is None and not self._settings.expected else None
        unless = None if here is None else here.version()
        while True:
            self._monitor.set_state(f"waits for an answer of the origin {origin.key}", "waits for the origin")
            try:
                answer = origin.open(unless=unless, waiting=partial(self._monitor.check, None))
                self._monitor.set_state()
                return answer
            except OriginError as error:
                self._monitor.note_failure(str(error))
                wait = self._retry.pause(error, time.monotonic(), chance())
                if wait is None or time.monotonic() + wait > self._monitor.deadline:
                    raise
                if wait > 1.0:
                    self._monitor.notice(f"{error}: tries again in {wait:.0f} s ({self._retry.turn})")
            self._monitor.pause(wait)

    def _open(self, body: Answer) -> tuple[Transfer, bool]:
        """Return the transfer, and whether all stored pieces must be compared with the origin's bytes."""
        version, place = body.version, self._assembly
        named = version.name.encode()
        before = place.transfer
        same = before is not None and (body.length < 0 or before.file.geometry.length in (-1, body.length))
        geometry = Geometry(body.length)
        if before is not None and same:
            # The record may have a length that this transfer has not learned yet.
            geometry = Geometry(max(body.length, before.file.geometry.length), before.file.geometry.piece_size)
        if before is not None and same and before.plan.stored and not (named and before.file.record.generation == named):
            # Pieces from the swarm, or delivered by a stream: they are compared with the origin's bytes as these arrive.
            before.file.record.forget_generation()
            return place.continue_transfer(geometry), True
        place.expect(version.etag)
        transfer = place.open(geometry, named)
        if version.binds or not transfer.file.available.count():
            return transfer, False
        if self._settings.expected:
            # The whole file's digest proves that all pieces fit together; if it differs, the download starts over.
            place.mark_unproved_version()
            return transfer, False
        self._monitor.notice("cannot tell whether the origin's file is still the version of the stored pieces: starts over")
        place.forget()
        return place.open(geometry, named), False


def _reader(transfer: Transfer) -> Callable[..., Reader]:
    """Return the factory of a reader of all missing pieces, or of only the wanted ones."""
    if transfer.wanted_pieces() is None:
        return Reader
    from dfengine.origin.reader_on_demand import ReaderOnDemand

    return partial(ReaderOnDemand, wanted=lambda: transfer.wanted_pieces() or [])


class _Sink:
    """See origin.piece_sink.Sink."""

    def __init__(self, transfer: Transfer, report: Callable[[str], None]) -> None:
        self._transfer = transfer
        self._buffers: list[memoryview] = []
        self._parts: list[memoryview] = []
        self.report = report

    @property
    def geometry(self) -> Geometry:
        return self._transfer.file.geometry

    @property
    def stopping(self) -> bool:
        return self._transfer.stopping

    @property
    def ordered(self) -> bool:
        return self._transfer.digester is not None or self._transfer.plan.window.wnd >= 0

    def invalidate_version(self) -> None:
        self._transfer.file.record.forget_generation()

    def begin_piece(self, n: int) -> _Whole | _Parted | _Compared:
        transfer = self._transfer
        if n < transfer.plan.window.una or (n < len(transfer.file.available) and n in transfer.file.available):
            return _Compared(transfer, n)
        if n >= len(transfer.file.available):
            raise StorageError(f"the origin's file has more than the {n} pieces that there is room for")
        digest = transfer.digest(n)
        # The whole-file digest thread needs the piece in one buffer; so does a piece that is verified before it is written.
        if transfer.digester is not None or digest or not transfer.file.accepts_parts(n):
            return _Whole(transfer, n, digest, self._buffers)
        return _Parted(transfer, n, self._parts)

    def stored(self) -> list[int]:
        window, here = self._transfer.plan.window, self._transfer.file.available
        return [*range(window.una), *(n for n in here if n >= window.una)]

    def window_end(self) -> int:
        window = self._transfer.plan.window
        return window.end if window.wnd >= 0 else ENDLESS

    def wait_for_room(self, n: int) -> None:
        self._transfer.await_window(n)

    def wanted(self) -> int:
        return -1

    def learn_length(self, length: int) -> None:
        self._transfer.learn_length(length)


class _Compared:
    """See origin.piece_sink.Piece: a piece that is stored or was delivered, and is compared with the origin's bytes."""

    def __init__(self, transfer: Transfer, n: int) -> None:
        self.received = 0
        self._transfer = transfer
        self._n = n
        self._buffer = memoryview(bytearray(STEP))
        self._hash = hasher("xxh3")

    def buffer(self, want: int) -> memoryview:
        return self._buffer[: _allowed(self._transfer, want)]

    def advance(self, count: int) -> None:
        self._hash.update(self._buffer[:count])
        self.received += count

    def finish(self) -> bool:
        if self._hash.digest() != self._transfer.file.record.digest(self._n):
            raise OriginDiffers("the origin sends other bytes than those already fetched")
        return True

    def publish(self) -> None:
        """Do nothing: the piece is shown already."""


class _Parted:
    """See origin.piece_sink.Piece: a missing piece, written part by part. Its bit is set only when it is whole."""

    def __init__(self, transfer: Transfer, n: int, parts: list[memoryview]) -> None:
        self.received = 0
        self._transfer = transfer
        self._n = n
        self._parts = parts
        self._part = parts.pop() if parts else memoryview(mmap.mmap(-1, PART))
        self._put = 0
        self._hash = hasher("xxh3")

    def buffer(self, want: int) -> memoryview:
        at = self.received - self._put
        return self._part[at : at + _allowed(self._transfer, min(want, PART - at))]

    def advance(self, count: int) -> None:
        self.received += count
        self._transfer.from_origin[self._n] = self.received
        if self.received - self._put == PART:
            self._write()

    def _write(self) -> None:
        part = self._part[: self.received - self._put]
        self._hash.update(part)
        self._transfer.file.write_part(self._n, self._put, part)
        self._put = self.received

    def finish(self) -> bool:
        self._write()
        self._parts.append(self._part)
        return False

    def publish(self) -> None:
        self._transfer.add_from_origin(self._n, self.received, self._hash.digest())
        self._transfer.from_origin.pop(self._n, None)


class _Whole:
    """See origin.piece_sink.Piece: a missing piece, in a buffer of its own until it is whole."""

    def __init__(self, transfer: Transfer, n: int, digest: str, buffers: list[memoryview]) -> None:
        self.received = 0
        self._transfer = transfer
        self._n = n
        self._digest = digest
        self._buffers = buffers
        self._buffer = buffers.pop() if buffers else fetch.piece_buffer(transfer.file.geometry)

    def buffer(self, want: int) -> memoryview:
        return self._buffer[self.received : self.received + _allowed(self._transfer, want)]

    def advance(self, count: int) -> None:
        self.received += count
        self._transfer.from_origin[self._n] = self.received

    def finish(self) -> bool:
        """See origin.piece_sink.Piece. Raises OriginDiffers when the supernode's digest of piece n is another."""
        if self._digest:
            content = self._buffer[: self.received]
            try:
                fetch.verify(self._digest, frame_head(self.received, self._transfer.file.geometry.piece_size), content)
            except DigestMismatch as error:
                raise OriginDiffers(f"the origin's file differs from the supernode's: {error}") from error
        return False

    def publish(self) -> None:
        transfer, n = self._transfer, self._n
        buffer = transfer.store_from_origin(n, self._buffer, self.received) or self._buffer
        transfer.from_origin.pop(n, None)
        self._buffers.append(buffer)


def _allowed(transfer: Transfer, want: int) -> int:
    want = min(want, STEP)
    return want if transfer.throttle is None else transfer.throttle.acquire(want)


def _work(transfer: Transfer, reader: Reader) -> None:
    """Run one thread of `reader`. If the reader ends before all pieces are stored and compared, end the download with its error."""
    reader.work()
    if not (transfer.stopping or (transfer.finished and reader.comparison.complete)):
        transfer.fail(reader.error or LocalError("the origin's file was read to its end, and pieces are missing"))
