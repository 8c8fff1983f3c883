"""The part of an origin's file that somebody asks for: `reader.Reader`, whose threads take only pieces that are wanted.

1. What is wanted is asked for by ranges, each of the pieces that are wanted one behind the other.
2. The first answer, a stream that already runs, brings what is wanted where it stands. Where ranges are granted it is closed once it has
   waited for MAIN_WAITS: what the origin sends into its buffers is in vain. Where they are not, it reads on to what is wanted, and the
   pieces between are kept.
3. If what is here may be of another version, it is compared before anything else.
"""

from __future__ import annotations

import time

from dfengine.origin.assignment import TICK
from dfengine.origin.claim import Claim
from dfengine.origin.giving_way import GivingWay
from dfengine.origin.reader import Reader
from dfengine.origin.retry import Rate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from dfengine.errors import OriginError

MAIN_WAITS = 2.0
"""Seconds that the first answer waits for somebody who wants its next bytes."""

IDLE = 30.0
"""Seconds between two checks of a thread while nothing is wanted; `stop` wakes it."""


class ReaderOnDemand(Reader):
    """See Reader. wanted: every piece that is wanted, in the order of preference; `stop` is called when there are more."""

    def __init__(self, *given: Any, wanted: Callable[[], list[int]], **named: Any) -> None:
        super().__init__(*given, **named)
        self._wanted = wanted
        self._giving_way = GivingWay(awaited=True)
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
            # Time in which nothing was wanted makes no origin slow.
            self._idle, self._rate = False, Rate(self._origin.floor, now)
        return self._claim_for(*run, now)

    def _wants(self) -> tuple[int, int] | None:
        """The run of free pieces that is wanted first."""
        wanted = [*self._proof.unproved, *self._wanted()]
        among = set(wanted)
        for n in wanted:
            past = end = self._work.free_until(n)
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
            return self._by_main(*self._work.claim_until(first, past), now)
        if self._ranges and self._sink.geometry.count >= 0:
            if held and (self._untried or held < self._allowed):
                return self._by_range(first, past, now, extra=True)
            if self._claims:
                return None
            # The main answer would hold the only connection that is granted, and bring something else.
            self._close()
            if self._ranged:
                return self._by_range(first, past, now, extra=False)
        elif main is not None:
            at = self._work.free_from(self._main_at)
            if at <= first:
                return self._by_main(*self._work.claim_until(at, first + 1), now)
            self._close()
        if self._claims:
            return None
        return Claim(*self._work.claim_until(first, past), None, True, now)

    def _by_range(self, first: int, past: int, now: float, extra: bool) -> Claim:
        """extra: others run, so that a refusal says only how many the origin grants."""
        claim = Claim(*self._work.claim_until(first, past), None, False, now)
        claim.extra = extra
        return claim

    def _leave(self, claim: Claim, failure: OriginError | None) -> str:
        message = super()._leave(claim, failure)
        self._waits_since = time.monotonic()
        return message

    def _open(self, claim: Claim) -> None:
        super()._open(claim)
        if claim.body is not None and claim.body.ranged:
            self._ranged = True
