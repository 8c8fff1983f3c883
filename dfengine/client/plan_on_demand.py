"""The plan of a download that fetches what its readers ask for, and nothing else: `plan.Plan` with a priority over pieces. Pure."""

from __future__ import annotations

from dfengine.client.plan import Plan
from dfengine.client.priority import Priority

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine._window import Window


class PlanOnDemand(Plan):
    """See Plan. `priority` says what is wanted; its owner changes it under the lock that guards this plan.

    A supernode that does not know selected pulls may offer other pieces: those are fetched as well, after all wanted ones.
    """

    def __init__(self, window: Window, workers: int) -> None:
        self.priority = Priority()
        super().__init__(window, workers, order=self.priority.rank)

    def set_count(self, count: int) -> None:
        """See Plan. Nobody waits for what lies beyond the end of the file."""
        super().set_count(count)
        self.priority.end_at(count)

    def unasked(self) -> int:
        """Pieces that are wanted, and neither here, offered nor running."""
        return len(self.priority) - sum(n in self.priority for n in self._pieces)

    def wanted_pieces(self, most: int, filled: bool = False) -> list[int]:
        """The first `most` pieces to name in a pull: those whose sources are all silent, then those that are wanted and not offered yet.

        No other piece may come instead.
        """
        named = [n for n in self._silent_pieces() if not self._pieces[n].slot][:most]
        for n in self.priority:
            if len(named) >= most:
                break
            if n not in self._pieces:
                named.append(n)
        return named

    def _keep(self, n: int) -> None:
        super()._keep(n)
        self.priority.landed(n)
