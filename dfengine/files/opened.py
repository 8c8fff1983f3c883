"""One open file, for any number of threads: asks for the pieces of a read, waits for their bits, copies their bytes.

Only the record's bits tell which pieces are stored, and every piece was verified before its bit was set. So reads are independent of the
pieces' source.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

from dfengine.client.cleanup import release
from dfengine.client.download_thread import DownloadThread
from dfengine.errors import Cancelled, DfengineError, DigestMismatch, LocalError, OriginChanged, StorageError, TimedOut
from dfengine.files import cancel
from dfengine.files.fetching import OpenFileDownload
from dfengine.files.read_ahead import ReadAhead
from dfengine.net import fork_safety
from dfengine.storage._mapping import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from dfengine._piece import Geometry
    from dfengine.client.on_demand import Ticket
    from dfengine.settings import GetSettings

    Found = TypeVar("Found")

CLOSED = "the file is closed"

READERS_TIMEOUT = 5.0
"""Seconds for which `close` waits for readers to leave; after that, the last reader releases the file, such as one that calls `close`."""

FOREVER = 10 * 365 * 86400.0
"""Time-out in seconds when the user gave none."""

RECHECK = 5.0
"""Seconds after which a waiting reader checks without a wake-up whether its piece is stored, and wanted."""

STEP = 1 << 30
"""Bytes of one read from the place: the kernel returns at most 2 GiB per read."""

MAX_AHEAD = 512
"""Pieces beyond the last stored one that may be requested while the number of pieces is unknown."""

UNKNOWN = 16
"""Pieces that are requested at once to find the file's end while the number of pieces is unknown."""


