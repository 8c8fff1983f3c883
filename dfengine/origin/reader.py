"""Reads a file from its origin over several connections, into a sink.

Laws:

1. The first answer is a stream that already runs. It is the main answer: it continues to the end of the file, and is given up only when it
   breaks or all remaining pieces are before it. It stays open while it waits: an origin may grant no further request, and then it finishes
   the file. A slow one is put off: it stays open, and continues only where ranges are refused.
2. Further connections request ranges of the bound version. A refused one sets the number of connections that the origin grants; it never
   counts as a failure while another connection runs.
3. A connection that breaks is resumed at the exact byte, under the bound version. Where nothing binds, or the version has changed, the file
   is read again from its beginning and every stored piece is compared: then all of it belongs to the later answer. Until then no piece of
   the later answer is shown.
4. A connection that is much slower than others is preempted (`slow_connections`): the others continue from its byte. Where no more than one
   connection is granted, none does.

    state of a thread   wait -> claim a run of pieces -> (open a range) -> receive -> wait ...; nap after a failure that counts
"""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from functools import partial

from dfengine.errors import OriginChanged, OriginDiffers, OriginError, OriginSlow, OriginTruncated, OriginUnreachable, SourceGone
from dfengine.origin.claim import Claim, Preempted, Revoked, read_past
from dfengine.origin.claim_scheduler import TICK, ClaimScheduler
from dfengine.origin.piece_claims import ENDLESS, PieceClaims
from dfengine.origin.response_comparison import ResponseComparison
from dfengine.origin.retry import ASKS_TO_WAIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.origin.connection_limits import ConnectionLimits
    from dfengine.origin.origin_interface import Answer, Origin
    from dfengine.origin.piece_sink import Piece, Sink
    from dfengine.origin.retry import Retry
    from dfengine.origin.round_robin import OriginRoundRobin

CHANGED = 3
"""Responses of another version in a row after which the file is read again: of two servers behind one name the first may respond again."""

MAX_REREADS = 100
"""Responses in all that begin before bytes received earlier, because the origin proves no version or serves no range. A few new bytes in
each are progress, and would otherwise prolong the read without end."""

ANEW = 0.1
"""Seconds, plus up to as many at random, before the retry after a response of another version."""

UNANSWERED = 10.0
"""Seconds without a response after which a range counts as refused while the main answer is put off, which then finishes the file."""


