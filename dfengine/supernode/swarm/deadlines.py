"""Deadlines in buckets of time, with removal in O(1).

    buckets   dict: number -> dict of items, in the order of adding     order   heap of the numbers

    time, seconds   0 ........ 0.25 ....... 0.5 ....... 0.75
    bucket          |     1     |     2     |     3     |        an item for 0.3 is in bucket 2 and is due at 0.5

Times are rounded up to GRAIN; an item is due within GRAIN after its time. Items are due in the order of their buckets, then of adding, so
the order depends on events alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from math import ceil, inf
from typing import Generic, TypeVar

GRAIN = 0.25
"""Width of a bucket in seconds."""

Item = TypeVar("Item", bound=Hashable)


class Deadlines(Generic[Item]):
    """Items by deadline. An item may be added again only after it was removed."""

    def __init__(self) -> None:
        self._buckets: dict[int, dict[Item, None]] = {}
        self._order: list[int] = []

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def add(self, item: Item, when: float) -> int:
        """Add `item` with the deadline `when` (seconds, not negative); return its bucket, an argument of `discard`."""
        number = ceil(when / GRAIN)
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = {}
            heapq.heappush(self._order, number)
        bucket[item] = None
        return number

    def discard(self, item: Item, number: int) -> None:
        """Remove `item` from that bucket, if it is there."""
        bucket = self._buckets.get(number)
        if bucket is not None:
            bucket.pop(item, None)

    def due(self, now: float, most: int) -> list[Item]:
        """Remove and return up to `most` items that are due at `now`; the rest stays due."""
        items: list[Item] = []
        while self._order and self._order[0] * GRAIN <= now and len(items) < most:
            bucket = self._buckets[self._order[0]]
            if len(items) + len(bucket) > most:
                for item in list(bucket)[: most - len(items)]:
                    del bucket[item]
                    items.append(item)
                break
            items.extend(bucket)
            del self._buckets[heapq.heappop(self._order)]
        return items

    def soonest(self) -> float:
        """The next deadline in seconds; infinity for none."""
        while self._order and not self._buckets[self._order[0]]:
            del self._buckets[heapq.heappop(self._order)]
        return self._order[0] * GRAIN if self._order else inf
