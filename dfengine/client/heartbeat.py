"""Detects from the beats in its page of signals whether this host's leader runs, and whether it makes progress. Pure."""

from __future__ import annotations

from dfengine.client.progress_timeout import IDLE

SILENT = 5.0
"""Seconds without a beat, ten beats, after which a leader counts as not running."""

STOPPED = 1.5
"""Longest time in seconds between two checks that counts: in a longer one, this process did not run."""


STALLED = IDLE + 15.0
"""Seconds without progress after which a running leader is abandoned: a leader that can read the origin does so after IDLE."""


class Heartbeat:
    """Tracks the beats of a leader. now: monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._beats = -1
        self._since = self._checked = now

    def silent(self, beats: int, now: float, patience: float = SILENT) -> bool:
        """Whether there was no beat for more than `patience` seconds in which this process ran."""
        if now - self._checked > STOPPED:
            self._since += now - self._checked
        self._checked = now
        if beats != self._beats:
            self._beats, self._since = beats, now
        return now - self._since > patience


class Stall:
    """Measures how long a download waits for its leader without progress. now: monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._seen: object = None
        self._checked = now
        self.waited = 0.0
        """Seconds in which this process ran and waited without progress."""

    def exceeds(self, seen: object, waits: bool, now: float, patience: float) -> bool:
        """Whether the wait exceeds `patience` seconds. seen: a value that differs after any progress. waits: the download waits now."""
        passed, self._checked = min(STOPPED, now - self._checked), now
        if seen != self._seen:
            self._seen, self.waited = seen, 0.0
        elif waits:
            self.waited += passed
        return self.waited > patience
