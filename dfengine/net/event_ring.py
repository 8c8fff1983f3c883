"""The latest events of a process, stored in memory for queries: the lines of `event_log` as values, independent of its level.

Warnings and errors have a ring of their own, so that many registrations do not displace them. Events of each kind are limited per second.
Pure: the times are arguments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from heapq import merge
from itertools import dropwhile, islice
from operator import itemgetter

from dfengine.events import LEVELS, Throttle, Value, printable

MAX_EVENTS = 1000
"""Events in each of the two rings."""

BURST, RATE = 50, 5.0
"""Events of one kind that are stored in a burst, and per second."""

Event = tuple[int, str, str, str, dict[str, Value]]
"""(id, time as text, level, kind, fields). The id grows by one with each event."""


class EventRing:
    """The two rings. Used by one thread at a time."""

    def __init__(self, most: int = MAX_EVENTS) -> None:
        self._rings: dict[bool, deque[Event]] = {False: deque(maxlen=most), True: deque(maxlen=most)}
        self._throttle = Throttle(BURST, RATE)
        self.newest_id = 0
        """The id of the newest event; 0: no event yet."""

    def put(self, level: str, kind: str, fields: Mapping[str, Value], now: float, when: Callable[[], str]) -> None:
        """Add one event. now: seconds of any clock. when: returns the event's time as text."""
        if level != LEVELS[0] and self._throttle.allows(kind, now):
            self.newest_id += 1
            self._rings[level in LEVELS[2:]].append((self.newest_id, when(), level, kind, printable(fields)))

    def after(self, last: int, most: int = MAX_EVENTS) -> list[Event]:
        """Return the first `most` events whose id is larger than `last`, in order; all of them if `last` is an id of another process."""
        last = last if last <= self.newest_id else 0
        later = (dropwhile(lambda event: event[0] <= last, ring) for ring in self._rings.values())
        return list(islice(merge(*later, key=itemgetter(0)), most))

    def newest(self) -> Iterator[Event]:
        """All events, the newest first."""
        return merge(*(reversed(ring) for ring in self._rings.values()), key=itemgetter(0), reverse=True)
