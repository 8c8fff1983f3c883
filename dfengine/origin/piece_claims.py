"""Pieces of a file that are still to be fetched from its origin, and their claims by connections. Pure.

Law: a piece is free, claimed by one connection, or done.

    claim, claim_at, claim_until   free -> claimed
    release                        claimed -> free
    done                           no call: claimed pieces that are not released are done when their claim ends
"""

from __future__ import annotations

from bisect import bisect_right

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dfengine._bitset import Bitset

ENDLESS = 1 << 60
"""One past the last piece of a file of unknown length."""


class PieceClaims:
    """Free pieces as runs [first, past), lowest first. longest: limit of pieces per claim."""

    def __init__(self, missing: Iterable[tuple[int, int]], longest: int) -> None:
        self.longest = max(1, longest)
        self._free = sorted((first, past) for first, past in missing if first < past)

    @property
    def first(self) -> int | None:
        """The lowest free piece, None if there is none."""
        return self._free[0][0] if self._free else None

    @property
    def pieces(self) -> int:
        """Number of free pieces."""
        return sum(past - first for first, past in self._free)

    def claim(self, before: int = ENDLESS, want: int = -1, last: bool = False) -> tuple[int, int] | None:
        """The next claim: from piece `want` on if that is free, else the lowest pieces, or the `last` ones.

        before: pieces from this one on are not claimed.
        """
        at = self._find(want) if want >= 0 else -1
        if at >= 0:
            return self._cut(at, want, before)
        if last and self._free:
            begin, end = self._free[-1]
            return self._cut(-1, max(begin, end - self.longest), before)
        return self._cut(0, self._free[0][0], before) if self._free else None

    def claim_at(self, n: int) -> tuple[int, int] | None:
        """A claim that begins with piece n; None if n is not free."""
        at = self._find(n)
        return self._cut(at, n, ENDLESS) if at >= 0 else None

    def claim_until(self, first: int, past: int) -> tuple[int, int]:
        """A claim of [first, past), up to the first piece that is not free; `first` must be free."""
        run = self._cut(self._find(first), first, past)
        assert run is not None
        return run

    def free_until(self, n: int) -> int:
        """One past the last piece of a claim that begins with piece n; n if that is not free."""
        at = self._find(n)
        return min(self._free[at][1], n + self.longest) if at >= 0 else n

    def free_from(self, n: int) -> int:
        """The first free piece from n on; ENDLESS if there is none."""
        return next((max(n, first) for first, past in self._free if past > n), ENDLESS)

    def _find(self, n: int) -> int:
        """Index of the run that contains piece n, -1: none."""
        at = bisect_right(self._free, (n, ENDLESS + 1)) - 1
        return at if at >= 0 and n < self._free[at][1] else -1

    def _cut(self, at: int, first: int, before: int) -> tuple[int, int] | None:
        begin, end = self._free[at]
        past = min(end, first + self.longest, before)
        if past <= first:
            return None
        at %= len(self._free)
        self._free[at : at + 1] = [run for run in ((begin, first), (past, end)) if run[0] < run[1]]
        return first, past

    def release(self, first: int, past: int) -> None:
        """Free the pieces of a claim that were not fetched; they are merged with free neighbours."""
        if first >= past:
            return
        self._free.append((first, past))
        self._free.sort()
        joined: list[tuple[int, int]] = []
        for run in self._free:
            if joined and run[0] <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(joined[-1][1], run[1])
            else:
                joined.append(run)
        self._free = joined

    def end_at(self, count: int) -> None:
        """Limit the free pieces to a file of `count` pieces."""
        self._free = [(first, min(past, count)) for first, past in self._free if first < count]


def missing(available: Bitset, count: int) -> list[tuple[int, int]]:
    """Runs of pieces below `count` that are not stored."""
    runs, at = [], 0
    for first, past in available.runs():
        if at < min(first, count):
            runs.append((at, min(first, count)))
        at = past
    return [*runs, (at, count)] if at < count else runs
