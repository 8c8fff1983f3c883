"""Files that are read from one origin at the same time share its connections, and take turns: a turn is one piece of one connection.

With a turn for each connection of a single file, the origin sends as fast as it would send that file. More pieces at a time would come no
sooner, and all of them would be whole later: until then nobody can have any of them.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dfengine.origin.claim import Claim

QUIET = 1.0
"""Seconds without a byte after which a turn counts no more: a slow connection holds up no other file."""

LONGEST = 10.0
"""Seconds after which a connection goes on without a turn: origins close connections that take nothing for a minute or so."""

TICK = 0.05
"""Seconds between two looks of a connection that waits."""

RAMP = 0.25, 2.0
"""Seconds after which a file may have more connections, if its rest would take longer than so many seconds."""


def worth_another(seconds: float, came: int, left: int) -> bool:
    """A file of which `came` bytes came in so many seconds may have one more connection for the `left` bytes."""
    after, rest = RAMP
    return seconds > after and left * seconds > rest * max(1, came)


class Turns:
    """Of one process, by origin, as `request.Hop.key` names it. Any thread may call."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: dict[str, set[Claim]] = {}
        self._waiting: dict[str, deque[Claim]] = {}
        self._files: Counter[str] = Counter()

    @contextmanager
    def reading(self, origin: str) -> Iterator[None]:
        """A file of this origin is read meanwhile."""
        with self._changed:
            self._files[origin] += 1
        try:
            yield
        finally:
            with self._changed:
                self._files[origin] -= 1
                self._files += Counter()  # what is read no more is forgotten

    def share(self, origin: str, most: int) -> int:
        """How many of `most` connections one file of the origin may have, beside the other files that are read now."""
        return max(1, most // max(1, self._files[origin]))

    @contextmanager
    def of(self, origin: str, claim: Claim, most: int, waits: Callable[[], bool]) -> Iterator[None]:
        """The connection of `claim` receives one piece, as one of `most` at a time. It waits for that while `waits`, LONGEST at most."""
        self._take(origin, claim, most, waits)
        try:
            yield
        finally:
            self._end(origin, claim)

    def _take(self, origin: str, claim: Claim, most: int, waits: Callable[[], bool]) -> None:
        with self._changed:
            running = self._running.setdefault(origin, set())
            waiting = self._waiting.setdefault(origin, deque())
            waiting.append(claim)
            begun = claim.at = time.monotonic()
            while claim.at - begun < LONGEST and waits():
                if waiting[0] is claim and sum(claim.at - other.at < QUIET for other in running) < most:
                    break
                self._changed.wait(TICK)
                claim.at = time.monotonic()
            waiting.remove(claim)
            running.add(claim)
            self._changed.notify_all()

    def _end(self, origin: str, claim: Claim) -> None:
        with self._changed:
            running = self._running[origin]
            running.remove(claim)
            if not running and not self._waiting[origin]:
                del self._running[origin], self._waiting[origin]
            self._changed.notify_all()
