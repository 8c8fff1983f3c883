from typing import final

from dfengine._bitset import Bitset
from dfengine.supernode.swarm._state import Download

@final
class Holders:
    """The sources of a task, each at its holder index. Raises BadValue where an index has no member, BadPiece outside 0..size-1."""

    def __new__(cls, size: int, seed: int = 0) -> Holders: ...
    @property
    def size(self) -> int: ...
    @property
    def held(self) -> Bitset: ...
    def grow(self, size: int) -> None:
        """Make room for `size` pieces, the new ones without holders. A smaller size changes nothing."""
    def join(self, member: Download, have: Bitset) -> int:
        """Add `member` with its pieces, closed; return its holder index. `have` is read as long as it is a member."""
    def leave(self, index: int) -> None:
        """Remove the member and its copies."""
    def gain(self, index: int, n: int) -> int:
        """Count piece n for the member; its bit is set already."""
    def gain_all(self, index: int, pieces: Bitset) -> int:
        """Apply `gain` to each of `pieces`."""
    def lose(self, index: int, n: int) -> int:
        """Remove piece n from the member; its bit is clear already. Raises BadValue when the piece has no holder."""
    def cut(self, size: int) -> None:
        """Remove all copies of pieces from `size` on; the caller clears these bits of the haves."""
    def open(self, index: int) -> int:
        """The member has a free upload slot. May be repeated."""
    def close(self, index: int) -> int:
        """The member has no free upload slot. May be repeated."""
    def is_open(self, index: int) -> bool: ...
    def copies(self, n: int) -> int:
        """Number of finished copies of piece n among the members."""
    def useful(self, want: Bitset, first: int, step: int = 0) -> tuple[Download, int] | None:
        """Return (member, step) of the next open member that has a piece of `want`, else None.

        Open members are visited around from index `first`; `step` of them count as visited already.
        """
    def open_holders(self, n: int) -> list[Download]:
        """Return every open member that has piece n, by a scan of the open ones."""
