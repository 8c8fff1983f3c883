"""Supernodes that do not answer, and when each is asked again. Pure: `now` is monotonic seconds.

    state    event               to
    none     silent              SILENT for FIRST seconds
    SILENT   silent              SILENT: others have found the same silence; where its time is over, for as long again
    SILENT   ask, too early      SILENT: leave it
    SILENT   ask, in time        TRIED: try it, by a small question
    TRIED    ask within TRIAL    TRIED: leave it, since another download tries it
    TRIED    ask later           TRIED: try it, since the last try has no result
    TRIED    silent              SILENT for twice as long as before, LONGEST at most
    any      answered            none

Any answer of a supernode counts, a refusal too.
"""

from __future__ import annotations

FIRST, LONGEST = 5.0, 60.0
"""Seconds for which nobody asks a silent supernode. One that is started again answers within the first of them; one that is away for long
costs one small question a minute.
"""

TRIAL = 30.0
"""Seconds; a try takes less."""

MOST = 1024
"""Supernodes that are remembered; the oldest leave first."""

ASK, TRY, LEAVE = "ask", "try", "leave"


class SilentNodes:
    """By `host:port`. Any thread may call: each change is one operation on a dictionary. Two that ask at once may both get TRY."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, float, bool]] = {}
        """When it may be asked, for how many seconds it was left, whether it is tried."""

    def silent(self, node: str, now: float) -> None:
        """It did not answer in time."""
        until, seconds, tried = self._known.get(node, (now, FIRST, False))
        if now < until and not tried:
            return
        seconds = min(LONGEST, seconds * 2) if tried else seconds
        self._known[node] = now + seconds, seconds, False
        while len(self._known) > MOST:
            self._known.pop(next(iter(self._known)), None)

    def answered(self, node: str) -> None:
        """It answered."""
        if self._known:
            self._known.pop(node, None)

    def ask(self, node: str, now: float) -> str:
        """ASK; TRY: first by a small question, whose result is reported by `silent` or `answered`; LEAVE: go on without it."""
        found = self._known.get(node)
        if found is None:
            return ASK
        until, seconds, _ = found
        if now < until:
            return LEAVE
        self._known[node] = now + TRIAL, seconds, True
        return TRY

    def left(self, node: str) -> bool:
        """It was silent, and has not answered since."""
        return node in self._known
