"""Wanted pieces that a supernode does not offer, perhaps because it believes that they are here. Pure, with the time as argument.

What a download has and what its supernode believes that it has can differ only by a fault of one of them. A piece that is believed to be
here is never offered, and a reader would wait for it until the swarm is given up, or for ever while other pieces come. So a pull reports
now and then that pieces which it wants in vain are not here. That changes nothing at a supernode that knows it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

VAIN = 20.0
"""Seconds: as long as a pull is parked."""


class Doubts:
    """Of one registration."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def overdue(self, wanted: Iterable[int], now: float) -> list[int]:
        """A pull names `wanted` now (monotonic seconds). Returns the pieces that were named in vain for VAIN, to be reported as lacking."""
        self._since = {n: self._since.get(n, now) for n in wanted}
        vain = [n for n, since in self._since.items() if now - since >= VAIN]
        self._since.update(dict.fromkeys(vain, now))
        return vain
