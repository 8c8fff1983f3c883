"""Long work on the loop's thread, done in slices: between two slices the loop does its other work."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")

SLICE = 0.005
"""Seconds of one slice; a slice ends after the step that exceeds it."""


class SlicedWork:
    """Jobs without a waiting caller, run one after another. Each is an iterator and may be interrupted between two of its items.

    A job that raises ends; the others continue.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: deque[Iterator[object]] = deque()

    def begin(self, job: Iterable[object]) -> None:
        """Run a job. Its first slice runs at once, unless other jobs wait."""
        self._jobs.append(iter(job))
        if len(self._jobs) == 1:
            self._run_slice()

    def _run_slice(self) -> None:
        until = self._loop.time() + SLICE
        while self._jobs:
            try:
                for _ in self._jobs[0]:
                    if self._loop.time() >= until:
                        self._loop.call_soon(self._run_slice)
                        return
            except BaseException:
                if len(self._jobs) > 1:
                    self._loop.call_soon(self._run_slice)
                self._jobs.popleft()
                raise
            self._jobs.popleft()


async def spread(act: Callable[[_Item], object], items: Iterable[_Item]) -> None:
    """Call `act` on each of the items, with the loop's other work in between; return after the last."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SLICE
    for item in items:
        act(item)
        if loop.time() >= until:
            await asyncio.sleep(0)
            until = loop.time() + SLICE
