"""What a client's complaints may cost the supernode: so many questions of its own, and no more while they turn out to be for nothing. Pure.

A client has MOST questions. One that its complaint brings is taken from them, and given back when it is answered; if the accused sent the
right bytes, only QUIET seconds later. So who accuses the honest has no further word, and who meets many mute sources keeps his.
"""

from __future__ import annotations

from collections import deque

from dfengine.net.quota import Quota

MOST = 8
"""Of one client at once."""

QUIET = 60.0
"""Seconds."""


class Questions:
    """By the client's address. Times are monotonic seconds and never go back."""

    def __init__(self) -> None:
        self._shares = Quota(MOST, 100)
        self._refuted: deque[tuple[float, str]] = deque()

    def try_ask(self, address: str, now: float) -> bool:
        """One more for the client at `address`; False: it has no more now."""
        while self._refuted and self._refuted[0][0] <= now:
            self._shares.release(self._refuted.popleft()[1])
        return self._shares.acquire(address)

    def answered(self, address: str, right: bool, now: float) -> None:
        """One that was taken has been answered; right: there was no reason for it."""
        if right:
            self._refuted.append((now + QUIET, address))
        else:
            self._shares.release(address)
