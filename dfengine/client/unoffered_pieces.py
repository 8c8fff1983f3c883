"""Wanted pieces that a supernode does not offer, perhaps because it believes that the download has them. Pure, with the time as argument.

The pieces of a download and the supernode's record of them differ only if one of the two has a fault. The supernode never offers a piece
that it believes the download has. A reader would wait for that piece until the swarm is given up, or forever while other pieces arrive.
So pulls report wanted pieces that stay unoffered as lacking. That has no effect at a supernode whose record is right.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

UNOFFERED_TIMEOUT = 20.0
"""Seconds without an offer before a piece is reported as lacking: as long as a pull is parked."""


class UnofferedPieces:
    """Wanted pieces of one registration, and since when each has been wanted."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def overdue(self, wanted: Iterable[int], now: float) -> list[int]:
        """Note that a pull names `wanted` now (monotonic seconds). Return those without an offer for UNOFFERED_TIMEOUT, to report."""
        self._since = {n: self._since.get(n, now) for n in wanted}
        overdue = [n for n, since in self._since.items() if now - since >= UNOFFERED_TIMEOUT]
        self._since.update(dict.fromkeys(overdue, now))
        return overdue
