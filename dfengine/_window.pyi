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
        """Pieces, -1 = regular."""
    @property
    def count(self) -> int:
        """Pieces of the task, -1 while unknown."""
    @property
    def end(self) -> int:
        """One past the last piece that may arrive now."""
    def arrive(self, n: int) -> bool:
        """n is here, verified; True the first time. Raises BadPiece outside the window; nothing below una is."""
    def ack(self, n: int) -> int:
        """n is acknowledged; returns how many pieces una moved. Raises BadPiece."""
    def slide(self, past: int) -> int:
        """All pieces below `past` are acknowledged; returns how many were not before. Raises BadPiece past the task's end.

        Costs as much as the window is wide, however far it goes.
        """
    def wanted(self, n: int) -> bool:
        """n is in the window, and neither here nor acknowledged."""
    def acked(self, n: int) -> bool:
        """n is acknowledged."""
    def here(self, n: int) -> bool:
        """n is here and not acknowledged."""
    def set_count(self, count: int) -> None:
        """The origin ended: `count` pieces in all. Raises BadValue when it contradicts what was seen or told."""
