"""How much of the loop's time goes into figures for operators, and how it is cut, so that pulls are answered meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic, thread_time
from typing import TypeVar

from dfengine.net.http import BadRequest

_Item = TypeVar("_Item")

SHARE, BURST = 0.01, 0.05
"""Of the loop's time; seconds of it that may be saved up."""

SLICE = 0.002
"""Seconds of work, and one step more, after which the loop does its other work."""

MOST_WAITING = 64
"""Requests that wait for the budget; further ones are refused."""


class Budget:
    """clock: monotonic seconds. used: those of the processor that this thread has used: a busy machine makes nothing dearer."""

    def __init__(
        self, share: float = SHARE, burst: float = BURST, clock: Callable[[], float] = monotonic, used: Callable[[], float] = thread_time
    ) -> None:
        self._share, self._burst, self._clock, self._used = share, burst, clock, used
        self._credit, self._at = burst, clock()
        self._waiting = 0

    def wait(self) -> float:
        """Seconds until there is time for more work; 0: there is."""
        now = self._clock()
        self._credit = min(self._burst, self._credit + (now - self._at) * self._share)
        self._at = now
        return max(0.0, -self._credit / self._share)

    @contextmanager
    def work(self) -> Iterator[None]:
        """What is done within, without waiting for anything, counts as spent."""
        started = self._used()
        try:
            yield
        finally:
            self._credit -= self._used() - started

    async def turn(self) -> None:
        """Wait until there is time for more. Raises BadRequest where too many wait."""
        if not self.wait():
            return
        if self._waiting >= MOST_WAITING:
            raise BadRequest(429, "too many requests for figures are waiting: ask again later")
        self._waiting += 1
        try:
            while (wait := self.wait()) > 0:
                await asyncio.sleep(wait)
        finally:
            self._waiting -= 1

    async def spread(self, act: Callable[[_Item], object], items: Iterable[_Item]) -> None:
        """`act` on each of the items, SLICE at a time; returns when all is done, and counts it as spent."""
        each = iter(items)
        while True:
            with self.work():
                until = self._clock() + SLICE
                for item in each:
                    act(item)
                    if self._clock() >= until:
                        break
                else:
                    return
            await asyncio.sleep(0)
