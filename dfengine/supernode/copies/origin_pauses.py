"""Which origins are left alone for now, and why. Pure: `now` is monotonic seconds.

An origin that answers 429 or 503 and says for how long (Retry-After) is asked for no public file meanwhile, by no fetch of this supernode
or another one of its cluster. One that cannot be connected to is left alone for as long as the fetch that found it waits.

Laws:

1. What one file's credentials are answered says nothing about others: only fetches of public files teach, and heed.
2. What an origin says of its pause is believed from any supernode; that it cannot be connected to is not, from another one, by a
   supernode that this origin has answered within HEARD seconds: the fault may be that one's own.
3. A pause ends by itself, after LONGEST seconds at most.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import NamedTuple

from dfengine.errors import OriginError, OriginPaused, OriginUnreachable
from dfengine.origin.retry import ASKED, Retry

LONGEST = 120.0
"""Seconds."""

REACHED = 30.0
"""Seconds for which an answer of the origin counts for more than what another supernode says of it."""

MOST = 4096
"""Origins that are remembered; those heard of first leave first."""

BUSY = (429, 503)
"""Statuses whose Retry-After holds for the whole origin."""


class Pause(NamedTuple):
    """until: monotonic. asked: the origin asked for it. by: HOST:PORT of the supernode that found it, "" for this one."""

    until: float
    asked: bool
    reason: str
    by: str = ""


class OriginPauses:
    """By origin, as `request.Hop.key` names it. Any thread may use it. paused_here: is called with a pause that this supernode finds by
    itself.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pauses: dict[str, Pause] = {}
        self._answers: dict[str, float] = {}
        self.paused_here: Callable[[str, Pause, float], None] | None = None

    def __len__(self) -> int:
        return len(self._pauses)

    def answered(self, origin: str, now: float) -> None:
        """It sent what it was asked for."""
        with self._lock:
            self._keep(self._answers, origin, now)
            found = self._pauses.get(origin)
            if found is not None and not found.asked:
                del self._pauses[origin]

    def failed(self, origin: str, error: OriginError, wait: float | None, now: float) -> None:
        """It did not, and the fetch waits so long, None: it asks no more."""
        if error.elsewhere or isinstance(error, OriginPaused):
            return
        if error.status in BUSY and 0 < error.retry_after <= ASKED:
            pause = Pause(now + min(error.retry_after, LONGEST), True, str(error)[:200])
        elif isinstance(error, OriginUnreachable) and error.unconnected and wait is not None:
            pause = Pause(now + min(wait, LONGEST), False, str(error)[:200])
        else:
            return
        if self._longer(origin, pause, now) and self.paused_here is not None:
            self.paused_here(origin, pause, now)

    def paused_elsewhere(self, origin: str, pause: Pause, now: float) -> None:
        """Another supernode says so."""
        if not pause.asked and now - self._answers.get(origin, -math.inf) < REACHED:
            return
        self._longer(origin, pause._replace(until=min(pause.until, now + LONGEST)), now)

    def _longer(self, origin: str, pause: Pause, now: float) -> bool:
        with self._lock:
            found = self._pauses.get(origin)
            if pause.until <= now or (found is not None and found.until >= pause.until):
                return False
            self._keep(self._pauses, origin, pause)
        return True

    @staticmethod
    def _keep(held: dict[str, Pause] | dict[str, float], origin: str, value: Pause | float) -> None:
        held.pop(origin, None)
        held[origin] = value  # type: ignore[assignment]  # each holds values of one kind
        while len(held) > MOST:
            del held[next(iter(held))]

    def find(self, origin: str, now: float) -> Pause | None:
        """Why it is not asked now."""
        found = self._pauses.get(origin)
        if found is None or found.until > now:
            return found
        with self._lock:
            if self._pauses.get(origin) is found:
                del self._pauses[origin]
        return None

    def all(self, now: float) -> dict[str, Pause]:
        """Those that are left alone now."""
        with self._lock:
            return {origin: pause for origin, pause in self._pauses.items() if pause.until > now}


class HeedingRetry(Retry):
    """Of a fetch of a public file: tells of its failures, and heeds what others found."""

    def __init__(self, pauses: OriginPauses | None, origin: str) -> None:
        """pauses: None: of a file that is not public."""
        super().__init__(0)
        self._pauses, self._origin = pauses, origin

    def pause(self, error: OriginError, now: float, chance: float, granted: bool = False) -> float | None:
        """See `Retry.pause`."""
        wait = super().pause(error, now, chance, granted)
        if self._pauses is not None:
            self._pauses.failed(self._origin, error, wait, now)
        return wait

    def heed(self, now: float, chance: float) -> None:
        """Raises OriginPaused while the origin is left alone; with up to a second by chance, so that not all fetches go on at once."""
        found = self._pauses.find(self._origin, now) if self._pauses is not None else None
        if found is not None:
            left = found.until - now
            by = f" (supernode {found.by} found it)" if found.by else ""
            later = left + min(1.0, left / 4) * chance
            raise OriginPaused(f"{self._origin} is left alone for {left:.0f} s: {found.reason}{by}", 503, later)

    def answered(self, now: float) -> None:
        """The origin sent what it was asked for."""
        if self._pauses is not None:
            self._pauses.answered(self._origin, now)
