"""Origins that receive no requests for now, and the reasons. Any thread may use them; `now` is monotonic seconds.

An origin that responds with 429 or 503 and a Retry-After receives no request for a public file until then, by any fetch of this supernode
or another one of its cluster. An origin that cannot be connected to is paused for as long as the fetch that found it waits.

Laws:

1. A response to one file's credentials does not apply to other files: only fetches of public files report pauses, and heed them.
2. A Retry-After is accepted from any supernode. An origin that another supernode cannot connect to is not paused here if it has responded
   to this supernode within REACHED seconds: the fault may be the other one's.
3. A pause ends by itself, after at most MAX_PAUSE seconds.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import NamedTuple

from dfengine.errors import OriginError, OriginPaused, OriginUnreachable
from dfengine.origin.retry import ASKED, Retry

MAX_PAUSE = 120.0
"""Maximum seconds of a pause."""

REACHED = 30.0
"""Seconds for which a response from the origin outweighs another supernode's report that it cannot connect."""

MAX_ORIGINS = 4096
"""Maximum number of origins that are remembered; the oldest entries are removed first."""

BUSY = (429, 503)
"""Statuses whose Retry-After holds for the whole origin."""


class Pause(NamedTuple):
    """until: monotonic. requested: the origin requested the pause. found_by: HOST:PORT of the supernode that found it, "" for this one."""

    until: float
    requested: bool
    reason: str
    found_by: str = ""


class OriginPauses:
    """Pauses by origin, as `request.Hop.key` names it. Any thread may use it. on_paused: called with each pause found here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pauses: dict[str, Pause] = {}
        self._answers: dict[str, float] = {}
        self.on_paused: Callable[[str, Pause, float], None] | None = None

    def __len__(self) -> int:
        return len(self._pauses)

    def answered(self, origin: str, now: float) -> None:
        """Record that the origin has responded as requested."""
        with self._lock:
            self._store(self._answers, origin, now)
            found = self._pauses.get(origin)
            if found is not None and not found.requested:
                del self._pauses[origin]

    def failed(self, origin: str, error: OriginError, wait: float | None, now: float) -> None:
        """Record a failed request, after which the fetch waits `wait` seconds; None: it sends no more."""
        if error.elsewhere or isinstance(error, OriginPaused):
            return
        if error.status in BUSY and 0 < error.retry_after <= ASKED:
            pause = Pause(now + min(error.retry_after, MAX_PAUSE), True, str(error)[:200])
        elif isinstance(error, OriginUnreachable) and error.unconnected and wait is not None:
            pause = Pause(now + min(wait, MAX_PAUSE), False, str(error)[:200])
        else:
            return
        if self._extend(origin, pause, now) and self.on_paused is not None:
            self.on_paused(origin, pause, now)

    def apply_remote(self, origin: str, pause: Pause, now: float) -> None:
        """Apply another supernode's report."""
        if not pause.requested and now - self._answers.get(origin, -math.inf) < REACHED:
            return
        self._extend(origin, pause._replace(until=min(pause.until, now + MAX_PAUSE)), now)

    def _extend(self, origin: str, pause: Pause, now: float) -> bool:
        with self._lock:
            found = self._pauses.get(origin)
            if pause.until <= now or (found is not None and found.until >= pause.until):
                return False
            self._store(self._pauses, origin, pause)
        return True

    @staticmethod
    def _store(held: dict[str, Pause] | dict[str, float], origin: str, value: Pause | float) -> None:
        held.pop(origin, None)
        held[origin] = value  # type: ignore[assignment]  # each holds values of one kind
        while len(held) > MAX_ORIGINS:
            del held[next(iter(held))]

    def find(self, origin: str, now: float) -> Pause | None:
        """Return the pause of an origin; None: requests may be sent."""
        found = self._pauses.get(origin)
        if found is None or found.until > now:
            return found
        with self._lock:
            if self._pauses.get(origin) is found:
                del self._pauses[origin]
        return None

    def current(self, now: float) -> dict[str, Pause]:
        """Origins that are paused now."""
        with self._lock:
            return {origin: pause for origin, pause in self._pauses.items() if pause.until > now}


class PauseAwareRetry(Retry):
    """Retry policy of a fetch that reports failures of a public file's origin, and heeds pauses found by others."""

    def __init__(self, pauses: OriginPauses | None, origin: str) -> None:
        """pauses: None for a file that is not public."""
        super().__init__(0)
        self._pauses, self._origin = pauses, origin

    def pause(self, error: OriginError, now: float, chance: float, granted: bool = False) -> float | None:
        """See `Retry.pause`."""
        wait = super().pause(error, now, chance, granted)
        if self._pauses is not None:
            self._pauses.failed(self._origin, error, wait, now)
        return wait

    def raise_if_paused(self, now: float, chance: float) -> None:
        """Raise OriginPaused while the origin is paused, with up to a second added at random so that not all fetches resume at once."""
        found = self._pauses.find(self._origin, now) if self._pauses is not None else None
        if found is not None:
            left = found.until - now
            by = f" (supernode {found.found_by} found it)" if found.found_by else ""
            later = left + min(1.0, left / 4) * chance
            raise OriginPaused(f"{self._origin} is left alone for {left:.0f} s: {found.reason}{by}", 503, later)

    def answered(self, now: float) -> None:
        """Record that the origin has responded as requested."""
        if self._pauses is not None:
            self._pauses.answered(self._origin, now)
