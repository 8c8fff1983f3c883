"""The plan of a download into a file: it fetches every piece, first the pieces that other downloads of the host wait for. Pure."""

from __future__ import annotations

from dfengine.client.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dfengine._window import Window


class PlanOfFile(Plan):
    """See Plan."""

    def __init__(self, window: Window, workers: int, *, order: Callable[[int], int] | None = None) -> None:
        super().__init__(window, workers, order=order)
        self._usual = order
        self._first: dict[int, None] = {}

    def want_first(self, pieces: Iterable[int]) -> None:
        """See Plan. Replaces the pieces of an earlier call. Without effect while the number of pieces is unknown."""
        count = self.window.count
        self._first = {n: None for n in pieces if n < count and not self._is_stored(n)}
        self._order = self._rank if self._first else self._usual

    def _rank(self, n: int) -> int:
        return n not in self._first and 1 + (0 if self._usual is None else self._usual(n))

    def wanted_pieces(self, most: int, filled: bool = False) -> list[int] | None:
        """See Plan. The preferred pieces that are not offered yet; None: there are none.

        filled: other missing pieces follow, in the file's order, so that a piece that no source can send now does not block the others.
        """
        named = dict.fromkeys([n for n in self._first if n not in self._pieces and not self._is_stored(n)][:most])
        n = self.window.una
        while filled and named and len(named) < most and n < self.window.count:
            if n not in self._pieces and not self._is_stored(n):
                named[n] = None
            n += 1
        return list(named) or None
