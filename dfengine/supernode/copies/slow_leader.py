"""When a follower takes the lead of a task from a leader that reads the origin slowly. Pure: `now` is monotonic seconds.

    state     what is seen                                                     then
    WATCHES   pieces come at less than 1/FAR of the quickest one's rate        PROBES: the origin is asked for one piece, and the
              for SPAN seconds; the last wait is over; LEFT are missing        leader how many bytes it reads meanwhile
    PROBES    the origin brings TIMES as much as the leader reads, or more     LEADS
    PROBES    it brings less, fails, or another follower probes                WATCHES, after a wait that doubles

A slow origin is as slow for the probe as for the leader, and it brings the leader more: that one has more connections. So a probe there
costs one piece, and the doubled wait makes them few. Rates are compared over the same seconds, so the origin's own changes say nothing.
A supernode that took a task leads it for HOLD seconds at least, whatever others measure, so the lead does not move back and forth.
"""

from __future__ import annotations

from collections import deque

FAR = 4
"""A piece comes as quickly as a link allows, or nearly. Pieces that come on the whole at a fourth of that wait for something else."""

SPAN = 3.0
"""Seconds over which they are counted. Four connections to an origin of 50 Mbit/s complete four pieces nearly at once, each 2.7 s."""

FIRST = 8.0
"""Seconds that a leader is followed before anything is concluded: until then its connections to the origin begin."""

TIMES = 2
"""A leader with one connection, beside the probe's one, has half of a slow origin: the rates are alike."""

LEFT = 4
"""Pieces: fewer come as soon from a slow leader as by another one that begins."""

WAIT, LONGEST_WAIT = 4.0, 300.0
"""Seconds between two probes of one follower: first, and at most."""

HOLD = 60.0
"""Seconds for which nobody probes after a lead was taken."""

LEAST = 1.0
"""Seconds over which the leader's reading is measured at least: it comes in bursts."""


OWN_SPAN = 3.0
"""Seconds after which a supernode whose lead was taken knows whether its link is too slow to follow."""


def is_slow(came: int, seconds: float, leader: float) -> bool:
    """A supernode whose lead was taken got `came` bytes in so many seconds, while the new leader reads `leader` bytes per second: its
    link is slow, not its way to the origin alone, and its hosts had better turn to another one."""
    return came * FAR < leader * seconds


class SlowLeader:
    """Of one follower, and one leader at a time."""

    def __init__(self) -> None:
        self._came: deque[tuple[float, int]] = deque()
        self._quickest = 0.0
        self._since = 0.0
        self._again, self.wait = 0.0, WAIT

    def follows(self, now: float) -> None:
        """A leader is turned to."""
        self._since = now

    def came(self, size: int, seconds: float, now: float) -> None:
        """A piece of `size` bytes, which took so long."""
        self._quickest = max(self._quickest, size / max(seconds, 1e-3))
        self._came.append((now, size))
        self._forget(now)

    def rate(self, now: float) -> float:
        """Bytes per second of the last SPAN."""
        self._forget(now)
        return sum(size for _, size in self._came) / SPAN

    def is_due(self, missing: int, now: float) -> bool:
        """The origin is to be probed. missing: pieces."""
        if missing < LEFT or now < self._again or now - self._since < FIRST:
            return False
        return self.rate(now) * FAR <= self._quickest

    def probed(self, probe: float, leader: float, now: float) -> bool:
        """It brought `probe` bytes per second, and the leader read so many in these seconds. True: the lead is to be taken."""
        self._rest(now)
        return probe > 0 and probe >= TIMES * leader

    def failed(self, now: float) -> None:
        """There was no probe, or it came to nothing."""
        self._rest(now)

    def _rest(self, now: float) -> None:
        self._again, self.wait = now + self.wait, min(LONGEST_WAIT, 2 * self.wait)

    def _forget(self, now: float) -> None:
        while self._came and self._came[0][0] <= now - SPAN:
            self._came.popleft()
