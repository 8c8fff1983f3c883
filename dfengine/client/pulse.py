"""Whether this host's leader runs, by the beats in its page of signals, and whether it brings what is waited for. Pure."""

from __future__ import annotations

from dfengine.client.progress_timeout import IDLE

SILENT = 5.0
"""Seconds without a beat after which a leader is taken for one that does not run: ten beats."""

STOPPED = 1.5
"""Seconds between two checks beyond which it was this process that did not run."""


STALLED = IDLE + 15.0
"""Seconds in which a leader that runs brings nothing: one that can goes to the origin by itself after IDLE."""


class Pulse:
    """Whether a leader runs. now: monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._beats = -1
        self._since = self._checked = now

    def silent(self, beats: int, now: float, patience: float = SILENT) -> bool:
        """It has not beaten for so many seconds in which this process ran."""
        if now - self._checked > STOPPED:
            self._since += now - self._checked
        self._checked = now
        if beats != self._beats:
            self._beats, self._since = beats, now
        return now - self._since > patience


class Stall:
    """For how long a download has waited for its leader in vain. now: monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._seen: object = None
        self._checked = now
        self.waited = 0.0
        """Seconds in which this process ran, waited, and saw no progress."""

    def lasts(self, seen: object, waits: bool, now: float, patience: float) -> bool:
        """It has waited longer than `patience` seconds. seen: differs after any progress. waits: it waits for something now."""
        passed, self._checked = min(STOPPED, now - self._checked), now
        if seen != self._seen:
            self._seen, self.waited = seen, 0.0
        elif waits:
            self.waited += passed
        return self.waited > patience
