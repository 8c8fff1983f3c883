"""Measures how long callbacks hold an event loop between two polls of its sockets.

A timer that wants to be called every PERIOD finds out: it is called later by as much as the loop was held, less at most a period. Two
figures are kept of each gap, since a machine that is busy with other programs takes the processor away from a loop that does nothing:
how much later it was, and how much processor time of that the loop's own thread took.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from time import monotonic, thread_time

PERIOD = 0.010
NOTED = 0.002
"""Seconds of lateness that any machine's timers have."""

BOUNDS = (0.005, 0.010, 0.025, 0.050, 0.100, 0.250, 0.500, 1.0, 2.5)
"""Seconds: the histogram's buckets end here, and one is for all beyond."""


class LoopWatch:
    """Of the loop that runs. `held`: gaps by bucket; `total`: their seconds; `longest` and `worked`: the most, by either figure."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.held = [0] * (len(BOUNDS) + 1)
        self.total = self.longest = self.worked = 0.0
        self._at, self._cpu = monotonic(), thread_time()
        self._timer = loop.call_later(PERIOD, self._tick)

    def _tick(self) -> None:
        now, cpu = monotonic(), thread_time()
        late = now - self._at - PERIOD
        if late > NOTED:
            self.note(late, cpu - self._cpu)
        self._at, self._cpu = now, cpu
        self._timer = self._loop.call_later(PERIOD, self._tick)

    def note(self, late: float, worked: float) -> None:
        """A gap of so many seconds more than the period, in which the thread used `worked` seconds of processor time."""
        self.held[bisect_left(BOUNDS, late)] += 1
        self.total += late
        self.longest = max(self.longest, late)
        self.worked = max(self.worked, min(late, worked))

    def close(self) -> None:
        """Watch no more."""
        self._timer.cancel()
