"""How long pieces take, and what follows: how many to request ahead, when a piece is about to be complete, when one is late. Pure."""

from __future__ import annotations

import math
from collections import deque

RECENT = 16
"""Latest pieces whose times are kept."""

LEAD = 0.15
"""Lead time in seconds: a piece is announced as ending this early. About two round trips through full queues of shaped links."""

QUICK = 0.1
"""Seconds; pieces that take less are not announced as ending."""

RAMP, TELLING = 0.125, 0.25
"""Parts of a piece. Until RAMP is received a new connection may be slower than older ones; the next TELLING measures the link's rate."""


ENDGAME = 2.0
"""Standard deviations over the mean after which a piece counts as late when nothing else is left to start."""

ENDGAME_LEAST = 0.5
"""It must also exceed the mean by so many seconds: below that a second transfer costs more than it saves."""

NEXT_LEAST = 0.05
"""The same for the piece that a stream's consumer waits for."""

SILENT_LEAST, SILENT_MOST = 0.5, 3.0
"""Seconds to an answer's first byte after which its source counts as silent: as measured, between these."""

SLOW = 10.0
"""A source is too slow if its piece will take so many times as long as quick pieces."""

SLOW_LEAST = 1.5
"""And at least so many seconds. While no piece is complete, one is requested again to learn how long quick pieces take."""

STEP = 0.5
"""Longest time of one receive in seconds, after which received bytes are counted."""


class PieceTiming:
    """Durations in seconds: of the pieces that arrived last, and to the first bytes of answers."""

    def __init__(self) -> None:
        self._ramped: tuple[float, float] | None = None
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._answer = self._spread = 0.0

    def add(self, seconds: float) -> None:
        """A piece took so long from its request, or from the end of the previous piece on the connection, to its last byte."""
        self._recent.append(max(seconds, 0.0))

    @property
    def mean(self) -> float:
        """Seconds; 0 while nothing is known."""
        return sum(self._recent) / len(self._recent) if self._recent else 0.0

    @property
    def slow(self) -> bool:
        """Pieces take long, as far as is known."""
        return self.mean >= QUICK

    def ends_in(self, length: int, got: int, seconds: float) -> float:
        """Seconds until a piece of `length` bytes, of which `got` came in `seconds`, is to be announced as ending; infinite: unknown."""
        mean = self.mean
        if got * 4 < length or (mean and mean < QUICK) or seconds < QUICK / 4:
            return math.inf
        return (length - got) * seconds / got - (min(LEAD, mean / 2) if mean else LEAD)

    def early(self, came: float, now: float) -> float:
        """Seconds that a piece will take, while no piece is here and `came` of all that are under way, in pieces.

        0: that cannot be told yet, need not because a piece arrived, or is QUICK.
        """
        if self._recent:
            return 0.0
        if self._ramped is None:
            if came >= RAMP:
                self._ramped = came, now
            return 0.0
        first, since = self._ramped
        seconds = (now - since) / (came - first) if came >= first + TELLING else 0.0
        return seconds if seconds >= QUICK else 0.0

    def late_after(self, deviations: float) -> float:
        """Seconds after which a piece counts as late: mean plus so many standard deviations; infinite below 3 samples."""
        if len(self._recent) < 3:
            return math.inf
        mean = self.mean
        return mean + deviations * math.sqrt(sum((value - mean) ** 2 for value in self._recent) / len(self._recent))

    def hedge_after(self, deviations: float | None) -> float:
        """Seconds after which a piece is asked for once more: when nothing is left to start, or of a stream's head after `deviations`."""
        if deviations is not None:
            return max(self.late_after(deviations), self.mean + NEXT_LEAST)
        return max(self.late_after(ENDGAME), self.mean + ENDGAME_LEAST)

    def answered(self, seconds: float) -> None:
        """The first byte of an answer came after so long. Mean and spread are kept as TCP does for its timeout (RFC 6298)."""
        if not self._answer:
            self._answer, self._spread = seconds, seconds / 2
            return
        self._spread += (abs(seconds - self._answer) - self._spread) / 4
        self._answer += (seconds - self._answer) / 8

    @property
    def patience(self) -> float:
        """Seconds to the first byte of an answer after which its source counts as silent."""
        return min(SILENT_MOST, max(SILENT_LEAST, 2 * (self._answer + 4 * self._spread)))

    def overdue(self, came: int, seconds: float, still: float, floor: float) -> bool:
        """An answer of which `came` bytes came in `seconds`, none of them in the last `still`, is to be had from others as well.

        floor: bytes per second below which it is too slow, 0 = any.
        """
        if not came:
            return still >= self.patience
        return still >= self.patience + STEP or came < floor * (seconds - self.patience - STEP)

    @property
    def quick(self) -> float:
        """Seconds that the quickest quarter of the last pieces took at most; 0 while nothing is known."""
        return sorted(self._recent)[(len(self._recent) - 1) // 4] if self._recent else 0.0

    def too_slow(self, left: int, rate: float, seconds: float) -> bool:
        """An answer of which `left` bytes are missing after `seconds` and come at `rate` (bytes/s) would be had far sooner elsewhere."""
        if seconds < self.patience + STEP:
            return False
        # The head of the answer was counted, too: all may have come by that, but the end.
        whole = seconds + (max(left, 1) / rate if rate > 0 else math.inf)
        return whole > max(SLOW_LEAST, SLOW * self.quick)

    def ahead(self, workers: int, seconds: float = 0.1) -> int:
        """Pieces worth holding beyond those that run, so that `workers` stay busy for `seconds`: 1..workers."""
        mean = self.mean
        # A mean that is next to nothing would make the quotient infinite.
        return workers if mean <= seconds else max(1, math.ceil(workers * seconds / mean))
