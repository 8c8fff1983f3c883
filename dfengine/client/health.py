"""Which sources a download leaves alone, for how long, and which it asks last. Pure.

One that fails thrice in a row is left for a while, twice as long each time; one that sent a wrong digest is left for good.

One that did not send in time is asked last until it sends a piece. When ROW sources in a row did not, strangers are asked last for COOL
seconds, then one of them as a trial, and after each silent trial twice as much later: however many mute sources are offered, only the first
ones make the download wait. A stranger is a peer that has sent this download nothing yet; a supernode is none.
"""

from __future__ import annotations

import math

from dfengine.task import OWN

FAULTS = 3
"""Failures in a row after which a source is left for a while."""

LEAVE = 10.0
"""Seconds that it is left at first."""

ROW = 3
"""Sources in a row that did not send in time, after which strangers are asked last."""

COOL, COOLEST = 2.0, 60.0
"""Seconds until one of them is tried again, at first and at most."""

READY, STRANGE, SILENT = range(3)
"""Ranks, the best first."""


def is_own(cid: str) -> bool:
    """It is a supernode's own."""
    return cid.startswith(OWN)


class _State:
    __slots__ = ("faults", "leave", "silences", "until")

    def __init__(self) -> None:
        self.faults = self.silences = 0
        self.leave = LEAVE
        self.until = 0.0


class Health:
    """Of all sources of one download, by CID. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}
        self._known: set[str] = set()
        self._row = 0
        self._cool = COOL
        self._trial = 0.0

    def left(self, cid: str, now: float) -> bool:
        """It is not asked for anything now."""
        state = self._states.get(cid)
        return state is not None and state.until > now

    def silences(self, cid: str) -> int:
        """Times that it did not send in time since its last piece."""
        state = self._states.get(cid)
        return 0 if state is None else state.silences

    def rank(self, cid: str, now: float) -> int:
        """READY; STRANGE: it is asked only for what nobody READY has; SILENT: only for what nobody else has."""
        if self.silences(cid):
            return SILENT
        return STRANGE if self._row >= ROW and now < self._trial and self._strange(cid) else READY

    def _strange(self, cid: str) -> bool:
        return cid not in self._known and not is_own(cid)

    def start(self, cid: str, now: float) -> None:
        """It is asked for a piece; while strangers are in doubt, it is their trial if it is one."""
        if self._row >= ROW and self._strange(cid):
            self._trial = now + self._cool

    def fault(self, cid: str, why: str, now: float) -> bool:
        """It failed because of `why`; True when it is left from now on."""
        state = self._states.setdefault(cid, _State())
        state.faults += 1
        if why == "slow":
            state.silences += 1
            self._silent(cid, now)
        if why == "digest":
            state.until = math.inf
        elif state.faults >= FAULTS:
            state.faults, state.until, state.leave = 0, max(state.until, now + state.leave), state.leave * 2
        return state.until > now

    def _silent(self, cid: str, now: float) -> None:
        if is_own(cid):
            return
        self._known.discard(cid)
        self._row += 1
        if self._row >= ROW:
            self._cool = COOL if self._row == ROW else min(self._cool * 2, COOLEST)
            self._trial = now + self._cool

    def success(self, cid: str) -> None:
        """It sent a piece that was right."""
        self._states.pop(cid, None)
        if self._strange(cid):
            self._known.add(cid)
            self._row = 0

    def forgive(self) -> None:
        """Waiting times are over; wrong digests stay what they were."""
        for state in self._states.values():
            if state.until < math.inf:
                state.faults, state.until = 0, 0.0
