"""Which pieces a download on demand wants, and in which order. Pure.

Readers that wait take turns: first comes the first piece of each, in the order in which they asked, then the second of each, and so on. So
a reader of one piece does not wait for the whole of another's file, and neither starves. What is read ahead comes after all of that.

A piece that is here is in no list. A piece that is demanded is not read ahead. What is in no list is not wanted: a download whose lists are
empty asks for nothing.
"""

from __future__ import annotations

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

AHEAD = 256
"""Pieces that are read ahead for all readers together, at most; the oldest leave first."""

_DEMANDED, _READ_AHEAD, _OTHER = range(3)


class Priority:
    """Of one download."""

    def __init__(self) -> None:
        self._readers: dict[int, dict[int, None]] = {}  # reader -> the pieces that it waits for, in its order
        self._demanded: dict[int, list[int]] = {}  # piece -> readers that wait for it
        self._ahead: dict[int, None] = {}
        self._next = 0

    def demand(self, pieces: Iterable[int]) -> int:
        """One more reader waits for these, which are not here, the first one first. Its number, for `withdraw`."""
        reader, self._next = self._next, self._next + 1
        wanted = dict.fromkeys(pieces)
        for n in wanted:
            self._ahead.pop(n, None)
            self._demanded.setdefault(n, []).append(reader)
        if wanted:
            self._readers[reader] = wanted
        return reader

    def withdraw(self, reader: int) -> None:
        """It does not wait any more; some of its pieces may be here meanwhile, or all."""
        for n in self._readers.pop(reader, ()):
            readers = self._demanded[n]
            readers.remove(reader)
            if not readers:
                del self._demanded[n]

    def read_ahead(self, pieces: Iterable[int]) -> None:
        """These, which are not here, are wanted when nothing is demanded."""
        for n in pieces:
            if n not in self._demanded:
                self._ahead[n] = None
        while len(self._ahead) > AHEAD:
            del self._ahead[next(iter(self._ahead))]

    def landed(self, n: int) -> None:
        """It is here, or does not exist."""
        self._ahead.pop(n, None)
        for reader in self._demanded.pop(n, ()):
            wanted = self._readers[reader]
            del wanted[n]
            if not wanted:
                del self._readers[reader]

    def end_at(self, count: int) -> None:
        """The file turned out to have `count` pieces."""
        for n in [n for n in (*self._demanded, *self._ahead) if n >= count]:
            self.landed(n)

    def rank(self, n: int) -> int:
        """Sort key: a piece that a reader waits for, one that is read ahead, or one that nobody wants."""
        return _DEMANDED if n in self._demanded else _READ_AHEAD if n in self._ahead else _OTHER

    def __contains__(self, n: int) -> bool:
        return n in self._demanded or n in self._ahead

    def __len__(self) -> int:
        return len(self._demanded) + len(self._ahead)

    def __iter__(self) -> Iterator[int]:
        """What is wanted, in order."""
        turns, given = deque(map(iter, self._readers.values())), set()
        while turns:
            turn = turns.popleft()
            for n in turn:
                if n not in given:
                    given.add(n)
                    yield n
                    turns.append(turn)
                    break
        yield from self._ahead
