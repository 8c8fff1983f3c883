"""Limits the share of the loop's time for operators' figures, and slices the work, so that pulls are answered in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic, thread_time
from typing import TypeVar

from dfengine.net import client_quota
from dfengine.supernode.request_limits import Caller, RequestLimits
from dfengine.supernode.thread_calls import in_thread

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

SHARE, BURST = 0.01, 0.05
"""Share of the loop's time; seconds of that share that may accumulate."""

SLICE = 0.002
"""Seconds of work after which the loop does its other work; a slice ends after the step that exceeds it."""

MAX_WAITING = 64
"""Requests in progress, which wait for the budget, for figures or for a list, see RequestLimits; further ones are refused."""

MAX_AT_ONCE = 2000
"""Items that are sorted on the loop's thread; more are sorted in another thread."""


class Budget:
    """clock: monotonic seconds. cpu_seconds: processor seconds of the calling thread, which do not increase while other processes run.
    client_share: percent of the requests in progress for one client."""

    def __init__(
        self, share: float = SHARE, burst: float = BURST, clock: Callable[[], float] = monotonic,
        cpu_seconds: Callable[[], float] = thread_time, client_share: int = client_quota.SHARE,
    ) -> None:
        self._share, self._burst, self._clock, self._cpu_seconds = share, burst, clock, cpu_seconds
        self._credit, self._at = burst, clock()
        self._requests = RequestLimits(MAX_WAITING, "too many requests for figures are waiting: ask again later", client_share)
        self._lists = asyncio.Lock()

    def delay(self) -> float:
        """Return the seconds until more work may be done; 0 if it may now."""
        now = self._clock()
        self._credit = min(self._burst, self._credit + (now - self._at) * self._share)
        self._at = now
        return max(0.0, -self._credit / self._share)

    @contextmanager
    def work(self) -> Iterator[None]:
        """Charge the work of the `with` block, which must not await anything."""
        started = self._cpu_seconds()
        try:
            yield
        finally:
            self._credit -= self._cpu_seconds() - started

    def request(self, caller: Caller) -> AbstractContextManager[None]:
        """Count a request until the end of the `with` block. Raises BadRequest if too many requests are in progress already."""
        return self._requests.place(caller)

    async def wait_turn(self) -> None:
        """Wait until more work may be done."""
        while (wait := self.delay()) > 0:
            await asyncio.sleep(wait)

    async def make_list(self, choose: Callable[[], _Result], items: int) -> _Result:
        """Return `choose()`, which sorts so many items, and charge its work; many items are sorted in another thread.

        One list is made at a time, when the budget allows it: requests that arrived together, or waited for the same figures, would
        otherwise all make theirs in one iteration of the loop, or in all threads.
        """
        async with self._lists:
            await self.wait_turn()
            if items <= MAX_AT_ONCE:
                with self.work():
                    return choose()
            spent = 0.0

            def measured() -> _Result:
                nonlocal spent
                started = self._cpu_seconds()
                try:
                    return choose()
                finally:
                    spent = self._cpu_seconds() - started

            try:
                return await in_thread(measured)
            finally:
                self._credit -= spent

    async def spread(self, act: Callable[[_Item], object], items: Iterable[_Item]) -> None:
        """Call `act` on each of the items, SLICE seconds at a time, and charge the work; return after the last."""
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
