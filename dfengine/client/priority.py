"""The pieces that a download on demand wants, in order. Pure.

Waiting readers take turns: first the first piece of each, in the order in which the readers asked, then the second of each, and so on. So
a reader of one piece does not wait for all pieces of another reader, and neither starves. Pieces to read ahead follow after all of these.

A stored piece is in no list. A demanded piece is not in the list to read ahead. Only pieces in a list are wanted: a download whose lists
are empty requests no piece.
"""

from __future__ import annotations

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_PIECES = 256
"""Most pieces to read ahead for all readers together; the oldest are dropped first."""

_DEMANDED, _READ_AHEAD, _OTHER = range(3)


class Priority:
    """The wanted pieces of one download."""

    def __init__(self) -> None:
        self._readers: dict[int, dict[int, None]] = {}  # reader -> the pieces that it waits for, in its order
        self._demanded: dict[int, list[int]] = {}  # piece -> readers that wait for it
        self._ahead: dict[int, None] = {}
        self._next = 0

    def demand(self, pieces: Iterable[int]) -> int:
        """Add a reader that waits for `pieces`, which are missing, in this order. Return its number, for `withdraw`."""
        reader, self._next = self._next, self._next + 1
        wanted = dict.fromkeys(pieces)
        for n in wanted:
            self._ahead.pop(n, None)
            self._demanded.setdefault(n, []).append(reader)
        if wanted:
            self._readers[reader] = wanted
        return reader

    def withdraw(self, reader: int) -> None:
        """Remove a reader, which no longer waits; some or all of its pieces may be stored."""
        for n in self._readers.pop(reader, ()):
            readers = self._demanded[n]
            readers.remove(reader)
            if not readers:
                del self._demanded[n]

    def read_ahead(self, pieces: Iterable[int]) -> None:
        """Want `pieces`, which are missing, while no piece is demanded."""
        for n in pieces:
            if n not in self._demanded:
                self._ahead[n] = None
        while len(self._ahead) > MAX_PIECES:
            del self._ahead[next(iter(self._ahead))]

    def on_stored(self, n: int) -> None:
        """Remove piece n, which is stored, or does not exist."""
        self._ahead.pop(n, None)
        for reader in self._demanded.pop(n, ()):
            wanted = self._readers[reader]
            del wanted[n]
            if not wanted:
                del self._readers[reader]

    def end_at(self, count: int) -> None:
        """Remove the pieces beyond the file's end: it has `count` pieces."""
        for n in [n for n in (*self._demanded, *self._ahead) if n >= count]:
            self.on_stored(n)

    def rank(self, n: int) -> int:
        """Sort key: a piece that a reader waits for, then one to read ahead, then one that is not wanted."""
        return _DEMANDED if n in self._demanded else _READ_AHEAD if n in self._ahead else _OTHER

    def __contains__(self, n: int) -> bool:
        return n in self._demanded or n in self._ahead

    def __len__(self) -> int:
        return len(self._demanded) + len(self._ahead)

    def __iter__(self) -> Iterator[int]:
        """Wanted pieces, in order."""
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
