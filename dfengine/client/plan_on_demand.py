"""The plan of a download that fetches only the pieces that its readers ask for: `plan.Plan` with a priority over pieces. Pure."""

from __future__ import annotations

from dfengine.client.plan import Plan
from dfengine.client.priority import Priority

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine._window import Window


class PlanOnDemand(Plan):
    """See Plan. `priority` contains the wanted pieces; its owner changes it under the lock that guards this plan.

    A supernode that does not support selected pulls may offer other pieces: those are fetched as well, after all wanted ones.
    """

    def __init__(self, window: Window, workers: int) -> None:
        self.priority = Priority()
        super().__init__(window, workers, order=self.priority.rank)

    def set_count(self, count: int) -> None:
        """See Plan. Pieces beyond the end of the file are no longer wanted."""
        super().set_count(count)
        self.priority.end_at(count)

    def unrequested(self) -> int:
        """Number of pieces that are wanted, and neither stored, offered nor running."""
        return len(self.priority) - sum(n in self.priority for n in self._pieces)

    def wanted_pieces(self, most: int, filled: bool = False) -> list[int]:
        """Return the first `most` pieces to name in a pull: pieces whose sources are all silent, then wanted pieces without an offer.

        No other piece may be offered instead.
        """
        named = [n for n in self._silent_pieces() if not self._pieces[n].slot][:most]
        for n in self.priority:
            if len(named) >= most:
                break
            if n not in self._pieces:
                named.append(n)
        return named

    def _set_stored(self, n: int) -> None:
        super()._set_stored(n)
        self.priority.on_stored(n)
