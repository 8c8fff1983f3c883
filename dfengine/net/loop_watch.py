"""Measures how long callbacks block an event loop between two polls of its sockets.

A timer is due every PERIOD; it is called later by as long as the loop was blocked, less at most a period. Two figures are recorded of each
gap, since on a machine that is busy with other programs even an idle loop's thread has to wait for the processor: the delay, and how much
processor time the loop's own thread used in it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from time import monotonic, thread_time

PERIOD = 0.010
NOTED = 0.002
"""Delays below this many seconds are ignored: timers of any machine have them."""

BOUNDS = (0.005, 0.010, 0.025, 0.050, 0.100, 0.250, 0.500, 1.0, 2.5)
"""Upper bounds of the histogram's buckets in seconds; one more bucket has all longer gaps."""


class LoopWatch:
    """Gaps of a running loop. counts: by bucket. total: seconds. longest, longest_cpu: maxima of delay and of processor time, seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = self.longest = self.longest_cpu = 0.0
        self._at, self._cpu = monotonic(), thread_time()
        self._timer = loop.call_later(PERIOD, self._tick)

    def _tick(self) -> None:
        now, cpu = monotonic(), thread_time()
        late = now - self._at - PERIOD
        if late > NOTED:
            self.record(late, cpu - self._cpu)
        self._at, self._cpu = now, cpu
        self._timer = self._loop.call_later(PERIOD, self._tick)

    def record(self, late: float, worked: float) -> None:
        """Record a gap of `late` seconds more than the period, in which the thread used `worked` seconds of processor time."""
        self.counts[bisect_left(BOUNDS, late)] += 1
        self.total += late
        self.longest = max(self.longest, late)
        self.longest_cpu = max(self.longest_cpu, min(late, worked))

    def close(self) -> None:
        """Stop measuring."""
        self._timer.cancel()
