"""Reader of the requested parts of an origin's file: a `reader.Reader` whose threads claim only wanted pieces.

1. Wanted pieces are fetched by ranges, one for each run of consecutive wanted pieces. Where a range is refused and no other connection
   runs, the rest of the file is requested from there on.
2. The main answer, a stream that already runs, serves the wanted pieces at its position. Where ranges are granted it is closed once it has
   waited for MAIN_WAITS: what the origin sends into its buffers is wasted. Where they are not, it reads on to the wanted pieces, and the
   pieces in between are stored.
3. If the stored pieces may be of another version, they are compared first.
"""

from __future__ import annotations

import time

from dfengine.errors import OriginChanged, OriginError
from dfengine.origin.claim import Claim
from dfengine.origin.claim_scheduler import TICK
from dfengine.origin.reader import Reader
from dfengine.origin.retry import ASKS_TO_WAIT, Rate
from dfengine.origin.slow_connections import SlowConnections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAIN_WAITS = 2.0
"""Seconds that the main answer waits until its next bytes are wanted."""

IDLE = 30.0
"""Seconds between two checks of a thread while no piece is wanted; `stop` wakes it."""


class ReaderOnDemand(Reader):
    """See Reader. wanted: returns all wanted pieces, in order of preference; call `stop` when there are more."""

    def __init__(self, *given: Any, wanted: Callable[[], list[int]], **named: Any) -> None:
        super().__init__(*given, **named)
        self._wanted = wanted
        self._slow_connections = SlowConnections(awaited=True)
        self._idle = False
        self._waits_since = self._began
        self._ranged = False

    def _next(self, now: float) -> Claim | None:
        if self._main is not None and self._ranges and not self._claims and now - self._waits_since >= MAIN_WAITS:
            self._close()
        run, self._pause = self._wants(), TICK
        if run is None:
            self._idle = self._idle or not self._claims
            if self._idle:
                waits = self._main is not None and self._ranges
                self._pause = max(TICK, self._waits_since + MAIN_WAITS - now) if waits else IDLE
            return None
        if self._idle:
            # Time in which no piece was wanted does not make an origin slow, and an idle response that ends does not make it unreliable.
            self._idle, self._rereads, self._rate = False, 0, Rate(self._origin.floor, now)
        return self._claim_for(*run, now)

    def _wants(self) -> tuple[int, int] | None:
        """The first run of free pieces that is wanted."""
        wanted = [*self.comparison.uncompared, *self._wanted()]
        among = set(wanted)
        for n in wanted:
            past = end = self._piece_claims.free_until(n)
            if end > n:
                past = n + 1
                while past < end and past in among:
                    past += 1
                return n, past
        return None

    def _claim_for(self, first: int, past: int, now: float) -> Claim | None:
        main, held = self._main, len(self._claims) + (self._main is not None)
        others = self._claims or (self._ranges and (self._untried or held < self._allowed))
        if main is not None and self._main_at == first and not (self._put_off and others):
            return self._claim_for_main(*self._piece_claims.claim_until(first, past), now)
        if self._ranges and self._sink.geometry.count >= 0:
            if held and (self._untried or held < self._allowed):
                return self._by_range(first, past, now, extra=True)
            if self._claims:
                return None
            # The main answer would occupy the only granted connection, and serve other pieces.
            self._close()
            if self._ranged:
                return self._by_range(first, past, now, extra=False)
        elif main is not None:
            at = self._piece_claims.free_from(self._main_at)
            if at <= first:
                return self._claim_for_main(*self._piece_claims.claim_until(at, first + 1), now)
            self._close()
        if self._claims:
            return None
        return Claim(*self._piece_claims.claim_until(first, past), None, True, now)

    def _by_range(self, first: int, past: int, now: float, extra: bool) -> Claim:
        """Claim for a range. extra: other connections run, so that a refusal only limits their number."""
        claim = Claim(*self._piece_claims.claim_until(first, past), None, False, now)
        claim.concurrent = extra
        return claim

    def _end_claim(self, claim: Claim, failure: OriginError | None) -> str:
        message = super()._end_claim(claim, failure)
        self._waits_since = time.monotonic()
        return message

    def _open(self, claim: Claim) -> None:
        sole = not (claim.alone or claim.concurrent)
        try:
            super()._open(claim)
        except OriginError as error:
            if not sole or (error.status in ASKS_TO_WAIT and not isinstance(error, OriginChanged)):
                raise
            # A server may ignore one Range, or the response be another server's: a request for the rest shows whether the file changed.
            if claim.body is not None:
                claim.body.close()
            claim.body, claim.alone, self._ranged = None, True, False
            super()._open(claim)
        if claim.body is not None and claim.body.ranged:
            self._ranged = True
