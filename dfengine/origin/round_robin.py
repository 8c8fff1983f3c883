"""Turns of the connections of all files that are read from one origin at the same time. A turn is one piece of one connection.

Connections beyond those that increase the rate (`receiving_limit`) would leave more pieces unfinished at a time, and all of them would be
complete later: until then no host can receive any of them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager

from dfengine.origin.receiving_limit import ReceivingLimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dfengine.origin.claim import Claim

QUIET, SLICE = 1.0, 2.0
"""Seconds without a byte, and of a turn, after which the turn is no longer counted, although its piece is still being received."""

MAX_WAIT = 4.0
"""Seconds after which a connection continues without a turn."""

SUSPENDED = 60.0
"""Seconds for which turns are suspended after a connection has waited that long for one; with so many files, turns delay more than they
help."""

TICK = 0.05
"""Seconds between two checks of a connection that waits."""

RAMP = 0.25, 2.0
"""A file may have more connections after the first number of seconds, if its rest would take longer than the second."""


def worth_another(seconds: float, came: int, left: int) -> bool:
    """Whether a file that received `came` bytes in `seconds` may have one more connection for the `left` bytes."""
    after, rest = RAMP
    return seconds > after and left * seconds > rest * max(1, came)


class OriginRoundRobin:
    """Turns for the files that are being read from one origin. connections: initial limit of turns at once. Any thread may call."""

    def __init__(self, connections: int) -> None:
        self.files = 0
        self._limit = ReceivingLimit(connections)
        self._changed = threading.Condition()
        self._running: dict[Claim, tuple[float, int]] = {}
        """Claim -> start of its turn, and bytes that it had received before."""
        self._waiting: deque[Claim] = deque()
        self._past = 0
        """Bytes of finished turns."""
        self._suspended = float("-inf")
        """End of the suspension, monotonic seconds."""

    def may_open(self, held: int, now: float) -> bool:
        """Whether a file that has `held` connections may have one more, beside the other files."""
        with self._changed:
            if held < max(1, self._limit.allowed // max(1, self.files)):
                return True
            self._record_wait(now)
            return False

    @contextmanager
    def turn(self, claim: Claim, waits: Callable[[], bool]) -> Iterator[None]:
        """The turn in which the connection of `claim` receives one piece. It waits for it while `waits`, MAX_WAIT seconds at most."""
        self._wait_for_turn(claim, waits)
        try:
            yield
        finally:
            with self._changed:
                self._past += claim.received_bytes - self._running.pop(claim)[1]
                self._changed.notify_all()

    def _wait_for_turn(self, claim: Claim, waits: Callable[[], bool]) -> None:
        with self._changed:
            self._waiting.append(claim)
            started = claim.last_byte_at = time.monotonic()
            while claim.last_byte_at >= self._suspended and waits():
                if self._waiting[0] is claim and self._has_turn(claim.last_byte_at):
                    break
                if claim.last_byte_at - started >= MAX_WAIT:
                    self._suspended = claim.last_byte_at + SUSPENDED
                    break
                self._record_wait(claim.last_byte_at)
                self._changed.wait(TICK)
                claim.last_byte_at = time.monotonic()
            self._waiting.remove(claim)
            self._running[claim] = claim.last_byte_at, claim.received_bytes
            self._changed.notify_all()

    def _has_turn(self, now: float) -> bool:
        """Whether one more connection has a turn."""
        used = sum(now - claim.last_byte_at < QUIET and now - started < SLICE for claim, (started, _) in self._running.items())
        return used < self._limit.allowed

    def _record_wait(self, now: float) -> None:
        """Record that a file waits for a connection, or a connection for its turn."""
        self._limit.record_wait(self._past + sum(claim.received_bytes - before for claim, (_, before) in self._running.items()), now)


class RoundRobin:
    """Turns of one process, by origin, as named by `request.Hop.key`. connections: see OriginRoundRobin. Any thread may call."""

    def __init__(self, connections: int = 4) -> None:
        self._connections = connections
        self._lock = threading.Lock()
        self._origins: dict[str, OriginRoundRobin] = {}

    @contextmanager
    def reading(self, origin: str) -> Iterator[OriginRoundRobin]:
        """The turns of this origin, for the duration of reading a file."""
        with self._lock:
            turns = self._origins.setdefault(origin, OriginRoundRobin(self._connections))
            turns.files += 1
        try:
            yield turns
        finally:
            with self._lock:
                turns.files -= 1
                if not turns.files:
                    del self._origins[origin]
