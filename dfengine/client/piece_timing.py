"""Durations of pieces, and decisions based on them: how many to request ahead, when a piece is nearly complete, when it is late. Pure."""

from __future__ import annotations

import math
from collections import deque

RECENT = 16
"""Number of latest pieces whose durations are kept."""

LEAD = 0.15
"""Lead time in seconds: a piece is announced as ending this early. About two round trips through full queues of shaped links."""

QUICK = 0.1
"""Seconds; pieces with a shorter duration are not announced as ending."""

RAMP, TELLING = 0.125, 0.25
"""Fractions of a piece. Until RAMP is received, a new connection may be slower than older ones; the next TELLING measures the rate."""


ENDGAME = 2.0
"""Standard deviations over the mean after which a piece counts as late when no other piece is left to start."""

MIN_ENDGAME = 0.5
"""Seconds by which the duration must also exceed the mean: below that a second transfer costs more than it saves."""

MIN_NEXT = 0.05
"""The same for the piece that a stream's consumer waits for."""

MIN_SILENCE, MAX_SILENCE = 0.5, 3.0
"""Limits of the measured time in seconds to an answer's first byte after which a source counts as silent."""

SLOW = 10.0
"""A source is too slow if its piece will take this many times as long as quick pieces."""

MIN_SLOW = 1.5
"""And at least this many seconds. While no piece is complete, one is requested again to measure how long quick pieces take."""

STEP = 0.5
"""Longest time of one receive in seconds, after which received bytes are counted."""


class PieceTiming:
    """Durations in seconds of the latest pieces, and times to the first bytes of answers."""

    def __init__(self) -> None:
        self._ramped: tuple[float, float] | None = None
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._answer = self._spread = 0.0

    def add(self, seconds: float) -> None:
        """Add a piece's duration, from its request, or the end of the previous piece on the connection, to its last byte."""
        self._recent.append(max(seconds, 0.0))

    @property
    def mean(self) -> float:
        """Mean duration in seconds; 0 while unknown."""
        return sum(self._recent) / len(self._recent) if self._recent else 0.0

    @property
    def slow(self) -> bool:
        """Whether pieces are known to take at least QUICK."""
        return self.mean >= QUICK

    def announce_in(self, length: int, got: int, seconds: float) -> float:
        """Seconds until a piece, of whose `length` bytes `got` arrived in `seconds`, must be announced as ending; infinite: unknown."""
        mean = self.mean
        if got * 4 < length or (mean and mean < QUICK) or seconds < QUICK / 4:
            return math.inf
        return (length - got) * seconds / got - (min(LEAD, mean / 2) if mean else LEAD)

    def early_estimate(self, received: float, now: float) -> float:
        """Estimate a piece's duration in seconds before the first is complete. received: part of all pieces under way, in pieces.

        0: not known yet, not needed because a piece has arrived, or shorter than QUICK.
        """
        if self._recent:
            return 0.0
        if self._ramped is None:
            if received >= RAMP:
                self._ramped = received, now
            return 0.0
        first, since = self._ramped
        seconds = (now - since) / (received - first) if received >= first + TELLING else 0.0
        return seconds if seconds >= QUICK else 0.0

    def late_after(self, deviations: float) -> float:
        """Seconds after which a piece counts as late: the mean plus `deviations` standard deviations; infinite below 3 samples."""
        if len(self._recent) < 3:
            return math.inf
        mean = self.mean
        return mean + deviations * math.sqrt(sum((value - mean) ** 2 for value in self._recent) / len(self._recent))

    def hedge_after(self, deviations: float | None) -> float:
        """Seconds after which a piece is hedged when no other is left to start; with `deviations`: for the piece at a stream's head."""
        if deviations is not None:
            return max(self.late_after(deviations), self.mean + MIN_NEXT)
        return max(self.late_after(ENDGAME), self.mean + MIN_ENDGAME)

    def answered(self, seconds: float) -> None:
        """Add the time to an answer's first byte. Mean and spread are computed as for TCP's time-out (RFC 6298)."""
        if not self._answer:
            self._answer, self._spread = seconds, seconds / 2
            return
        self._spread += (abs(seconds - self._answer) - self._spread) / 4
        self._answer += (seconds - self._answer) / 8

    @property
    def patience(self) -> float:
        """Seconds to the first byte of an answer after which its source counts as silent."""
        return min(MAX_SILENCE, max(MIN_SILENCE, 2 * (self._answer + 4 * self._spread)))

    def overdue(self, received: int, seconds: float, still: float, floor: float) -> bool:
        """Whether to request a piece from another source as well: `received` bytes arrived in `seconds`, none in the last `still` seconds.

        floor: minimum rate in bytes per second, 0 = no minimum.
        """
        if not received:
            return still >= self.patience
        return still >= self.patience + STEP or received < floor * (seconds - self.patience - STEP)

    @property
    def quick(self) -> float:
        """Longest duration in seconds within the quickest quarter of the latest pieces; 0 while unknown."""
        return sorted(self._recent)[(len(self._recent) - 1) // 4] if self._recent else 0.0

    def too_slow(self, left: int, rate: float, seconds: float) -> bool:
        """Whether another source would be far quicker: `left` bytes are missing after `seconds`, and arrive at `rate` (bytes/s)."""
        if seconds < self.patience + STEP:
            return False
        # The count includes the answer's head, so `left` may be 0 before the piece is complete.
        whole = seconds + (max(left, 1) / rate if rate > 0 else math.inf)
        return whole > max(MIN_SLOW, SLOW * self.quick)

    def ahead(self, workers: int, seconds: float = 0.1) -> int:
        """Number of pieces to hold beyond those being fetched, so that `workers` stay busy for `seconds`: 1..workers."""
        mean = self.mean
        # A mean close to zero would make the quotient infinite.
        return workers if mean <= seconds else max(1, math.ceil(workers * seconds / mean))
