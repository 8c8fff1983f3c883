"""The latest events of a process, for those who ask it what happened: the lines of `event_log` as values, whatever its level is.

Warnings and errors have a ring of their own, so that many registrations do not push them out. Of each kind only so many a second are kept.
Pure: the times are arguments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from heapq import merge
from itertools import dropwhile, islice
from operator import itemgetter

from dfengine.events import LEVELS, Throttle, Value, printable

MOST = 1000
"""Events in each of the two rings."""

BURST, RATE = 50, 5.0
"""Events of one kind that are kept at once, and per second."""

Event = tuple[int, str, str, str, dict[str, Value]]
"""(id, time as text, level, kind, fields). The id grows by one with each event."""


class EventRing:
    """Used by one thread at a time."""

    def __init__(self, most: int = MOST) -> None:
        self._rings: dict[bool, deque[Event]] = {False: deque(maxlen=most), True: deque(maxlen=most)}
        self._throttle = Throttle(BURST, RATE)
        self.last = 0
        """The id of the newest event; 0: there was none."""

    def put(self, level: str, kind: str, fields: Mapping[str, Value], now: float, when: Callable[[], str]) -> None:
        """One more event. now: seconds of any clock. when: tells its time as text."""
        if level != LEVELS[0] and self._throttle.allows(kind, now):
            self.last += 1
            self._rings[level in LEVELS[2:]].append((self.last, when(), level, kind, printable(fields)))

    def after(self, last: int, most: int = MOST) -> list[Event]:
        """The first `most` events whose id is larger than `last`, in order. An id of another process is none: all."""
        last = last if last <= self.last else 0
        later = (dropwhile(lambda event: event[0] <= last, ring) for ring in self._rings.values())
        return list(islice(merge(*later, key=itemgetter(0)), most))

    def newest(self) -> Iterator[Event]:
        """All, the newest first."""
        return merge(*(reversed(ring) for ring in self._rings.values()), key=itemgetter(0), reverse=True)
