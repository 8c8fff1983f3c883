"""How long pieces take, and what that says: how many to ask for ahead, when one is as good as here, and when one is late. Pure."""

from __future__ import annotations

import math
from collections import deque

RECENT = 16
"""Pieces that are remembered."""

LEAD = 0.15
"""Seconds from the word that a piece is ending to the first byte of what is given for it: four ways through full queues of shaped links."""

QUICK = 0.1
"""Seconds; of pieces that take less nobody says that they are ending."""

RAMP, TELLING = 0.125, 0.25
"""Parts of a piece: until the first has come a connection may be slow beside others that began before; the next tells the link's rate."""

SOON, FIRST, SILENCE = 0.5, 3.0, 10.0
"""Seconds that a source has to be connected to, and to send a first byte: at least and at most while another could be asked; at most."""

OFTEN = 4.0
"""Times what it usually takes."""


class Pace:
    """Durations in seconds of the pieces that arrived last, and how long their sources took to answer."""

    def __init__(self) -> None:
        self._answers: deque[float] = deque(maxlen=RECENT)
        self._ramped: tuple[float, float] | None = None
        self._recent: deque[float] = deque(maxlen=RECENT)

    def add(self, seconds: float) -> None:
        """One piece took this long from its request, or from the end of the one before it, to its last byte."""
        self._recent.append(max(seconds, 0.0))

    def answered(self, seconds: float) -> None:
        """The first byte of an answer that brought a piece came this long after it was asked for."""
        self._answers.append(seconds)

    def patience(self, elsewhere: bool, own: bool, silences: int) -> float:
        """Seconds for a source's connection, and for the first byte of an answer.

        elsewhere: another source could be asked. own: the source is a supernode, which many may ask at once. silences: times in a row that
        it did not send in time; it has twice as long each time, so that one that is slow by nature is not left for ever.
        """
        if own:
            return FIRST if elsewhere else SILENCE
        usual = sorted(self._answers)[len(self._answers) // 2] if self._answers else 0.0
        soon = min(max(SOON, OFTEN * usual), FIRST)
        return min(SILENCE, (soon if elsewhere else OFTEN * soon) * 2.0 ** min(silences, 8))

    @property
    def mean(self) -> float:
        """Seconds; 0 while nothing is known."""
        return sum(self._recent) / len(self._recent) if self._recent else 0.0

    @property
    def slow(self) -> bool:
        """Pieces take long, as far as is known."""
        return self.mean >= QUICK

    def ends_in(self, length: int, got: int, seconds: float) -> float:
        """Seconds until it is time to say that a piece of `length` bytes is ending, of which `got` came in `seconds`; infinite: not yet."""
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

    def ahead(self, workers: int, seconds: float = 0.1) -> int:
        """Pieces worth holding beyond those that run, so that `workers` stay busy for `seconds`: 1..workers."""
        mean = self.mean
        # A mean that is next to nothing would make the quotient infinite.
        return workers if mean <= seconds else max(1, math.ceil(workers * seconds / mean))
