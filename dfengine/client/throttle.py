"""The rate limit on received bytes, shared by a download's threads and by the downloads of a batch."""

from __future__ import annotations

import threading
import time

from dfengine.net.token_bucket import TokenBucket

QUANTUM = 64 << 10
"""Bytes per receive."""


class Throttle:
    """At most `rate` bytes per second (over 0) in all threads together. of: a throttle whose rate is shared by all made from it."""

    def __init__(self, rate: int, of: Throttle | None = None) -> None:
        self.rate = rate
        self._bucket: TokenBucket = TokenBucket(rate, max(QUANTUM, rate // 10)) if of is None else of._bucket
        self._lock: threading.Lock = threading.Lock() if of is None else of._lock
        self._stopped = threading.Event()

    def acquire(self, want: int) -> int:
        """Wait until some of `want` bytes may be received. Return their number, 1..want, or `want` at once when stopped."""
        while not self._stopped.is_set():
            now = time.monotonic()
            with self._lock:
                allowed = self._bucket.acquire(min(want, QUANTUM), now)
                wait = 0.0 if allowed else self._bucket.wait(now)
            if allowed:
                return int(allowed)
            self._stopped.wait(min(max(wait, 0.001), 1.0))
        return want

    def stop(self) -> None:
        """End all waits, now and until `resume`; those of other throttles with the same rate continue."""
        self._stopped.set()

    def resume(self) -> None:
        """Apply the limit again after `stop`."""
        self._stopped.clear()
