from typing import final

@final
class Window:
    """A window of `wnd` pieces (-1: regular) over a task of `count` pieces (-1: unknown yet). Raises BadValue."""

    def __new__(cls, wnd: int, count: int = -1) -> Window: ...
    @property
    def una(self) -> int:
        """Oldest piece that is not acknowledged."""
    @property
    def wnd(self) -> int:
        """Pieces, -1: regular mode."""
    @property
    def count(self) -> int:
        """Pieces of the task, -1 while unknown."""
    @property
    def end(self) -> int:
        """One past the last piece that may arrive now."""
    def arrive(self, n: int) -> bool:
        """Mark piece n as received and verified; True the first time. Raises BadPiece outside the window; False for pieces below una."""
    def ack(self, n: int) -> int:
        """Acknowledge piece n; return the number of pieces that una moved. Raises BadPiece."""
    def slide(self, past: int) -> int:
        """Acknowledge all pieces below `past`; return the number of newly acknowledged ones. Raises BadPiece past the task's end.

        The cost is proportional to the window's width, whatever the distance.
        """
    def wanted(self, n: int) -> bool:
        """Whether n is in the window, and neither received nor acknowledged."""
    def acked(self, n: int) -> bool:
        """Whether n is acknowledged."""
    def here(self, n: int) -> bool:
        """Whether n is received and not acknowledged."""
    def set_count(self, count: int) -> None:
        """Set the number of pieces, at the origin's end. Raises BadValue if it contradicts an earlier count or a touched piece."""
