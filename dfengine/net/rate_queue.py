"""Queue of the senders that wait for a rate limit, in first-come, first-served order.

A sender that a token bucket refuses joins the bucket's queue. One timer per queue resumes the first sender when its bytes may move. After
its turn the sender joins at the end, so that all senders get the same share independent of the speed of their sockets.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Protocol

from dfengine.net.token_bucket import TokenBucket

MIN_PAUSE = 0.001
"""Resolution of an event loop's timers, in seconds."""


class Sender(Protocol):
    """A waiting connection."""

    def resume(self, rate_queue: RateQueue) -> None:
        """Acquire bytes from the bucket; join again if it still refuses. A closed sender does nothing."""


class RateQueue:
    """The queue of one bucket. Law: while it is not empty, only the sender that is being resumed may acquire from the bucket."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bucket: TokenBucket) -> None:
        self.bucket = bucket
        self._loop = loop
        self._waiting: deque[tuple[Sender, int]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, sender: Sender, want: int, first: bool = False) -> None:
        """Queue `sender` at the end, or at the front if `first`, for a turn to acquire some of `want` bytes."""
        if first:
            self._waiting.appendleft((sender, want))
        else:
            self._waiting.append((sender, want))
        self._arm()

    def close(self) -> None:
        """Stop resuming senders."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._timer is None and self._waiting:
            # Waits for a whole quantum, even if the first sender wants less: at high rates one timer then resumes several.
            # Does not use the loop's clock: uvloop's does not advance while a callback runs.
            pause = self.bucket.wait(time.monotonic())
            self._timer = self._loop.call_later(max(MIN_PAUSE, pause), self._turn)

    def _turn(self) -> None:
        self._timer = None
        # Each waiting sender is resumed at most once: senders that join again wait for the next turn.
        for _ in range(len(self._waiting)):
            if self.bucket.wait(time.monotonic(), self._waiting[0][1]):
                break
            self._waiting.popleft()[0].resume(self)
        self._arm()
