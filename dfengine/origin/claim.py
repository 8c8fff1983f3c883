"""What one thread of a reader is to fetch, and what became of it so far. Pure."""

from __future__ import annotations

from dfengine.errors import OriginTruncated, SourceGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.origin.kinds import Answer

SKIP = 256 << 10
"""Bytes that are read at once where they are not wanted."""


class Claim:
    """Pieces [first, past) of one thread. body: the main answer, None: a range is to be opened. again: nothing else runs.

    extra: others may run beside it. moved: its connection brought bytes that had not come before. revoked: somebody else has the pieces.
    busy: what came is being put in its place, and nobody revokes it meanwhile. at: when its last byte came, or it began. came: bytes
    that did.
    """

    __slots__ = ("again", "at", "body", "busy", "came", "extra", "first", "moved", "past", "revoked")

    def __init__(self, first: int, past: int, body: Answer | None, again: bool, now: float, moved: bool = False) -> None:
        self.first, self.past, self.body, self.again, self.at, self.moved = first, past, body, again, now, moved
        self.extra = body is None and not again
        self.revoked = self.busy = False
        self.came = 0


class Revoked(SourceGone):
    """Another connection has taken over what this one was to bring."""


def read_past(body: Answer, at: int, stopping: Callable[[], bool]) -> int:
    """Read on to byte `at` of the file; how many bytes were not wanted. Raises OriginTruncated, SourceGone when `stopping`."""
    if body.start > at:
        raise OriginTruncated(f"{body.place} is past byte {at}")
    began, rest = body.start, memoryview(bytearray(min(SKIP, at - body.start)))
    while body.start < at:
        if stopping():
            raise SourceGone("the download was stopped")
        if not body.read_into(rest[: at - body.start]):
            raise OriginTruncated(f"{body.place} ends its answer at byte {body.start}")
    return at - began
