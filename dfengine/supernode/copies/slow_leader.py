"""When a follower takes the lead of a task from a leader that reads the origin slowly. Pure: `now` is monotonic seconds.

    state     condition                                                              then
    WATCHES   pieces arrive at less than 1/STALL_RATIO of the quickest one's rate    PROBES: one piece is read from the origin, while the
              for SPAN seconds; the last wait is over; MIN_MISSING are missing       leader's bytes read from the origin are measured
    PROBES    the origin sends MIN_GAIN times what the leader reads, or more         LEADS
    PROBES    it sends less, fails, or another follower probes                       WATCHES, after a wait that doubles

A slow origin is as slow for the probe as for the leader, which receives more because it has more connections. In that case a probe costs
one piece, and the doubled wait makes probes rare. Rates are compared over the same seconds, so changes of the origin's rate do not matter.
A supernode that took a task leads it for at least HOLD seconds, whatever others measure, so that the lead does not alternate.
"""

from __future__ import annotations

from collections import deque

STALL_RATIO = 4
"""The quickest piece shows about the rate of the link. Pieces that on average arrive at 1/STALL_RATIO of it wait for something else."""

SPAN = 3.0
"""Seconds over which bytes are counted. Four connections to an origin of 50 Mbit/s complete four pieces nearly at once, each 2.7 s."""

GRACE = 8.0
"""Seconds to follow a leader before judging it: meanwhile its connections to the origin start."""

MIN_GAIN = 2
"""Required ratio of the rates. A leader with one connection has half of a slow origin, and so has the probe: the rates are alike."""

MIN_MISSING = 4
"""Minimum number of missing pieces: fewer arrive as soon from a slow leader as from a new one."""

WAIT, MAX_WAIT = 4.0, 300.0
"""Seconds between two probes of one follower: first, and at most."""

HOLD = 60.0
"""Seconds without probes after a lead was taken."""

MIN_SPAN = 1.0
"""Minimum seconds over which the leader's reading is measured, because it is bursty."""


OWN_SPAN = 3.0
"""Seconds after which a supernode whose lead was taken can judge whether its link is too slow to follow."""


def is_slow(received: int, seconds: float, leader: float) -> bool:
    """Whether the link of a supernode whose lead was taken is slow, not only its path to the origin, so that its hosts should switch to
    another one. It received `received` bytes in `seconds`, while the new leader reads `leader` bytes per second."""
    return received * STALL_RATIO < leader * seconds


class SlowLeader:
    """Measurements of one follower, for one leader at a time."""

    def __init__(self) -> None:
        self._received: deque[tuple[float, int]] = deque()
        self._quickest = 0.0
        self._since = 0.0
        self._next_probe, self.wait = 0.0, WAIT

    def leader_changed(self, now: float) -> None:
        """Start following a leader."""
        self._since = now

    def piece_received(self, size: int, seconds: float, now: float) -> None:
        """Count a piece of `size` bytes that took `seconds`."""
        self._quickest = max(self._quickest, size / max(seconds, 1e-3))
        self._received.append((now, size))
        self._forget(now)

    def rate(self, now: float) -> float:
        """Bytes per second in the last SPAN seconds."""
        self._forget(now)
        return sum(size for _, size in self._received) / SPAN

    def is_due(self, missing: int, now: float) -> bool:
        """Whether to probe the origin. missing: pieces."""
        if missing < MIN_MISSING or now < self._next_probe or now - self._since < GRACE:
            return False
        return self.rate(now) * STALL_RATIO <= self._quickest

    def probed(self, probe: float, leader: float, now: float) -> bool:
        """Handle a probe's result: bytes per second of the probe, and of the leader meanwhile. True: take the lead."""
        self._back_off(now)
        return probe > 0 and probe >= MIN_GAIN * leader

    def failed(self, now: float) -> None:
        """Handle a probe that did not start, or failed."""
        self._back_off(now)

    def _back_off(self, now: float) -> None:
        self._next_probe, self.wait = now + self.wait, min(MAX_WAIT, 2 * self.wait)

    def _forget(self, now: float) -> None:
        while self._received and self._received[0][0] <= now - SPAN:
            self._received.popleft()
