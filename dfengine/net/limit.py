"""Token bucket over bytes: how many may move now. Pure; time comes in as an argument.

A bucket of `rate` bytes per second and `burst` bytes lets through at most `burst + rate * t` bytes in any t seconds. It
limits without touching data: the answer is only how much the next sendfile or receive may move.
"""

from __future__ import annotations

QUANTUM = 64 << 10
"""Bytes that are worth a system call; `wait` is the time until so many may move."""


class TokenBucket:
    """rate: bytes per second, 0 = no limit. burst: bytes, by default what 20 ms bring, at least a quantum."""

    def __init__(self, rate: int = 0, burst: int = 0) -> None:
        self._burst_wanted = burst
        self._tokens = 0.0
        self._at = 0.0
        self.rate = 0
        self.burst = 0
        self.set_rate(rate, 0.0)
        self._tokens = float(self.burst)

    def set_rate(self, rate: int, now: float) -> None:
        """From `now` on; 0 = no limit."""
        self._refill(now)
        self.rate = max(0, rate)
        self.burst = max(self._burst_wanted or self.rate // 50, QUANTUM)
        self._tokens = min(self._tokens, float(self.burst))

    def _refill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(float(self.burst), self._tokens + (now - self._at) * self.rate)
            self._at = now

    def take(self, want: int, now: float) -> int:
        """Bytes of `want` that may move now, 0..want; they are spent. Give back what did not move."""
        if not self.rate:
            return want
        self._refill(now)
        allowed = min(want, int(self._tokens))
        # Crumbs would cost a system call each; the end of a transfer may be one.
        if allowed < min(want, QUANTUM, self.burst):
            return 0
        self._tokens -= allowed
        return allowed

    def give_back(self, count: int) -> None:
        """`count` of the bytes taken did not move after all."""
        if self.rate:
            self._tokens = min(float(self.burst), self._tokens + count)

    def wait(self, now: float) -> float:
        """Seconds until a quantum may move; 0 when it may now."""
        if not self.rate:
            return 0.0
        self._refill(now)
        return max(0.0, (min(QUANTUM, self.burst) - self._tokens) / self.rate)
