"""The queue of senders that wait for a rate limit: first come, first served.

A sender that a token bucket refuses joins the bucket's queue. One timer per queue lets the first through when its bytes may
move; after its turn it joins at the end, so that all get the same share however fast their sockets are.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Protocol

from dfengine.net.limit import TokenBucket

LEAST_PAUSE = 0.001
"""Seconds; an event loop's timers are no finer."""


class Sender(Protocol):
    """A connection that waits."""

    def resume(self, rate_queue: RateQueue) -> None:
        """Take from the bucket; join again if it still refuses. A sender that was closed meanwhile does nothing."""


class RateQueue:
    """The queue of one bucket. Law: while it is not empty, only the sender that is resumed may take from the bucket."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bucket: TokenBucket) -> None:
        self.bucket = bucket
        self._loop = loop
        self._waiting: deque[tuple[Sender, int]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, sender: Sender, want: int, first: bool = False) -> None:
        """Wait at the end, or `first` in the queue, for a turn to take some of `want` bytes."""
        if first:
            self._waiting.appendleft((sender, want))
        else:
            self._waiting.append((sender, want))
        self._arm()

    def close(self) -> None:
        """Resume no sender any more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._timer is None and self._waiting:
            # A whole quantum, even if the first wants less: at high rates one timer then lets several through.
            # Not the loop's own clock: uvloop's stands still while a callback runs.
            pause = self.bucket.wait(time.monotonic())
            self._timer = self._loop.call_later(max(LEAST_PAUSE, pause), self._turn)

    def _turn(self) -> None:
        self._timer = None
        # Each waiter once at most: those that join again wait for the next turn.
        for _ in range(len(self._waiting)):
            if self.bucket.wait(time.monotonic(), self._waiting[0][1]):
                break
            self._waiting.popleft()[0].resume(self)
        self._arm()
