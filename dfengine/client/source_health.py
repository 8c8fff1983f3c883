"""Which sources a download avoids or asks last, and for how long. Pure.

A source that fails FAULTS times in a row is avoided for a time that doubles each time. A source that sent a wrong piece is avoided until
the download ends. A silent address is avoided at once, with all its CIDs: silence costs time, a failure only a round trip. While CAUTIOUS
addresses are silent, sources that have not sent a piece yet are asked last.
"""

from __future__ import annotations

import math

from dfengine.task import SUPERNODE_CID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dfengine.client.messages import Source

    Address = tuple[str, int]

FAULTS = 3
"""Failures in a row after which a source is avoided for a while."""

AVOID = 10.0
"""Seconds for which a source is avoided the first time."""

CAUTIOUS = 2
"""Number of silent addresses from which on the supernode and sources that have sent a piece are preferred."""


class _State:
    __slots__ = ("avoid_seconds", "faults", "until")

    def __init__(self) -> None:
        self.faults = 0
        self.avoid_seconds = AVOID
        self.until = 0.0


class Health:
    """State of all sources of one download: failures by CID, silence by address. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}
        self._silent: dict[Address, _State] = {}
        self._trusted: set[str] = set()
        self._cautious_until = 0.0

    def is_avoided(self, source: Source, now: float) -> bool:
        """Whether `source` is avoided now."""
        state = self._states.get(source.cid)
        if state is not None and state.until > now:
            return True
        silent = self._silent.get(source.address) if self._silent else None
        return silent is not None and silent.until > now

    def fault(self, cid: str, why: str, now: float) -> bool:
        """Count a failure of a source, with the reason `why`. Return whether the source is avoided from now on."""
        state = self._states.setdefault(cid, _State())
        state.faults += 1
        if why == "digest":
            state.until = math.inf
            self._trusted.discard(cid)
        elif state.faults >= FAULTS:
            state.faults, state.until, state.avoid_seconds = 0, max(state.until, now + state.avoid_seconds), state.avoid_seconds * 2
        return state.until > now

    def silence(self, source: Source, now: float) -> None:
        """Avoid a source whose bytes are overdue. A supernode is not avoided: it is the last resort when peers are silent."""
        self._trusted.discard(source.cid)
        if source.cid.startswith(SUPERNODE_CID):
            return
        state = self._silent.setdefault(source.address, _State())
        if state.until <= now:
            state.until, state.avoid_seconds = now + state.avoid_seconds, state.avoid_seconds * 2
        if sum(each.until > now for each in self._silent.values()) >= CAUTIOUS:
            self._cautious_until = max(self._cautious_until, state.until)

    def answered(self, source: Source) -> None:
        """Stop avoiding a silent source, which has sent bytes."""
        state = self._silent.get(source.address)
        if state is not None:
            state.until = 0.0

    def success(self, source: Source) -> None:
        """Note that `source` sent a right piece. A source that sent a wrong one stays avoided: this one may have been sent earlier."""
        state = self._states.get(source.cid)
        if state is not None:
            if state.until == math.inf:
                return
            del self._states[source.cid]
        if self._silent:
            self._silent.pop(source.address, None)
        self._trusted.add(source.cid)

    def cautious(self, now: float) -> bool:
        """Whether so many sources are silent that unknown ones are asked last."""
        return self._cautious_until > now

    def trusted(self, source: Source) -> bool:
        """Whether `source` is a supernode, or has sent a piece and was not silent since."""
        return source.cid in self._trusted or source.cid.startswith(SUPERNODE_CID)

    def pick(self, sources: Iterable[Source], now: float, silent: bool) -> Source | None:
        """Return the first source that is not avoided; prefer trusted ones if others are `silent`, or while many are."""
        usable = (source for source in sources if not self.is_avoided(source, now))
        first = next(usable, None)
        if first is None or self.trusted(first) or not (silent or self.cautious(now)):
            return first
        return next(filter(self.trusted, usable), first)

    def forgive(self) -> None:
        """End all times of avoidance; sources of wrong pieces stay avoided."""
        for state in self._states.values():
            if state.until < math.inf:
                state.faults, state.until = 0, 0.0
        for silent in self._silent.values():
            silent.until = 0.0
        self._cautious_until = 0.0
