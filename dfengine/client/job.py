"""A job (one piece from one source, for one thread), and the state of an offered piece. Pure."""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from dfengine.client.messages import Source


RATE = 0.5
"""Shortest time in seconds over which a rate is measured."""

HEDGES = 3
"""Most concurrent jobs of the piece that a stream's consumer waits for."""

MAX_SOURCES = 8
"""Most sources of one piece that are remembered."""


class Job:
    """One piece to fetch from one source. began: when its request was sent, or its turn on the connection began. announced: its end
    was announced. queued: its request follows another one on the connection, whose answer arrives first. received: bytes received so far;
    received_at: time of the last ones. silent: no bytes arrived when they were due, so the piece may also be fetched from other sources.
    slow: silent because other sources would be far quicker. writing: this host is writing to disk, so the source is not to blame.
    """

    __slots__ = (
        "_base", "_mark", "announced", "began", "digest", "lost", "over", "piece", "queued", "received", "received_at", "silent", "slow",
        "source", "writing",
    )  # fmt: skip

    def __init__(self, piece: int, digest: str, source: Source, began: float, queued: bool = False) -> None:
        self.piece, self.digest, self.source, self.began = piece, digest, source, began
        self.announced = self.lost = self.over = self.silent = self.slow = self.writing = False
        self.queued, self.received, self.received_at = queued, 0, began
        self._base = self._mark = began, 0

    def begin(self, now: float) -> None:
        """Start the times of the job, whose turn on a shared connection begins."""
        self.queued, self.began, self.received_at = False, now, now
        self._base = self._mark = now, 0

    def pause(self, seconds: float, now: float) -> None:
        """Shift the times: this process did not run for `seconds`, so bytes received or missed meanwhile do not count."""
        self.began, self.received_at = min(now, self.began + seconds), now
        self._base = self._mark = now, self.received

    def rate(self, now: float) -> float:
        """Return the bytes per second of the last RATE to 2 * RATE seconds. Longer if the calls are further apart.

        Infinite until the job has run for RATE seconds since it began or since this process was stopped: the rate is not known yet.
        """
        if now - self._mark[0] >= RATE:
            self._base, self._mark = self._mark, (now, self.received)
        since, before = self._base
        return (self.received - before) / (now - since) if now - since >= RATE else math.inf


class Piece:
    """An offered piece. slot: CID of the source whose slot the supernode reserves for it, "" once that source was reported as failed."""

    __slots__ = ("committing", "digest", "jobs", "slot", "sources", "tried")

    def __init__(self, digest: str, sources: list[Source]) -> None:
        self.digest, self.sources = digest, sources
        self.tried: set[str] = set()
        self.jobs: list[Job] = []
        self.committing = False
        self.slot = ""

    def offer(self, sources: list[Source]) -> None:
        """Add sources that have the piece, best first. A source that is offered again may be tried again."""
        fresh = {source.cid for source in sources}
        self.sources = (sources + [source for source in self.sources if source.cid not in fresh])[:MAX_SOURCES]
        self.tried -= fresh - {job.source.cid for job in self.jobs}

    @property
    def untried(self) -> Iterator[Source]:
        """Sources from which the piece was not requested since they were last offered."""
        return (source for source in self.sources if source.cid not in self.tried)

    def may_hedge(self, most: int) -> bool:
        """Whether the piece is being fetched, by fewer than `most` jobs, so that one more job may start when it is late."""
        return not self.committing and 1 <= len(self.jobs) < most

    @property
    def silent(self) -> bool:
        """Whether the piece is being fetched and all its jobs are silent."""
        return bool(self.jobs) and not self.committing and all(job.silent for job in self.jobs)
