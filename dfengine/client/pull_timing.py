"""Decides when a download sends its next request to the supernode. Pure, with the time as argument.

A native request carries any number of reports and may ask for pieces. One may be parked at the supernode; a second one on the same
connection releases it. Rules:

1. Reports are sent when the last request is BATCH old, so at full speed a request carries several. While a fetch thread is idle they wait
   half as long, and two of them are sent at once: a report may free the slot that sends the next piece.
2. Pieces are requested at once when a fetch thread is idle and no pull is parked. Otherwise the request is part of the next reports:
   sent alone it would only release the parked pull.
3. At most two requests are unanswered.
4. After an immediate answer without pieces the next request for pieces waits, longer each time, until a piece is written.
5. The supernode gets a request every ALIVE seconds.
6. A pull that is parked while pieces are wanted is followed by another one after QUIET[0] seconds, twice as long each time without an
   offer, QUIET[1] at most: a running supernode answers the first at once.
"""

from __future__ import annotations

import math

BATCH = 0.05
"""Seconds between requests with reports (rule 1)."""

ALIVE = 30.0
"""Most seconds between two requests (rule 5)."""

PARK = 20.0
"""Seconds that a pull may be parked at the supernode."""

GRACE = 10.0
"""Seconds that an answer may take beyond the time for which the pull is parked."""

QUIET = 2.0, 8.0
"""First and longest time in seconds before a parked pull is followed by another (rule 6)."""

GRAIN = 1e-6
"""Seconds; a shorter wait counts as over: adding it to the clock's time might not change that."""


class Backoff:
    """Growing waits in seconds: `first`..2*first, doubling up to `last`..2*last. The defaults 0.05 and 0.8 are those of 1.x."""

    def __init__(self, first: float = 0.05, last: float = 0.8) -> None:
        self._first = self._next = first
        self._last = last

    def next(self, chance: float) -> float:
        """Return the next wait; `chance` in [0, 1) spreads the requests of many clients."""
        wait = self._next * (1.0 + chance)
        self._next = min(self._next * 2, self._last)
        return wait

    def reset(self) -> None:
        """Start again with the first wait."""
        self._next = self._first


class PullTiming:
    """Times of the requests on one native connection, in monotonic seconds."""

    def __init__(self) -> None:
        self._sent = -math.inf
        self._unanswered: list[tuple[float, int]] = []
        self._next_request_at = -math.inf
        self._backoff = Backoff()
        self._quiet = QUIET[0]

    @property
    def unanswered(self) -> int:
        """Number of unanswered requests."""
        return len(self._unanswered)

    @property
    def oldest(self) -> float:
        """When the oldest unanswered request was sent; infinite if there is none."""
        return self._unanswered[0][0] if self._unanswered else math.inf

    def overdue_at(self, prompt: float) -> float:
        """Time after which an unanswered request is overdue; infinite if there is none.

        prompt: seconds for an answer that is due at once, because a next request released it or it wants no piece; GRACE at most.
        """
        if not self._unanswered:
            return math.inf
        sent, want = self._unanswered[-1]
        return sent + (PARK + GRACE if want and len(self._unanswered) == 1 else min(prompt, GRACE))

    def due(self, now: float, reports: int, to_request: int, idle_thread: bool) -> bool:
        """Whether to send a request now: `reports` wait, and `to_request` pieces are wanted."""
        return self.wait(now, reports, to_request, idle_thread) <= 0

    def wait(self, now: float, reports: int, to_request: int, idle_thread: bool) -> float:
        """Seconds until a request is due if nothing else happens; at most ALIVE."""
        if len(self._unanswered) >= 2:
            return ALIVE
        wait = ALIVE if self._unanswered else self._sent + ALIVE - now
        if reports:
            wait = min(wait, self._sent + (0.0 if idle_thread and reports > 1 else BATCH / 2 if idle_thread else BATCH) - now)
        if not self._unanswered and to_request and idle_thread and not reports:
            wait = min(wait, self._next_request_at - now)
        if self._unanswered and to_request:
            wait = min(wait, self.oldest + self._quiet - now)
        return wait if wait > GRAIN else 0.0

    def sent(self, now: float, reports: int, want: int) -> None:
        """Note that a request was sent."""
        self._sent = now
        self._unanswered.append((now, want))
        if reports:
            self._backoff.reset()

    def answered(self, now: float, offers: int, chance: float) -> None:
        """Note that the oldest request was answered with `offers` offers."""
        sent, want = self._unanswered.pop(0)
        if now - sent >= self._quiet:
            self._quiet = min(QUIET[1], self._quiet * 2)
        if offers:
            self._backoff.reset()
            self._next_request_at, self._quiet = -math.inf, QUIET[0]
        elif want and not self._unanswered and now - sent < PARK / 2:
            self._next_request_at = now + self._backoff.next(chance)
