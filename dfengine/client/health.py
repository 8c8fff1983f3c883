"""Which sources a download leaves alone, and for how long. Pure.

One that fails thrice in a row is left for a while, twice as long each time; one that sent a wrong digest is left for good.
"""

from __future__ import annotations

import math

FAULTS = 3
"""Failures in a row after which a source is left for a while."""

LEAVE = 10.0
"""Seconds that it is left at first."""


class _State:
    __slots__ = ("faults", "leave", "until")

    def __init__(self) -> None:
        self.faults = 0
        self.leave = LEAVE
        self.until = 0.0


class Health:
    """Of all sources of one download, by CID. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}

    def left(self, cid: str, now: float) -> bool:
        """It is not asked for anything now."""
        state = self._states.get(cid)
        return state is not None and state.until > now

    def fault(self, cid: str, why: str, now: float) -> bool:
        """It failed because of `why`; True when it is left from now on."""
        state = self._states.setdefault(cid, _State())
        state.faults += 1
        if why == "digest":
            state.until = math.inf
        elif state.faults >= FAULTS:
            state.faults, state.until, state.leave = 0, max(state.until, now + state.leave), state.leave * 2
        return state.until > now

    def success(self, cid: str) -> None:
        """It sent a piece that was right."""
        self._states.pop(cid, None)

    def forgive(self) -> None:
        """Waiting times are over; wrong digests stay what they were."""
        for state in self._states.values():
            if state.until < math.inf:
                state.faults, state.until = 0, 0.0
