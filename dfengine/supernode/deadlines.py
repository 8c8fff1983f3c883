"""Things to do at times to come, with removal in O(1): what ends early costs nothing later.

Times are rounded up to GRAIN; an item is due within GRAIN after its time. The order of what is due is the order of bucket, then of adding,
so it depends on events alone.
"""

from __future__ import annotations

import heapq
from math import ceil
from typing import Generic, TypeVar

GRAIN = 0.25
"""Seconds to a bucket."""

Item = TypeVar("Item")


class Deadlines(Generic[Item]):
    """Buckets of items by time; the heap orders the buckets, of which there are few."""

    __slots__ = ("_buckets", "_order")

    def __init__(self) -> None:
        self._buckets: dict[int, dict[Item, None]] = {}
        self._order: list[int] = []

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())

    def add(self, item: Item, when: float) -> int:
        """Remember `item` until `when` (seconds); returns the bucket that `discard` wants."""
        number = ceil(when / GRAIN)
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = {}
            heapq.heappush(self._order, number)
        bucket[item] = None
        return number

    def discard(self, item: Item, number: int) -> None:
        """Forget `item` of that bucket; unknown: nothing happens."""
        bucket = self._buckets.get(number)
        if bucket is not None:
            bucket.pop(item, None)

    def due(self, now: float) -> list[Item]:
        """Take out what is due at `now`."""
        items: list[Item] = []
        while self._order and self._order[0] * GRAIN <= now:
            items.extend(self._buckets.pop(heapq.heappop(self._order)))
        return items

    def next(self) -> float | None:
        """When something is due next, None for never."""
        while self._order and not self._buckets[self._order[0]]:
            del self._buckets[heapq.heappop(self._order)]
        return self._order[0] * GRAIN if self._order else None
