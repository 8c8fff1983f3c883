"""Finds the unfinished download of a task that is furthest behind, and the reason. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

QUIET = 20.0
"""Seconds without a request after which a download is quiet; a pull is parked for a shorter time."""

SLOW_RATIO = 2.0
"""A link is slow when its quickest pieces take more than this multiple of the median over the downloads."""


class Progress(NamedTuple):
    """The state of an unfinished download. got, blocked: pieces, and sources that it does not get any more. quiet: seconds.

    piece_seconds: of its quickest pieces, 0: unknown. receiving: pieces in transfer to it. waits: its pull is parked.
    """

    n: int
    got: int
    receiving: int
    waits: bool
    slow: bool
    piece_seconds: float
    quiet: float
    blocked: int


def slowest(unfinished: Iterable[Progress], median: float, origin: str, copied: bool) -> tuple[int, str, str] | None:
    """Return (n, reason, a line for people) of the download with the fewest pieces; None: all have finished.

    median: median over downloads of the seconds of the quickest pieces, 0: unknown. origin: why the origin is retried after a pause, "" if
    it is not. copied: the supernode's copy is complete.
    """
    found = min(unfinished, key=lambda each: (each.got, -each.quiet), default=None)
    if found is None:
        return None
    return (found.n, *_reason(found, median, origin, copied))


def _reason(found: Progress, median: float, origin: str, copied: bool) -> tuple[str, str]:
    if found.quiet >= QUIET:
        return "quiet", f"the supernode has received nothing from it for {found.quiet:.0f} s"
    if found.waits and not found.receiving and origin:
        return "origin", f"it waits for the origin: {origin}"
    if found.waits and not found.receiving and not copied:
        return "origin", "it has every piece that the origin has sent so far"
    if found.slow or (median > 0 and found.piece_seconds > SLOW_RATIO * median):
        times = f", {found.piece_seconds / median:.1f} times as long as for half of the hosts" if median > 0 and found.piece_seconds else ""
        return "slow_link", f"its quickest pieces take {found.piece_seconds:.2f} s{times}" if found.piece_seconds else "its link is slow"
    if found.blocked:
        return "blocked", f"{found.blocked} sources failed for it" if found.blocked > 1 else "one source failed for it"
    if found.waits and not found.receiving:
        return "no_source", "it waits for a source with a free slot"
    many = f"{found.receiving} pieces are" if found.receiving > 1 else "one piece is" if found.receiving else "no piece is"
    return "behind", f"{many} under way to it"