class Opened:
    """Starts to open the file; methods other than `begin`, `stop` and `close` may be called only after `begin`. Raises BadValue.

    version: (length, generation) that the file must have, from an earlier open; None: any.
    """

    def __init__(self, settings: GetSettings, store: str, version: tuple[int, bytes] | None = None) -> None:
        self._timeout, self._wanted = settings.timeout, version
        self._fetching = OpenFileDownload(settings, store, version[1] if version is not None else b"")
        self._download_thread = DownloadThread(self._fetching, "open")
        self._turn = threading.Condition()
        self._readers = 0
        self._closed = self._close_timed_out = self._released = False
        self._ended_by: BaseException | None = None
        """The error that ended the download before it was closed."""
        self._uncompared = bool(settings.given)
        """Whether a digest of the whole file was given and has not been compared yet."""
        self._map: tuple[int, Mapping] | None = None
        self.ready = False
        """Whether `begin` has succeeded."""
        try:
            self._download_thread.start()
        except BaseException:
            release(self.close)
            raise

    def begin(self) -> None:
        """Wait until the file's geometry and version are known, in any thread; `close` ends the wait.

        Raises the download's errors: subclasses of DfengineError, including TimedOut, and OriginChanged for another version than wanted.
        """
        began = time.monotonic()
        transfer = self._fetching.place.await_open(self._timeout or FOREVER)
        if transfer is None or self._closed:
            over = self._closed or self._fetching.ended
            raise self._failure() if over else TimedOut(f"not opened within {self._timeout:g} s{self._wait_reason(began)}: give it longer")
        with self._turn:
            if self.ready:
                return
            self._transfer, self._file = transfer, transfer.file
            self._ahead = ReadAhead(self.geometry.content_size)
            if self._wanted is not None and not _same(self._wanted, self.version):
                raise OriginChanged("the origin's file differs from the file that was opened before: open it again")
            self.ready = True

    @property
    def geometry(self) -> Geometry:
        """Geometry of the file; its length may become known while the file is open."""
        return self._file.geometry

    @property
    def version(self) -> tuple[int, bytes]:
        """Version of the file: (length in bytes, -1 unknown; generation, b"" unknown)."""
        return self.geometry.length, self._file.record.generation

    def length(self) -> int:
        """Length of the file in bytes. If the origin does not state it, the file is fetched to its end. Raises as `pread`."""
        with self._reading():
            until = self._deadline()
            while self.geometry.length < 0:
                first = self._file.available.first_clear()
                with self._requested(range(first, first + UNKNOWN)) as ticket:
                    self._await_piece(ticket, first, until)
            return self.geometry.length

    def pread(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on, fewer only at the end of the file. Raises subclasses of DfengineError."""
        return self.preadv(((offset, count),))[0]

    def preadv(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of each (offset, count), as `pread`. All pieces are requested before the wait for the first one."""
        with self._reading():
            return self._retry_if_moved(lambda: self._preadv(ranges))

    def _preadv(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        spans = [(offset, self._clipped(offset, count)) for offset, count in ranges]
        covering = [self.geometry.covering(*span) if span[1] else (0, 0) for span in spans]
        if all(self._holds(first, past) for first, past in covering):
            self._read_ahead(spans)
            return [self._bytes(*span) for span in spans]
        until, found = self._deadline(), []
        # Stored pieces are requested, too: the place may move to one that lacks them.
        with self._requested(dict.fromkeys(n for first, past in covering for n in range(first, past))) as ticket:
            self._read_ahead(spans)
            for (offset, count), (first, past) in zip(spans, covering, strict=True):
                for n in range(first, past):
                    if not self._await_piece(ticket, n, until):
                        break
                found.append(self._bytes(offset, self._clipped(offset, count)))
        return found

    def pread_into(self, offset: int, view: memoryview) -> int:
        """Fill `view` (of bytes) from `offset` on; return the number of bytes, fewer only at the file's end. Raises as `pread`."""
        with self._reading():
            return self._retry_if_moved(lambda: self._pread_into(offset, view))

    def _pread_into(self, offset: int, view: memoryview) -> int:
        count = self._clipped(offset, len(view))
        if not count:
            return 0
        first, past = self.geometry.covering(offset, count)
        if self._holds(first, past):
            self._read_ahead(((offset, count),))
            return self._copy(offset, view[:count])
        until, got = self._deadline(), 0
        with self._requested(range(first, past)) as ticket:
            self._read_ahead(((offset, count),))
            for n in range(first, past):
                if not self._await_piece(ticket, n, until):
                    break
                begin, length = self.geometry.content(n)
                end = min(begin + length, offset + count)
                got += self._copy(offset + got, view[got : end - offset])
        return got

    def _retry_if_moved(self, read: Callable[[], Found]) -> Found:
        """Repeat `read` until the place did not move meanwhile: bits and bytes must be of the same place. Return the result."""
        while True:
            moves = self._file.sequence
            found = read()
            if moves == self._file.sequence and not moves & 1:
                return found
            time.sleep(0.001)

    def map(self, offset: int, count: int) -> memoryview:
        """Return read-only memory of the bytes, clipped to the file, after fetching them. Raises as `pread`."""
        with self._reading():
            return self._retry_if_moved(lambda: self._mapped(offset, count))

    def _mapped(self, offset: int, count: int) -> memoryview:
        length = self.length()
        count = max(0, min(count, length - offset))
        if not count:
            return memoryview(b"")
        if not offset and count == length:
            self._complete(self._deadline())
        else:
            self._fetch(*self.geometry.covering(offset, count), self._deadline())
        with self._turn:
            if self._map is None or self._map[0] != self._file.sequence:
                # The mapping has a descriptor of its own: pages and lock stay as long as a view of them exists.
                self._map = self._file.sequence, Mapping(self._file.fd, length, keep=True)
                fork_safety.register(self._map[1])
            return self._map[1].memory()[offset : offset + count]

    def path(self) -> str:
        """Return the path of the whole file, valid while it is open. Raises as `pread`."""
        with self._reading():
            self.length()
            self._complete(self._deadline())
            self._file.protect()
            return self._fetching.place.path

    @property
    def ended(self) -> bool:
        """Whether no further piece will arrive."""
        return self._fetching.ended

    def stop(self) -> None:
        """Stop the download, so that `begin` ends soon; may be called from any thread. `close` is still needed."""
        self._fetching.stop(LocalError(CLOSED))

    def close(self) -> None:
        """Release everything; waiting readers get an error. A second call completes an interrupted one."""
        release(self._mark_closed, self._end, self._fetching.place.end, self._await_readers, self._release)

    def _mark_closed(self) -> None:
        with self._turn:
            if not self._closed:
                self._ended_by = self._fetching.failure
                self._closed = True

    def _end(self) -> None:
        # A download thread that does not run yet, because its start was interrupted, must find the download stopped.
        if not self._download_thread.over:
            self._fetching.stop(LocalError(CLOSED))

    def _await_readers(self) -> None:
        try:
            with self._turn:
                self._turn.wait_for(lambda: not self._readers, READERS_TIMEOUT)
        finally:
            self._close_timed_out = True

    def _release(self) -> None:
        """Close the descriptors, whose numbers may then be reused, after the last read: called by `close`, or by the last reader."""
        with self._turn:
            if self._readers or self._released:
                return
            self._map = None
        self._download_thread.close()
        self._released = True

    def forked(self) -> None:
        """Drop the mapping in a forked child, where frames of the parent's threads may keep this object: only views keep the pages."""
        self._map = None

    # Pieces.

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Context in which the place stays open. Raises LocalError when the file is closed, DigestMismatch when it is wrong: a read that
        finds every piece stored returns no bytes before the digest of the whole file is compared.
        """
        with self._turn:
            if self._closed:
                raise LocalError(CLOSED)
            self._readers += 1
        try:
            if isinstance(self._fetching.failure, DigestMismatch):
                raise self._failure()
            until = self._deadline() if self._uncompared else 0.0
            yield
            if self._uncompared and self._whole:
                self._complete(until)
        finally:
            with self._turn:
                self._readers -= 1
                if self._closed:
                    self._turn.notify_all()
            if self._close_timed_out:
                self._release()

    @contextlib.contextmanager
    def _requested(self, pieces: Sequence[int] | dict[int, None]) -> Iterator[Ticket]:
        ticket = self._transfer.request(pieces)
        try:
            with cancel.waits(ticket.signal):
                yield ticket
        finally:
            self._transfer.withdraw(ticket)

    def _deadline(self) -> float:
        return time.monotonic() + (self._timeout or FOREVER)

    def _await_piece(self, ticket: Ticket, n: int, until: float) -> bool:
        """Wait until piece n is stored. Return False if the file ends before it. Raises the error that ended the download, TimedOut."""
        while not self._holds(n, n + 1):
            if 0 <= self.geometry.count <= n:
                return False
            if ticket.over:
                raise self._failure()
            if cancel.cancelled():
                raise Cancelled("the read was cancelled")
            left = until - time.monotonic()
            if left <= 0:
                why = self._wait_reason(until - self._timeout) or ": nothing failed, so its sources are slow"
                raise TimedOut(f"piece {n} was not received within {self._timeout:g} s{why}: read again, or give it longer")
            if not ticket.wait(min(left, RECHECK)):
                self._transfer.request_again(ticket, n)
        if self._closed:
            raise LocalError(CLOSED)
        return True

    def _fetch(self, first: int, past: int, until: float) -> None:
        with self._requested(range(first, past)) as ticket:
            for n in range(first, past):
                self._await_piece(ticket, n, until)

    @property
    def _whole(self) -> bool:
        """Whether no byte is missing. An empty file also has one piece, which no read asks for."""
        geometry = self.geometry
        return geometry.length == 0 or (geometry.length > 0 and self._holds(0, geometry.count))

    def _complete(self, until: float) -> None:
        """Wait until every piece is stored and the given digest of the whole file matches. Raises as `pread`."""
        self._fetch(0, self.geometry.count, until)
        if not self._fetching.place.await_end(max(0.0, until - time.monotonic())):
            raise TimedOut(f"the file's digest was not computed within {self._timeout:g} s: give it longer")
        if self._closed or self._fetching.failure is not None:
            raise self._failure()
        self._uncompared = False

    def _wait_reason(self, since: float) -> str:
        """Return the reason of a wait since `since`, after a colon. Faults of single sources are recorded only in the transfer."""
        transfer = self._fetching.place.transfer
        fault = transfer.fault if transfer is not None and transfer.fault_at >= since else ""
        return self._fetching.monitor.wait_reason(since) or (fault and f": {fault}")

    def _failure(self) -> BaseException:
        """Return the error for readers after the download's end: a new object each time, since several threads may raise it."""
        failure = self._ended_by if self._closed else self._fetching.failure
        if not isinstance(failure, DfengineError):
            return LocalError(CLOSED if failure is None else f"the file cannot be read any more: {failure!r}")
        with contextlib.suppress(Exception):
            copied = type(failure)(*failure.args)
            copied.__dict__.update(failure.__dict__)
            copied.__cause__ = failure.__cause__
            return copied
        return failure

    def _holds(self, first: int, past: int) -> bool:
        here = self._file.available
        return past <= len(here) and here.all_in_range(first, past)

    def _read_ahead(self, spans: Sequence[tuple[int, int]]) -> None:
        for offset, count in spans:
            if count:
                with self._turn:
                    first, past = self._ahead.read(offset, count)
                if first < past and not self._fetching.ended:
                    self._transfer.read_ahead(first, past)

    # Bytes.

    def _clipped(self, offset: int, count: int) -> int:
        """Return the number of bytes, of `count` from `offset` on, before the end of the file, if that is known."""
        length = self.geometry.length
        if length < 0 and count:
            # A supernode does not select pieces far beyond those it has (docs/protocol.md): fetch the file to its end first.
            known = self._file.available.last_set() + MAX_AHEAD
            if offset + count > known * self.geometry.content_size:
                length = self.length()
        return max(0, min(count, length - offset)) if length >= 0 else count

    def _copy(self, offset: int, view: memoryview) -> int:
        """Fill `view` with stored bytes from `offset` on; return their number. Raises StorageError."""
        got = 0
        while got < len(view):
            try:
                count = os.preadv(self._file.fd, [view[got : got + STEP]], offset + got)
            except OSError as error:
                raise StorageError(f"cannot read {self._file.path}: {error.strerror}") from error
            if not count:
                self.length()  # a 1.x supernode sends it after the last piece, which may be shorter
                if self._clipped(offset, len(view)) <= got:
                    break
                raise StorageError(f"{self._file.path} was cut short by another program: open it again")
            got += count
        return got

    def _bytes(self, offset: int, count: int) -> bytes:
        """Like `_copy`, but return the bytes."""
        if 0 < count <= STEP:
            with contextlib.suppress(OSError):
                found = os.pread(self._file.fd, count, offset)
                if len(found) == count:
                    return found
        buffer = bytearray(count)
        return bytes(memoryview(buffer)[: self._copy(offset, memoryview(buffer))])


def _same(wanted: tuple[int, bytes], found: tuple[int, bytes]) -> bool:
    """Whether two versions are equal; an unknown length equals any length."""
    return wanted[1] == found[1] and (wanted[0] == found[0] or -1 in (wanted[0], found[0]))
