"""What one thread of a reader is to fetch, what became of it so far, and how quick its connection is. Pure."""

from __future__ import annotations

from dfengine.errors import OriginTruncated, SourceGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.origin.kinds import Answer

SKIP = 256 << 10
"""Bytes that are read at once where they are not wanted."""

WINDOW = 1.0
"""Seconds over which a rate is measured at least, and twice as many at most while somebody looks."""


class Claim:
    """Pieces [first, past) of one thread. body: the main answer, None: a range is to be opened. again: nothing else runs.

    extra: others may run beside it. moved: its connection brought bytes that had not come before. revoked: somebody else has the pieces.
    gives_way: its thread is to leave it, at the byte that it has come to. busy: what came is being put in its place, and nobody revokes it
    meanwhile. began: when; at: when its last byte came, or it began. came: bytes that did. got: bytes of piece `first` that are here.
    connection: its number. slow_since: see `giving_way`. Times are monotonic seconds.
    """

    __slots__ = (
        "_asked", "_base", "_mark", "_waited", "again", "at", "began", "body", "busy", "came", "connection", "extra", "first", "gives_way",
        "got", "moved", "past", "revoked", "slow_since",
    )  # fmt: skip

    def __init__(
        self, first: int, past: int, body: Answer | None, again: bool, now: float, moved: bool = False, connection: int = 0
    ) -> None:
        self.first, self.past, self.body, self.again, self.moved, self.connection = first, past, body, again, moved, connection
        self.began = self.at = now
        self.extra = body is None and not again
        self.revoked = self.busy = self.gives_way = False
        self.came = self.got = 0
        self.slow_since: float | None = None
        self._asked: float | None = None
        self._waited = 0.0
        self._base = self._mark = now, 0, 0.0

    def check(self) -> None:
        """Raises GivesWay, Revoked when its thread is to leave it."""
        if self.revoked:
            raise Revoked("revoked")
        if self.gives_way:
            raise GivesWay("others bring the rest")

    def asks(self, now: float) -> None:
        """Its thread waits for bytes of the origin from now on."""
        self._asked = now

    def brought(self, count: int, now: float) -> None:
        """So many bytes came."""
        self.at, self.busy = now, True
        self.came += count
        if self._asked is not None:
            self._waited, self._asked = self._waited + now - self._asked, None

    def waited(self, now: float) -> float:
        """Seconds that its thread has waited for the origin."""
        asked = self._asked
        return self._waited + (now - asked if asked is not None else 0.0)

    def silent(self, now: float) -> float:
        """Seconds that its thread has waited for the next byte, after others had come."""
        asked = self._asked
        return now - asked if asked is not None and (self.came or self.moved) else 0.0

    def sample(self, now: float) -> None:
        """Take a sample for `rate`."""
        if now - self._mark[0] >= WINDOW:
            self._base, self._mark = self._mark, (now, self.came, self.waited(now))

    def rate(self, now: float) -> float | None:
        """Bytes per second of waiting; None while nothing can be said, as of a thread that hardly waited."""
        since, came, waited = self._base
        seconds = self.waited(now) - waited
        return (self.came - came) / seconds if now - since >= WINDOW and seconds >= WINDOW / 2 else None

    def pace(self, now: float) -> float:
        """Bytes per second, pauses of this side included; 0 while nothing can be said."""
        since, came, _ = self._base
        return (self.came - came) / (now - since) if now - since >= WINDOW else 0.0

    def average(self, now: float) -> float:
        """Bytes per second of waiting, since it began."""
        waited = self.waited(now)
        return self.came / waited if waited > 0 else 0.0


class Revoked(SourceGone):
    """Another connection has taken over what this one was to bring."""


class GivesWay(SourceGone):
    """Other connections go on where this one has come to."""


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
