"""Which sources a download avoids or asks last, and for how long. Pure.

A source that fails FAULTS times in a row is avoided for a while, twice as long each time; one that sent a wrong digest is avoided until the
end. A silent address is avoided at once, with all its CIDs: silence costs time, a failure only a round trip. While WARY addresses are
silent, sources that have not sent a piece yet are asked last.
"""

from __future__ import annotations

import math

from dfengine.client.byte_counts import CDN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dfengine.client.messages import Where

    Address = tuple[str, int]

FAULTS = 3
"""Failures in a row after which a source is avoided for a while."""

LEAVE = 10.0
"""Seconds that it is avoided at first."""

WARY = 2
"""Silent addresses from which on only the supernode and sources that brought a piece are asked first."""


class _State:
    __slots__ = ("faults", "leave", "until")

    def __init__(self) -> None:
        self.faults = 0
        self.leave = LEAVE
        self.until = 0.0


class Health:
    """Of all sources of one download: failures by CID, silence by address. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}
        self._silent: dict[Address, _State] = {}
        self._good: set[str] = set()
        self._wary = 0.0

    def left(self, source: Where, now: float) -> bool:
        """It is avoided now."""
        state = self._states.get(source.cid)
        if state is not None and state.until > now:
            return True
        silent = self._silent.get(source.address) if self._silent else None
        return silent is not None and silent.until > now

    def fault(self, cid: str, why: str, now: float) -> bool:
        """It failed because of `why`; True if it is avoided from now on."""
        state = self._states.setdefault(cid, _State())
        state.faults += 1
        if why == "digest":
            state.until = math.inf
            self._good.discard(cid)
        elif state.faults >= FAULTS:
            state.faults, state.until, state.leave = 0, max(state.until, now + state.leave), state.leave * 2
        return state.until > now

    def silence(self, source: Where, now: float) -> None:
        """It sends nothing although bytes are due. The supernode is not avoided: it is the last resort when peers are silent."""
        self._good.discard(source.cid)
        if source.cid.startswith(CDN):
            return
        state = self._silent.setdefault(source.address, _State())
        if state.until <= now:
            state.until, state.leave = now + state.leave, state.leave * 2
        if sum(each.until > now for each in self._silent.values()) >= WARY:
            self._wary = max(self._wary, state.until)

    def answered(self, source: Where) -> None:
        """A silent source has sent bytes."""
        state = self._silent.get(source.address)
        if state is not None:
            state.until = 0.0

    def success(self, source: Where) -> None:
        """It sent a right piece. A source that sent a wrong digest stays avoided: this piece may have been under way before."""
        state = self._states.get(source.cid)
        if state is not None:
            if state.until == math.inf:
                return
            del self._states[source.cid]
        if self._silent:
            self._silent.pop(source.address, None)
        self._good.add(source.cid)

    def wary(self, now: float) -> bool:
        """So many sources are silent that unknown ones are asked last."""
        return self._wary > now

    def trusted(self, source: Where) -> bool:
        """The supernode, or a source that sent a piece and was not silent since."""
        return source.cid in self._good or source.cid.startswith(CDN)

    def pick(self, sources: Iterable[Where], now: float, silent: bool) -> Where | None:
        """The first that is not avoided; trusted ones first if others are `silent`, or while many are."""
        usable = (source for source in sources if not self.left(source, now))
        first = next(usable, None)
        if first is None or self.trusted(first) or not (silent or self.wary(now)):
            return first
        return next(filter(self.trusted, usable), first)

    def forgive(self) -> None:
        """End all waiting times; sources of wrong digests stay avoided."""
        for state in self._states.values():
            if state.until < math.inf:
                state.faults, state.until = 0, 0.0
        for silent in self._silent.values():
            silent.until = 0.0
        self._wary = 0.0
