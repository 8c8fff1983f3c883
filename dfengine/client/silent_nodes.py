"""Supernodes that do not answer, and when each is asked again. Pure: `now` is monotonic seconds.

    state    event                        to
    none     silent                       SILENT for FIRST_PAUSE seconds
    SILENT   silent                       SILENT: another download observed the same silence; if its time is over, for as long again
    SILENT   next_action, too early       SILENT: SKIP
    SILENT   next_action, in time         PROBED: PROBE, by a ping
    PROBED   next_action within TRIAL     PROBED: SKIP, since another download probes it
    PROBED   next_action later            PROBED: PROBE, since the last probe has no result
    PROBED   silent                       SILENT for twice as long as before, MAX_PAUSE at most
    any      answered                     none

Any answer of a supernode counts, a refusal too.
"""

from __future__ import annotations

FIRST_PAUSE, MAX_PAUSE = 5.0, 60.0
"""First and longest time in seconds for which a silent supernode is not asked. A restarted supernode answers within the first; for one
that stays away, the cost is one ping per minute.
"""

TRIAL = 30.0
"""Seconds after which a try without a result is repeated; a try takes less."""

MAX_NODES = 1024
"""Most supernodes that are remembered; the oldest are dropped first."""

USE, PROBE, SKIP = "use", "probe", "skip"


class SilentNodes:
    """States by `host:port`, for any thread: each change is one dictionary operation. Two concurrent `next_action`s may both get PROBE."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, float, bool]] = {}
        """When the supernode may be asked, for how many seconds it was skipped, whether it is probed."""

    def silent(self, node: str, now: float) -> None:
        """Note that the supernode did not answer in time."""
        until, seconds, tried = self._known.get(node, (now, FIRST_PAUSE, False))
        if now < until and not tried:
            return
        seconds = min(MAX_PAUSE, seconds * 2) if tried else seconds
        self._known[node] = now + seconds, seconds, False
        while len(self._known) > MAX_NODES:
            self._known.pop(next(iter(self._known)), None)

    def answered(self, node: str) -> None:
        """Note that the supernode answered."""
        if self._known:
            self._known.pop(node, None)

    def next_action(self, node: str, now: float) -> str:
        """Return USE; PROBE: ping it first, and report the result by `silent` or `answered`; SKIP: continue without it."""
        found = self._known.get(node)
        if found is None:
            return USE
        until, seconds, _ = found
        if now < until:
            return SKIP
        self._known[node] = now + TRIAL, seconds, True
        return PROBE

    def is_silent(self, node: str) -> bool:
        """Whether the supernode was silent and has not answered since."""
        return node in self._known
