"""The pieces that one thread of a reader fetches, their progress, and the speed of its connection. Pure."""

from __future__ import annotations

from dfengine.errors import OriginTruncated, SourceGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.origin.origin_interface import Answer

SKIP = 256 << 10
"""Bytes per read where bytes are skipped."""

WINDOW = 1.0
"""Minimum seconds over which a rate is measured; at most twice as many while `sample` is called often."""


class Claim:
    """Pieces [first, past) of one thread. body: the main answer, None: a range is to be opened. alone: no other connection runs.

    concurrent: others may run beside it. progressed: its connection received new bytes. revoked: another claim has the pieces. preempted:
    its thread is to leave it, at the byte that it has reached. writing: received bytes are being written to their place, and the claim
    cannot be revoked meanwhile. began: start time; last_byte_at: time of its last byte, or its start. received_bytes: since it began.
    piece_bytes: bytes of piece `first` that are stored. connection: its number. slow_since: see `slow_connections`. Times are monotonic
    seconds.
    """

    __slots__ = (
        "_base", "_mark", "_wait_began", "_waited", "alone", "began", "body", "concurrent", "connection", "first", "last_byte_at", "past",
        "piece_bytes", "preempted", "progressed", "received_bytes", "revoked", "slow_since", "writing",
    )  # fmt: skip

    def __init__(
        self, first: int, past: int, body: Answer | None, alone: bool, now: float, progressed: bool = False, connection: int = 0
    ) -> None:
        self.first, self.past, self.body, self.alone, self.progressed, self.connection = first, past, body, alone, progressed, connection
        self.began = self.last_byte_at = now
        self.concurrent = body is None and not alone
        self.revoked = self.writing = self.preempted = False
        self.received_bytes = self.piece_bytes = 0
        self.slow_since: float | None = None
        self._wait_began: float | None = None
        self._waited = 0.0
        self._base = self._mark = now, 0, 0.0

    def check(self) -> None:
        """Raise Preempted or Revoked when its thread is to leave it."""
        if self.revoked:
            raise Revoked("revoked")
        if self.preempted:
            raise Preempted("others fetch the rest")

    def begin_wait(self, now: float) -> None:
        """Its thread waits for bytes of the origin from now on."""
        self._wait_began = now

    def received(self, count: int, now: float) -> None:
        """Record `count` received bytes."""
        self.last_byte_at, self.writing = now, True
        self.received_bytes += count
        if self._wait_began is not None:
            self._waited, self._wait_began = self._waited + now - self._wait_began, None

    def pause(self, seconds: float, now: float) -> None:
        """Shift the wait in progress: this process did not run for `seconds`."""
        if self._wait_began is not None:
            self._wait_began = min(now, self._wait_began + seconds)

    @property
    def waits_since(self) -> float | None:
        """From when on its thread waits for a response or for bytes of the origin; None: it does not."""
        return self.began if self.body is None else self._wait_began

    def waited(self, now: float) -> float:
        """Seconds that its thread has waited for the origin."""
        asked = self._wait_began
        return self._waited + (now - asked if asked is not None else 0.0)

    def silent(self, now: float) -> float:
        """Seconds that its thread has waited for the next byte since earlier ones arrived."""
        asked = self._wait_began
        return now - asked if asked is not None and (self.received_bytes or self.progressed) else 0.0

    def sample(self, now: float) -> None:
        """Take a sample for `rate`."""
        if now - self._mark[0] >= WINDOW:
            self._base, self._mark = self._mark, (now, self.received_bytes, self.waited(now))

    def rate(self, now: float) -> float | None:
        """Bytes per second of waiting; None while there are too few data, as for a thread that hardly waited."""
        since, came, waited = self._base
        seconds = self.waited(now) - waited
        return (self.received_bytes - came) / seconds if now - since >= WINDOW and seconds >= WINDOW / 2 else None

    def pace(self, now: float) -> float:
        """Bytes per second, pauses of this side included; 0 while there are too few data."""
        since, came, _ = self._base
        return (self.received_bytes - came) / (now - since) if now - since >= WINDOW else 0.0

    def average(self, now: float) -> float:
        """Bytes per second of waiting, since the claim began."""
        waited = self.waited(now)
        return self.received_bytes / waited if waited > 0 else 0.0


class Revoked(SourceGone):
    """Another connection has taken over the pieces of this claim."""


class Preempted(SourceGone):
    """Other connections continue from the byte that this one has reached."""


def read_past(body: Answer, at: int, stopping: Callable[[], bool]) -> None:
    """Read on to byte `at` of the file. Raises OriginTruncated, SourceGone when `stopping`."""
    if body.start > at:
        raise OriginTruncated(f"{body.place} is past byte {at}")
    rest = memoryview(bytearray(min(SKIP, at - body.start)))
    while body.start < at:
        if stopping():
            raise SourceGone("the download was stopped")
        if not body.read_into(rest[: at - body.start]):
            raise OriginTruncated(f"{body.place} ends its answer at byte {body.start}")
