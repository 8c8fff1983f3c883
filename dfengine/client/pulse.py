"""Whether this host's leader runs, by the beats in its page of signals. Pure."""

from __future__ import annotations

SILENT = 5.0
"""Seconds without a beat after which a leader is taken for one that does not run: ten beats."""

STOPPED = 1.5
"""Seconds between two looks beyond which it was this process that did not run."""


class Pulse:
    """Whether a leader runs. now: monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._beats = -1
        self._since = self._looked = now

    def silent(self, beats: int, now: float, patience: float = SILENT) -> bool:
        """It has not beaten for so many seconds in which this process ran."""
        if now - self._looked > STOPPED:
            self._since += now - self._looked
        self._looked = now
        if beats != self._beats:
            self._beats, self._since = beats, now
        return now - self._since > patience
