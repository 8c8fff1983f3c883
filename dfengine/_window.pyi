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
        """One past the last piece that may be asked for now."""
    @property
    def done(self) -> bool:
        """Every piece of a known count is acknowledged."""
    def ask(self, n: int) -> None:
        """n was asked of a source, perhaps of a second one. Raises BadPiece outside the window, IllegalEvent when it is here."""
    def fail(self, n: int) -> None:
        """A source did not give n; it is wanted again unless another one did. Raises BadPiece, IllegalEvent."""
    def arrive(self, n: int) -> bool:
        """n is here, verified; True the first time. Raises BadPiece."""
    def ack(self, n: int) -> int:
        """n is acknowledged; returns how many pieces una moved. Raises BadPiece."""
    def state(self, n: int) -> str:
        """`wanted`, `asked`, `here` or `acknowledged`. Raises BadPiece past the window's end."""
    def wanted(self, n: int) -> bool: ...
    def acked(self, n: int) -> bool: ...
    def here(self, n: int) -> bool: ...
    def first_wanted(self, start: int = 0) -> int:
        """Lowest wanted piece from `start` on, -1 when the window has none."""
    def pending(self) -> list[int]: ...
    def set_count(self, count: int) -> None:
        """The origin ended: `count` pieces in all. Raises BadValue when it contradicts what was seen or told."""
    def resize(self, wnd: int) -> None:
        """Another size, pieces; what was inside stays inside. Raises BadValue, as for a regular window."""
