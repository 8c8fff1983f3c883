"""Back to the origin: missing pieces by parallel ranges where the origin has them, else the whole file in one stream.

Pieces are handed out in runs, lowest first, so that few requests are made and the whole digest can follow. A run is
read from one answer; what is left of it after a failure is handed out again. All ranges carry the first answer's
validators (If-Range), so that two versions of the file never mix.
"""

from __future__ import annotations

import threading
import time
from functools import partial

import xxhash

from dfengine._bitset import Bitset
from dfengine._piece import Geometry, frame_head
from dfengine.client import fetch
from dfengine.client.rhythm import Backoff
from dfengine.client.watch import TICK
from dfengine.errors import DigestMismatch, OriginChanged, OriginError, OriginTruncated, SourceGone, StorageError
from dfengine.net.origin import Origin, OriginBody
from dfengine.task import generation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dfengine.client.assembly import Place
    from dfengine.client.transfer import Transfer
    from dfengine.client.watch import Watch
    from dfengine.settings import GetSettings

CONNECTIONS = 4

RUN = 64 << 20
"""Bytes that one request asks for at most."""

STEP = 1 << 20
"""Bytes read at once."""

TRIES = 5
"""Failures in a row, without a piece in between, after which the origin has failed."""

FINAL = frozenset((400, 401, 403, 404, 405, 407, 410, 414, 416, 451))
"""Statuses that another try will not change."""


class Runs:
    """Missing pieces as runs [first, past), lowest first, none longer than `longest` pieces. Pure."""

    def __init__(self, missing: Iterable[tuple[int, int]], longest: int) -> None:
        self._longest = max(1, longest)
        self._left = sorted((a, b) for a, b in missing if a < b)

    @property
    def first(self) -> int | None:
        """The lowest piece, None when there is none."""
        return self._left[0][0] if self._left else None

    def take(self, before: int | None = None) -> tuple[int, int] | None:
        """The next run, None when there is none. before: pieces from this one on must wait."""
        if not self._left or (before is not None and self._left[0][0] >= before):
            return None
        first, past = self._left.pop(0)
        most = min(past, first + self._longest, past if before is None else before)
        if past > most:
            self._left.insert(0, (most, past))
        return first, most

    def give_back(self, first: int, past: int) -> None:
        """Pieces of a run that were not fetched."""
        if first < past:
            self._left.append((first, past))
            self._left.sort()


def missing(here: Bitset, count: int) -> list[tuple[int, int]]:
    """Runs of pieces below `count` that are not here."""
    runs, at = [], 0
    for first, past in here.runs():
        if at < min(first, count):
            runs.append((at, min(first, count)))
        at = past
    return [*runs, (at, count)] if at < count else runs


