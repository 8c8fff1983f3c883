"""Limits how many verifications a client's complaints can cause, and for how long false ones count. Pure.

A complaint takes one of its client's MOST verifications. It is given back when the result is known, but QUIET seconds later if the source
sent the right bytes. So false complaints soon cause no verification, and a client that meets many silent sources loses none.
"""

from __future__ import annotations

from collections import deque

from dfengine.net.quota import Quota

MOST = 8
"""Verifications that one client's complaints cause at the same time."""

QUIET = 60.0
"""Seconds."""


class Questions:
    """By the client's address. Times are monotonic seconds and never go back."""

    def __init__(self) -> None:
        self._shares = Quota(MOST, 100)
        self._refuted: deque[tuple[float, str]] = deque()

    def try_ask(self, address: str, now: float) -> bool:
        """Take one for the client at `address`; False: it has none left now."""
        while self._refuted and self._refuted[0][0] <= now:
            self._shares.release(self._refuted.popleft()[1])
        return self._shares.acquire(address)

    def answered(self, address: str, right: bool, now: float) -> None:
        """The result of one is known. right: the source sent the right bytes."""
        if right:
            self._refuted.append((now + QUIET, address))
        else:
            self._shares.release(address)
