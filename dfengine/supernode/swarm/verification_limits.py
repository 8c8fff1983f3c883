"""Limits how many verifications a client's complaints can cause, and for how long false ones count. Pure.

A complaint uses one of its client's MAX_EACH verifications. It is returned when the result is known, but QUIET seconds later if the source
sent the right bytes. False complaints therefore soon cause no verification, while a client that meets many silent sources loses none.
"""

from __future__ import annotations

from collections import deque

from dfengine.net.client_quota import Quota

MAX_EACH = 8
"""Maximum number of verifications that one client's complaints cause at the same time."""

QUIET = 60.0
"""Seconds after which the verification of a false complaint is returned to its client."""


class VerificationLimits:
    """Verifications in use, by the client's address. Times are monotonic seconds, in increasing order."""

    def __init__(self) -> None:
        self._shares = Quota(MAX_EACH, 100)
        self._refuted: deque[tuple[float, str]] = deque()

    def acquire(self, address: str, now: float) -> bool:
        """Use a verification of the client at `address`; False: none is left now."""
        while self._refuted and self._refuted[0][0] <= now:
            self._shares.release(self._refuted.popleft()[1])
        return self._shares.acquire(address)

    def finished(self, address: str, right: bool, now: float) -> None:
        """Record a verification's result. right: the source sent the right bytes."""
        if right:
            self._refuted.append((now + QUIET, address))
        else:
            self._shares.release(address)