class FromOrigin:
    """The origin phase of one download."""

    def __init__(self, settings: GetSettings, assembly: Place, watch: Watch, renew: Callable[[], None] | None = None) -> None:
        """renew: called by the main thread now and then."""
        self._renew = renew
        self._settings = settings
        self._assembly = assembly
        self._watch = watch
        limit = settings.locallimit
        # All connections share this host's link and the user's limit: neither may look like a slow origin.
        floor = min(settings.minrate, limit // 2 or settings.minrate) / CONNECTIONS
        self._origin = Origin(settings.url, settings.headers, insecure=settings.insecure, cacerts=settings.cacerts, floor=floor)
        self._lock = threading.Lock()
        self._failures = 0
        self._etag = self._last_modified = ""

    def run(self) -> None:
        """Until every piece is here. Raises OriginError (also its subclasses), StorageError, TimedOut."""
        for attempt in range(TRIES):
            try:
                return self._once()
            except OriginChanged:
                if attempt == TRIES - 1:
                    raise
                self._assembly.forget()

    def _once(self) -> None:
        body = self._first()
        try:
            self._etag, self._last_modified = body.etag, body.last_modified
            transfer = self._open(body)
            count = transfer.file.geometry.count
            if not body.ranged or count < 0:
                self._wait(transfer, [lambda: self._stream(transfer, body)])
                return
        except BaseException:
            body.close()
            raise
        geometry = transfer.file.geometry
        window = transfer.plan.window
        # What a stream has delivered is acknowledged, whether it is here still or not.
        gaps = [(max(first, window.una), past) for first, past in missing(transfer.file.here, count) if past > window.una]
        pieces = sum(past - first for first, past in gaps)
        longest = min(RUN // geometry.content_size + 1, -(-pieces // CONNECTIONS))
        runs = Runs(gaps, longest if window.wnd < 0 else min(longest, max(1, window.wnd // CONNECTIONS)))
        works: list[Callable[[], None]] = []
        if gaps and gaps[0][0] == 0:
            begun = runs.take(window.end)
            works.append(lambda: self._ranges(transfer, runs, begun, body))
        else:
            body.close()
        connections = max(1, min(CONNECTIONS, pieces, fetch.workers(geometry)))
        while len(works) < connections:
            works.append(lambda: self._ranges(transfer, runs))
        self._wait(transfer, works)

    def _first(self) -> OriginBody:
        """The answer to a plain GET: it says how long the file is, and its body is the first run's."""
        backoff = Backoff(0.2, 3.0)
        while True:
            try:
                return self._origin.open()
            except OriginError as error:
                self._charge(error)
            until = time.monotonic() + backoff.next(0.5)
            while (left := until - time.monotonic()) > 0:
                self._watch.look(None)
                time.sleep(min(left, TICK))

    def _charge(self, error: OriginError) -> None:
        """One more failure without progress; raises `error` when that was the last."""
        with self._lock:
            self._failures += 1
            if self._failures >= TRIES or error.status in FINAL or isinstance(error, OriginChanged):
                raise error

    def _open(self, body: OriginBody) -> Transfer:
        """The transfer: the one that the swarm began, if it is of this version of the file."""
        named = generation(body.etag, body.last_modified, body.length).encode()
        before = self._assembly.transfer
        same = before is not None and before.file.geometry.length in (-1, body.length)
        piece_size = before.file.geometry.piece_size if before is not None and same else 0
        return self._assembly.open(Geometry(body.length, piece_size), named)

    def _wait(self, transfer: Transfer, works: list[Callable[[], None]]) -> None:
        """Run `works` in threads until every piece is here; raises what ended one of them."""
        for number, work in enumerate(works):
            transfer.start(partial(_guarded, transfer, work), f"origin-{number}")
        while not transfer.plan.finished:
            self._watch.look(transfer)
            if self._renew is not None:
                self._renew()
            transfer.sleep(TICK)
        transfer.halt()

    def _ranges(
        self, transfer: Transfer, runs: Runs, run: tuple[int, int] | None = None, body: OriginBody | None = None
    ) -> None:
        """One thread: run after run, the first perhaps from a body that is open already."""
        geometry = transfer.file.geometry
        buffer, backoff = fetch.piece_buffer(geometry), Backoff(0.2, 3.0)
        while True:
            if run is None:
                run = self._next(transfer, runs)
            if run is None or transfer.stopping:
                return
            n, past = run
            try:
                if body is None:
                    start, end = geometry.content(n)[0], sum(geometry.content(past - 1))
                    # Range 0-... is asked for without a range: an origin may answer it so, and only the run is read.
                    body = self._origin.open(start, end if start else None, etag=self._etag, last_modified=self._last_modified)
                    if body.length not in (-1, geometry.length):
                        raise OriginChanged(f"the origin's file had {geometry.length} bytes and has {body.length} now")
                with transfer.cuttable(body.abort):
                    while n < past:
                        length = geometry.content(n)[1]
                        if self._read(transfer, body, buffer, length) < length:
                            raise OriginTruncated("the origin's answer ends early")
                        buffer = self._keep(transfer, n, buffer, length)
                        n += 1
                backoff.reset()
            except (OriginError, SourceGone) as error:
                with self._lock:
                    runs.give_back(n, past)
                if transfer.stopping:
                    return
                if isinstance(error, OriginError):
                    self._charge(error)
                transfer.nap(backoff.next(0.5))
            finally:
                if body is not None:
                    body.close()
                run = body = None

    def _next(self, transfer: Transfer, runs: Runs) -> tuple[int, int] | None:
        """The next run; waits until a stream's window has come to it. None when there is none, or the download is stopped."""
        end = 0
        while True:
            with self._lock:
                first, run = runs.first, runs.take(end)
            if run is not None or first is None:
                return run
            try:
                end = transfer.room_for(first)
            except SourceGone:
                return None

    def _stream(self, transfer: Transfer, body: OriginBody) -> None:
        """One thread: the whole file from its start, past what is here already."""
        named = body.etag, body.last_modified, body.length
        buffer, backoff = fetch.piece_buffer(transfer.file.geometry), Backoff(0.2, 3.0)
        while True:
            try:
                with transfer.cuttable(body.abort):
                    return self._whole(transfer, body, buffer)
            except (OriginError, SourceGone) as error:
                if transfer.stopping:
                    return
                if isinstance(error, OriginError):
                    self._charge(error)
                transfer.nap(backoff.next(0.5))
            finally:
                body.close()
            body = self._origin.open()
            # What a stream has delivered is compared by digest, so that it can be gone on from without a validator too.
            blind = named[:2] == ("", "") and transfer.plan.window.wnd < 0
            if blind or (body.etag, body.last_modified, body.length) != named:
                body.close()
                raise OriginChanged("the origin's file cannot be gone on with after its answer was cut")

    def _whole(self, transfer: Transfer, body: OriginBody, buffer: memoryview) -> None:
        file, n = transfer.file, 0
        known = file.geometry.length >= 0
        while not known or n < file.geometry.count:
            if n >= len(file.here):
                raise StorageError(f"the origin's file has more than the {n} pieces that there is room for")
            offset, length = file.geometry.content(n)
            transfer.room_for(n)
            got = self._read(transfer, body, buffer, length)
            if got < length and known:
                raise OriginTruncated(f"the origin's answer ends at byte {offset + got}")
            if got < length:
                # Before the last piece is here: whoever takes it then must not take it for a full one.
                transfer.learn_length(offset + got)
            if n < transfer.plan.window.una:
                if xxhash.xxh3_128_digest(buffer[:got]) != file.record.digest(n):
                    raise OriginChanged("the origin sends other bytes than those that were delivered")
            elif (got or not n) and n not in file.here:
                buffer = self._keep(transfer, n, buffer, got)
            if got < length:
                return
            n += 1

    def _read(self, transfer: Transfer, body: OriginBody, buffer: memoryview, length: int) -> int:
        """Up to `length` bytes, fewer only at the end of the body."""
        me, got = threading.get_ident(), 0
        try:
            while got < length:
                part = min(length - got, STEP)
                if transfer.throttle is not None:
                    part = transfer.throttle.take(part)
                count = body.read_into(buffer[got : got + part])
                if not count:
                    break
                got += count
                transfer.from_origin[me] = got
        finally:
            transfer.from_origin.pop(me, None)
        return got

    def _keep(self, transfer: Transfer, n: int, buffer: memoryview, length: int) -> memoryview:
        """Hand piece n in; returns the buffer to go on with. Raises OriginChanged when the supernode knew another piece n."""
        geometry = transfer.file.geometry
        with transfer.lock:
            digest = transfer.plan.digest(n)
        if digest:
            try:
                fetch.verify(digest, frame_head(length, geometry.piece_size), buffer[:length])
            except DigestMismatch as error:
                raise OriginChanged(f"the origin has another file than the supernode: {error}") from error
        self._failures = 0
        return transfer.keep(n, buffer, length) or buffer


def _guarded(transfer: Transfer, work: Callable[[], None]) -> None:
    """Whatever ends a thread too early ends the download."""
    try:
        work()
    except BaseException as error:
        transfer.fail(error)
