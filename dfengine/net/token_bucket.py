"""Token bucket over bytes: how many bytes may be moved now. Pure; the time is an argument.

A bucket of `rate` bytes per second and `burst` bytes allows at most `burst + rate * t` bytes in any t seconds. It does not touch data: it
only returns how much the next sendfile or receive may move. The default burst is the bytes of 25 ms, so that no second exceeds the rate by
more than 2.5%.
"""

from __future__ import annotations

BURSTS_PER_SECOND = 40
MIN_BURST = 2048


class TokenBucket:
    """Token bucket. rate: bytes per second, 0 = no limit. burst: bytes, 0 = the bytes of 25 ms.

    quantum: bytes that are worth a system call, half a burst; `acquire` never grants less to a request for more.
    """

    def __init__(self, rate: int = 0, burst: int = 0) -> None:
        self._burst_wanted = burst
        self._tokens = 0.0
        self._at = 0.0
        self.rate = self.burst = self.quantum = 0
        self.set_rate(rate, 0.0)
        self._tokens = float(self.burst)

    def set_rate(self, rate: int, now: float) -> None:
        """Set the rate from `now` on; 0 = no limit."""
        self._refill(now)
        self.rate = max(0, rate)
        self.burst = self._burst_wanted or max(self.rate // BURSTS_PER_SECOND, MIN_BURST)
        self.quantum = max(1, self.burst // 2)
        self._tokens = min(self._tokens, float(self.burst))

    def _refill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(float(self.burst), self._tokens + (now - self._at) * self.rate)
            self._at = now

    def acquire(self, want: int, now: float) -> int:
        """Bytes of `want` that may move now: 0, or min(want, quantum)..want. They are spent; `release` those that are not moved."""
        if not self.rate:
            return want
        self._refill(now)
        allowed = min(want, int(self._tokens))
        # A smaller amount would not be worth a system call and a wake-up.
        if allowed < min(want, self.quantum):
            return 0
        self._tokens -= allowed
        return allowed

    def release(self, count: int) -> None:
        """Return `count` acquired bytes that were not moved."""
        if self.rate:
            self._tokens = min(float(self.burst), self._tokens + count)

    def wait(self, now: float, want: int = 0) -> float:
        """Seconds until `acquire(want, now)` grants bytes, 0 when it does now. want 0: a quantum."""
        if not self.rate:
            return 0.0
        self._refill(now)
        return max(0.0, (min(want or self.quantum, self.quantum) - self._tokens) / self.rate)
