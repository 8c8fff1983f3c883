from typing import final

from dfengine._bitset import Bitset
from dfengine.supernode.swarm._state import Download

@final
class Holders:
    """The sources of a task, each at its holder index. Raises BadValue where no member is at an index, BadPiece outside 0..size-1."""

    def __new__(cls, size: int, seed: int = 0) -> Holders: ...
    @property
    def size(self) -> int: ...
    @property
    def held(self) -> Bitset: ...
    def grow(self, size: int) -> None:
        """Make room for `size` pieces, the new ones held by nobody. A smaller size changes nothing."""
    def join(self, member: Download, have: Bitset) -> int:
        """Add `member` with the pieces it has, closed; returns its holder index. `have` is read as long as it is a member."""
    def leave(self, index: int) -> None:
        """Remove the member, and everything it has."""
    def gain(self, index: int, n: int) -> int:
        """The member has got piece n; its bit is set already."""
    def gain_all(self, index: int, pieces: Bitset) -> int:
        """The same for each of `pieces`."""
    def lose(self, index: int, n: int) -> int:
        """The member no longer has piece n; its bit is clear already. Raises BadValue when nobody had it."""
    def cut(self, size: int) -> None:
        """Nobody has a piece from `size` on any more; the caller clears these bits of the haves."""
    def open(self, index: int) -> int:
        """The member has a free upload slot. Again: nothing changes."""
    def close(self, index: int) -> int:
        """The member has no free upload slot. Again: nothing changes."""
    def is_open(self, index: int) -> bool: ...
    def copies(self, n: int) -> int:
        """Finished copies of piece n among the members."""
    def useful(self, want: Bitset, first: int, step: int = 0) -> tuple[Download, int] | None:
        """(member, step) of the next open member that has a piece of `want`, else None.

        The open ones are visited around from index `first`; `step` of them count as visited already.
        """
    def open_holders(self, n: int) -> list[Download]:
        """Every open member that has piece n: a scan of the open ones."""
