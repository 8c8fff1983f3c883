"""ClaimScheduler of an origin file's pieces to connections: the state that the threads of a `reader.Reader` share.

All methods are called with the reader's lock held. `now` is monotonic seconds.
"""

from __future__ import annotations

from dfengine.errors import OriginChanged
from dfengine.origin.claim import Claim
from dfengine.origin.piece_claims import PieceClaims
from dfengine.origin.retry import Rate
from dfengine.origin.round_robin import worth_another
from dfengine.origin.slow_connections import SlowConnections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.errors import OriginError
    from dfengine.origin.connection_limits import ConnectionLimits
    from dfengine.origin.origin_interface import Answer
    from dfengine.origin.piece_sink import Sink
    from dfengine.origin.round_robin import OriginRoundRobin

TICK = 0.05
"""Seconds between two checks of a thread that waits for work, and between two searches for slow connections."""

STALLED = 3.0
"""Seconds without a byte after which the main answer takes over the pieces of a range, once it has reached them."""


class ClaimScheduler:
    """See `reader.Reader`. key: names the origin. floor: its minimum rate in bytes per second."""

    def __init__(
        self, key: str, floor: float, sink: Sink, body: Answer, missing: list[tuple[int, int]], connections: int, longest: int,
        connection_limits: ConnectionLimits, turns: OriginRoundRobin | None, now: float,
    ) -> None:  # fmt: skip
        self.version = body.version
        self.bytes = 0  # read from bodies, skipped bytes included
        self._key, self._sink, self._began = key, sink, now
        self._piece_claims = PieceClaims(missing, longest)
        self._connection_limits, self._turns = connection_limits, turns
        self._allowed = connection_limits.allowed(key, connections, now)
        self._ranges = self._untried = self.version.binds
        self._main: Answer | None = body
        self._main_at, self._main_progressed = max(0, body.start) // sink.geometry.content_size, False
        self._main_connection, self._put_off = 0, False
        self._slow_connections, self._check_at = SlowConnections(), 0.0
        self._rate = Rate(floor, now)
        self._rest_since = self._rest_until = 0.0
        """No connection is opened between these times."""
        self._claims: set[Claim] = set()
        self._revoked = False

    def _next(self, now: float) -> Claim | None:
        lowest, main = self._piece_claims.first, self._main
        if main is not None:
            lowest = self._revoke(now, lowest)
        if lowest is None:
            return None
        if main is not None and not self._put_off and (run := self._piece_claims.claim_at(self._main_at)) is not None:
            return self._claim_for_main(*run, now)
        if self._may_open(now):
            sink = self._sink
            # Where the order does not matter, ranges begin at the end of the file: the main answer reaches their pieces last.
            run = self._piece_claims.claim(sink.window_end(), sink.wanted(), last=not sink.ordered)
            if run is not None:
                return Claim(*run, None, False, now)
            if self._put_off:
                return None  # there is room for no piece yet
        if self._put_off and not self._claims:
            # No range is granted any more.
            self._put_off = False
            return self._next(now)
        if main is not None and lowest > self._main_at and not self._claims and not self._untried:
            # The pieces in between are stored, and no range is granted: the main answer is read past them.
            return self._claim_for_main(*(self._piece_claims.claim() or (0, 0)), now)
        elif main is not None and not self._claims:
            # The main answer is past the remaining pieces, or far before them, and no second connection is granted beside it.
            self._close()
        if self._main is None and not self._claims:
            return Claim(*(self._piece_claims.claim() or (0, 0)), None, True, now)
        return None

    def _check_pace(self, now: float) -> None:
        """Preempt a connection that is too slow."""
        self._count_time(now)
        if now < self._check_at:
            return
        self._check_at = now + TICK
        if self._ranges and self._allowed > 1 and self._sink.geometry.count >= 0:
            slow = self._slow_connections.to_preempt(self._claims, self._rest, now)
            if slow is not None:
                slow.preempted = True

    def _count_time(self, now: float) -> None:
        """Count the time until now if the origin is slow, and not this side. Call it before a claim stops waiting."""
        waits = [since for claim in self._claims if (since := claim.waits_since) is not None]
        if self._rest_until > self._rate.now:
            waits.append(self._rest_since)
        self._rate.passed(now, min(waits, default=None))

    def _rest_for(self, seconds: float, now: float) -> None:
        self._rest_since, self._rest_until = now, now + seconds

    def _claim_for_main(self, first: int, past: int, now: float) -> Claim:
        """Claim these pieces for the main answer."""
        main, self._main = self._main, None
        self._put_off = False
        return Claim(first, past, main, False, now, self._main_progressed, self._main_connection)

    def _rest(self, claim: Claim) -> int:
        """Bytes of the claim that are not read yet."""
        geometry = self._sink.geometry
        past = min(claim.past, geometry.count)
        return sum(geometry.content(past - 1)) - geometry.content(claim.first)[0] - claim.piece_bytes if claim.first < past else 0

    def _revoke(self, now: float, lowest: int | None) -> int | None:
        """Let an idle main answer take over the pieces of stalled ranges. Returns the lowest unclaimed piece after that."""
        if self._put_off:
            return lowest
        stalled = [
            claim for claim in self._claims
            if not claim.writing and claim.first >= self._main_at and now - claim.last_byte_at > STALLED
        ]
        for claim in stalled:
            self._take_over(claim)
            self._piece_claims.release(claim.first, claim.past)
            self._allowed = max(1, min(self._allowed, len(self._claims) + 1))
        return self._piece_claims.first if stalled else lowest

    def _take_over(self, claim: Claim) -> None:
        """Revoke the claim: pieces that it fetches from now on are ignored."""
        claim.revoked = self._revoked = True
        self._claims.discard(claim)

    def _may_open(self, now: float) -> bool:
        held = len(self._claims) + (self._main is not None)
        if not self._ranges or held >= self._allowed or self._sink.geometry.count < 0 or not held:
            return False
        if self._turns is None or (self._main is not None and not self._put_off) or not self._claims:
            return True  # a main answer that waits has no piece to fetch, or is put off
        left = self._piece_claims.pieces * self._sink.geometry.content_size
        return worth_another(now - self._began, self.bytes, left) and self._turns.may_open(held, now)

    def _close(self) -> None:
        main, self._main, self._put_off = self._main, None, False
        if main is not None:
            main.close()

    def _refused(self, error: OriginError, held: int, now: float) -> None:
        """Record that the origin grants no connection beyond the `held` ones, or no ranges."""
        self._untried = False
        if isinstance(error, OriginChanged) or error.status in (200, 206, 416):
            self._ranges = False
        self._allowed = min(self._allowed, held)
        if error.status in (403, 429, 503):
            self._connection_limits.refused(self._key, held, now)
