"""Which pieces a download on demand wants, and in which order: those that readers wait for, the oldest demand first, then those that are
read ahead. Pure.

A piece that is here is in neither list. A piece that is demanded is not read ahead. What is in neither list is not wanted: a download
whose lists are empty asks for nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

AHEAD = 256
"""Pieces that are read ahead for all readers together, at most; the oldest leave first."""

_LATER = 1 << 62
"""Added to a rank: more than there are pieces or demands."""


class Priority:
    """Of one download."""

    def __init__(self) -> None:
        self._demanded: dict[int, int] = {}  # piece -> readers that wait for it
        self._ahead: dict[int, None] = {}
        self._places: dict[int, int] = {}
        self._next = 0

    def demand(self, pieces: Iterable[int]) -> None:
        """One more reader waits for each of these, which are not here. Those that it wants first come first."""
        for n in pieces:
            if n not in self._demanded:
                self._ahead.pop(n, None)
                self._place(n)
            self._demanded[n] = self._demanded.get(n, 0) + 1

    def withdraw(self, pieces: Iterable[int]) -> None:
        """A reader does not wait for these any more; some may be here meanwhile."""
        for n in pieces:
            readers = self._demanded.get(n, 0)
            if readers > 1:
                self._demanded[n] = readers - 1
            elif readers:
                self.landed(n)

    def read_ahead(self, pieces: Iterable[int]) -> None:
        """These, which are not here, are wanted when nothing is demanded."""
        for n in pieces:
            if n not in self._demanded and n not in self._ahead:
                self._ahead[n] = None
                self._place(n)
        while len(self._ahead) > AHEAD:
            self.landed(next(iter(self._ahead)))

    def landed(self, n: int) -> None:
        """It is here, or nobody wants it."""
        self._demanded.pop(n, None)
        self._ahead.pop(n, None)
        self._places.pop(n, None)

    def end_at(self, count: int) -> None:
        """The file turned out to have `count` pieces."""
        for n in [n for n in self._places if n >= count]:
            self.landed(n)

    def rank(self, n: int) -> int:
        """Sort key: what is wanted first is least. What nobody wants comes last, in the file's order."""
        if n in self._demanded:
            return self._places[n]
        if n in self._ahead:
            return _LATER + self._places[n]
        return 2 * _LATER + n

    def _place(self, n: int) -> None:
        self._places[n] = self._next
        self._next += 1

    @property
    def demanded(self) -> bool:
        """Some reader waits."""
        return bool(self._demanded)

    def __contains__(self, n: int) -> bool:
        return n in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[int]:
        yield from self._demanded
        yield from self._ahead
