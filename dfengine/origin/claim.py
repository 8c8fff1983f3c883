"""What one thread of a reader is to fetch, and what became of it so far. Pure."""

from __future__ import annotations

from dfengine.errors import SourceGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.origin.body import Body


class Claim:
    """Pieces [first, past) of one thread. body: the lead, or None: a range is to be opened. again: nothing else runs. extra: something may.

    moved: its connection brought bytes that had not come before. revoked: somebody else has the pieces. busy: what came is
    being put in its place, and nobody revokes it meanwhile. at: when its last byte came, or it began.
    """

    __slots__ = ("again", "at", "body", "busy", "extra", "first", "moved", "past", "revoked")

    def __init__(self, first: int, past: int, body: Body | None, again: bool, now: float, moved: bool = False) -> None:
        self.first, self.past, self.body, self.again, self.at, self.moved = first, past, body, again, now, moved
        self.extra = body is None and not again
        self.revoked = self.busy = False


class Revoked(SourceGone):
    """Another connection has taken over what this one was to bring."""