class Reader(ClaimScheduler):
    """Reader of one file. Threads call `work`; it returns in all of them when every piece is in the sink, and when the reader has failed.

    body: the open main answer, at the beginning of a piece; its version is bound. connections: limit. longest: pieces requested at once.
    chance: a random number in [0, 1). turns: shared with other files of the origin; further connections open only once the main answer is
    slow; None: as many as allowed from the beginning. compare: stored pieces may be of another version; `missing` is the whole file then.
    """

    def __init__(
        self, origin: Origin, sink: Sink, body: Answer, missing: list[tuple[int, int]], *, connections: int, longest: int,
        retry: Retry, connection_limits: ConnectionLimits, chance: Callable[[], float], turns: OriginRoundRobin | None = None,
        compare: bool = False,
    ) -> None:
        super().__init__(origin.key, origin.floor, sink, body, missing, connections, longest, connection_limits, turns, time.monotonic())
        self.error: BaseException | None = None
        self.requests = 0
        self._origin, self._retry, self._chance = origin, retry, chance
        self._comparing = self._plain = self._reread = False
        self._parts: dict[int, Piece] = {}
        self.comparison = ResponseComparison(sink.stored() if compare else ())
        self._changed = threading.Condition()
        self._pause = TICK
        self._changed_responses = self._broken_by_change = self._rereads = 0
        """Changes without new bytes in between, in responses' heads and bodies; those in bodies, re-reads included; see MAX_REREADS."""
        self._received = self._most_received = 0
        """Bytes since the file was last begun, and the most before it was begun again."""
        self._ended = False

    def work(self) -> None:
        """Run one thread of the reader. `error` has the exception that ended the reader."""
        try:
            while (claim := self._claim()) is not None:
                failure: OriginError | None = None
                try:
                    self._fetch_claim(claim)
                except OriginError as error:
                    failure = error
                except (Preempted, Revoked):
                    pass
                except SourceGone:
                    if not self._sink.stopping and not claim.revoked:
                        raise
                finally:
                    message = self._end_claim(claim, failure)
                if message:
                    self._sink.report(message)
        except BaseException as error:
            self._fail(error)

    def _claim(self) -> Claim | None:
        with self._changed:
            while True:
                if self._sink.stopping or self.error is not None or (self._piece_claims.first is None and not self._claims):
                    self._finish()
                    return None
                now = time.monotonic()
                self._check_pace(now)
                claim = self._next(now) if now >= self._rest_until else None
                if claim is not None:
                    self._claims.add(claim)
                    return claim
                self._changed.wait(self._pause)

    def _finish(self) -> None:
        """End the reader: wake the threads that still wait for a response that is no longer needed."""
        self._close()
        if not self._ended:
            self._ended = True
            if self._revoked:
                self._origin.cancel.set()
            self._changed.notify_all()

    def _check_claim(self, claim: Claim) -> None:
        """Called while the claim's thread waits for the origin. Raises Preempted, Revoked, OriginUnreachable."""
        with self._changed:
            now = time.monotonic()
            self._check_pace(now)
            claim.check()
            if claim.body is None and self._put_off and now - claim.began > UNANSWERED:
                raise OriginUnreachable(f"{self._origin.key} does not respond to a range")

    def _end_claim(self, claim: Claim, failure: OriginError | None) -> str:
        """End the claim: its unfetched pieces are free again, and a main answer that continues waits for its next piece. Returns a message.
        """
        body = claim.body
        with self._changed:
            self._count_time(time.monotonic())
            if not claim.revoked:
                self._claims.discard(claim)
                self._piece_claims.release(claim.first, claim.past)
            self._slow_connections.claim_ended(claim, time.monotonic())
            goes_on = claim.first == claim.past or (claim.preempted and failure is None)
            if body is not None and goes_on and not (claim.revoked or body.bounded) and body.remaining and self._main is None:
                self._main, self._main_at, self._main_progressed, body = body, claim.first, claim.progressed, None
                self._main_connection, self._put_off = claim.connection, claim.first < claim.past
            if body is not None:
                body.close()
            self._changed.notify_all()
            # Under the same lock: no other thread retries before the delay is set.
            return self._handle_failure(claim, failure) if failure is not None and not claim.revoked else ""

    def _fetch_claim(self, claim: Claim) -> None:
        if claim.body is None:
            self._open(claim)
            with self._changed:
                self._rate.passed(time.monotonic(), claim.began)
        body, geometry, turns = claim.body, self._sink.geometry, self._turns
        assert body is not None

        def waits() -> bool:
            return not (claim.revoked or claim.preempted or self._sink.stopping)

        while claim.first < claim.past:
            n = claim.first
            self._sink.wait_for_room(n)
            offset, length = geometry.content(n)
            claim.piece_bytes = 0
            with turns.turn(claim, waits) if turns is not None else nullcontext():
                piece = self._receive(claim, body, n)
            if piece.received < length:
                if self._sink.geometry.length >= 0:
                    self._keep_part(claim, n, piece)
                    raise OriginTruncated(f"{body.place} ends its answer at byte {body.start}")
                # Before the last piece is shown: a reader must not take it for a full one.
                self._piece_claims.end_at(n)  # first: as soon as other threads see the length, they request ranges of free pieces
                self._sink.learn_length(offset + piece.received)
                if piece.received or not n:
                    self._complete_piece(n, piece)
                claim.first = claim.past
                return
            if n + 1 == geometry.count and self._sends_more(claim, body, n, piece):
                raise OriginDiffers(f"{body.place} sends more than the {geometry.length} bytes that the file had")
            with self._changed:
                if claim.revoked:
                    raise Revoked("revoked")
                claim.writing = True
            self._complete_piece(n, piece)
            claim.first, claim.writing = n + 1, False

    def _sends_more(self, claim: Claim, body: Answer, n: int, piece: Piece) -> bool:
        """Whether the response continues behind the last piece `n`, all of whose bytes arrived."""
        if body.remaining >= 0:
            return body.remaining > 0
        try:
            return body.read_into(memoryview(bytearray(1))) > 0
        except OriginError:
            # Without the piece, its bytes would count as new in each further response that breaks off here.
            self._keep_part(claim, n, piece)
            raise

    def _receive(self, claim: Claim, body: Answer, n: int) -> Piece:
        """Receive piece n, or the part of it before the answer ends."""
        offset, length = self._sink.geometry.content(n)
        with self._changed:
            claim.check()
            part = self._parts.pop(n, None)
        piece = part or self._sink.begin_piece(n)
        try:
            self._read_past(body, offset + piece.received)
            while piece.received < length:
                claim.check()
                room = piece.buffer(length - piece.received)
                claim.begin_wait(time.monotonic())
                count = body.read_into(room, partial(self._check_claim, claim))
                if not count:
                    break
                self._count_received(claim, body, count)
                piece.advance(count)
                claim.piece_bytes, claim.writing = piece.received, False
            if body.end_unknown and piece.received < length and self._sink.geometry.length < 0:
                # The answer may have been one part of many.
                self._origin.check_end(offset + piece.received, self.version)
        except (OriginError, Preempted):
            self._keep_part(claim, n, piece)
            raise
        return piece

    def _read_past(self, body: Answer, offset: int) -> None:
        """Drop the bytes before `offset`; they count as received, also if the response breaks off among them."""
        start = body.start
        try:
            read_past(body, offset, lambda: self._sink.stopping)
        finally:
            with self._changed:
                self.bytes += body.start - start

    def _complete_piece(self, n: int, piece: Piece) -> None:
        """Show the piece, once the stored pieces are proved to be of the same version."""
        compared = piece.finish()
        with self._changed:
            shown = self.comparison.piece_complete(n, piece, compared)
        for each in shown:
            each.publish()

    def _count_received(self, claim: Claim, body: Answer, count: int) -> None:
        with self._changed:
            if claim.revoked:
                raise Revoked("revoked")
            self.bytes += count
            self._check_pace(now := time.monotonic())  # first: until now the claim waits
            claim.received(count, now)
            # Bytes that are only compared, or fetched again because no validator binds them, are no progress.
            self._received += count
            new = self.version.binds and not self._comparing
            if self._received > self._most_received:
                new, self._most_received, self._broken_by_change = True, self._received, 0
            if new and not claim.progressed:
                claim.progressed = True
                self._retry.progress()
                self._changed_responses = 0

    def _keep_part(self, claim: Claim, n: int, piece: Piece) -> None:
        """Store the received part of a piece, which is resumed if the next response can be proved to be of the same version."""
        with self._changed:
            if self.version.binds and piece.received and not claim.revoked:
                self._parts[n] = piece

    def _open(self, claim: Claim) -> None:
        """Open a range for the claim; or, where no other connection runs, any answer that continues the file."""
        geometry = self._sink.geometry
        start = geometry.content(claim.first)[0]
        if (part := self._parts.get(claim.first)) is not None:
            # Of a last piece that lacks only the response's end, its last byte is requested again: no range is empty.
            start += min(part.received, geometry.content(claim.first)[1] - 1)
        with self._changed:
            self.requests += 1
            claim.connection = self.requests
        waiting = partial(self._check_claim, claim)
        if not claim.alone:
            end = sum(geometry.content(claim.past - 1))
            # From byte 0 no Range is sent: an origin may send the whole file, of which only the claim's bytes are read.
            claim.body = self._origin.open(start, end if start else None, version=self.version, waiting=waiting)
            claim.body.bounded = True
            if start and not claim.body.ranged:
                raise OriginChanged(f"{claim.body.place} answers a range with the whole file")
            return
        if self._changed_responses >= CHANGED or not self.version.binds:
            self._from_the_beginning(claim)
        else:
            # Where a range is refused, the whole file may be served: the stored bytes are read past.
            plain, self._plain = self._plain, False
            try:
                claim.body = self._origin.open(0 if plain else start, version=self.version, waiting=waiting)
            except OriginError as error:
                if plain or not start or error.status in ASKS_TO_WAIT:
                    raise
                self._plain = True
                return self._open(claim)
            if claim.body.start < start:
                self._count_reread()
        self._learn(claim)

    def _from_the_beginning(self, claim: Claim) -> None:
        """Read the whole file again and compare the stored pieces: no validator proves that a later answer continues this file."""
        geometry = self._sink.geometry
        if claim.first or self._parts:
            self._sink.report(f"no validator proves that {self._origin.key} still has the same file: it is read from its beginning again")
        body = claim.body = self._origin.open(waiting=partial(self._check_claim, claim))
        self._count_reread()
        if geometry.length >= 0 and body.length not in (-1, geometry.length):
            raise OriginDiffers(f"the origin's file had {geometry.length} bytes and has {body.length} now")
        with self._changed:
            # Ranges of the previous version may still arrive: none of their bytes is written once this version is bound.
            while any(other.writing for other in self._claims):
                self._changed.wait(TICK)
            for other in self._claims - {claim}:
                self._take_over(other)
            self._sink.invalidate_version()  # first: where it raises, no thread requests a range of the new version
            # A file that changed once may be stable now. One with another version in each answer is read on: no range would match its
            # version.
            self.version, self._ranges = body.version.with_length(geometry.length), body.version.binds and not self._reread
            if not self._reread and self.version.binds:
                self._most_received = 0  # its broken connections are resumed: each byte is progress
            self._reread, self._received = True, 0
            self._comparing, self._changed_responses = True, CHANGED - 1
            self._parts.clear()
            self.comparison = ResponseComparison(self._sink.stored())
            self._piece_claims = PieceClaims([(0, geometry.count if geometry.count >= 0 else ENDLESS)], self._piece_claims.longest)
            claim.first, claim.past = self._piece_claims.claim() or (0, 0)

    def _count_reread(self) -> None:
        """Raises OriginError after MAX_REREADS."""
        with self._changed:
            self._rereads += 1
        if self._rereads > MAX_REREADS:
            raise OriginError(f"{self._origin.key} breaks off again and again: the file was read {MAX_REREADS} times", final=True)

    def _learn(self, claim: Claim) -> None:
        body = claim.body
        if body is not None and body.length >= 0 and self._sink.geometry.length < 0:
            self._piece_claims.end_at(max(1, -(-body.length // self._sink.geometry.content_size)))
            self._sink.learn_length(body.length)
            claim.past = max(claim.first, min(claim.past, self._sink.geometry.count))
            self.version = self.version.with_length(self._sink.geometry.length)

    def _handle_failure(self, claim: Claim, error: OriginError) -> str:
        """Handle a failure; return the message for the user. Hold the lock."""
        held = len(self._claims) + (self._main is not None)
        if isinstance(error, OriginDiffers) or self._rereads > MAX_REREADS:
            raise error
        if not claim.progressed and (claim.concurrent or held):
            self._refused(error, max(1, held), time.monotonic())
            return ""
        if isinstance(error, OriginChanged):
            self._changed_responses += 1
            # A re-read permits one more changed response; only a byte further than all before permits more re-reads.
            self._broken_by_change += claim.body is not None
            if max(self._changed_responses, self._broken_by_change) > CHANGED:
                raise error
            self._rest_for(ANEW * (1.0 + self._chance()), time.monotonic())
            return ""
        if isinstance(error, OriginSlow):
            # Others may be as slow: they would never all end at the same time.
            if not held or self._rate.slow(self.bytes):
                raise error
            return ""
        if claim.progressed:
            if self._rate.slow(self.bytes):
                raise OriginSlow(f"{self._origin.key} sends less than {self._origin.floor:.0f} bytes per second over many connections")
            self._rest_for(self._rate.pause(claim.received_bytes) * self._chance(), time.monotonic())
            return ""
        wait = self._retry.pause(error, time.monotonic(), self._chance(), self.bytes > 0 and not error.path)
        if wait is None or self.error is not None:
            raise error
        self._rest_for(wait, time.monotonic())
        return f"{error}: tries again in {wait:.0f} s ({self._retry.turn})" if wait > 1.0 else ""

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            if self.error is not None:
                error.__traceback__ = None  # its frames refer to the error, and to the file that may be on a full disk
            self.error = self.error or error
            # The other threads leave their claims now, wherever they wait: the error is reported once all threads have ended.
            for claim in [*self._claims]:
                self._take_over(claim)
            self._origin.cancel.set()
            self._close()
            self._changed.notify_all()

    def stop(self) -> None:
        """Wake the waiting threads: they check whether the sink is stopping."""
        with self._changed:
            self._changed.notify_all()
