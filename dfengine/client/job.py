"""A job (one piece from one source, for one thread), and the state of a piece that was offered. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from dfengine.client.messages import Where


RATE = 0.5
"""Seconds over which a rate is measured, at least."""

HEDGES = 3
"""Jobs at once, at most, of the piece that a stream's consumer waits for."""

MOST_SOURCES = 8
"""Sources of one piece that are remembered."""


class Job:
    """One piece to fetch from one source. began: when its request was sent, or its turn on the connection came. announced: its end is.

    queued: its request went out behind another one whose answer comes first. came: bytes seen so far; received_at: when there were more.
    silent: nothing came when it was due, so the piece may be fetched from others beside this job. slow: it is silent because others would
    be far quicker. writing: this host's disk is what takes its time.
    """

    __slots__ = (
        "_base", "_mark", "announced", "began", "came", "digest", "lost", "over", "piece", "queued", "received_at", "silent", "slow",
        "source", "writing",
    )  # fmt: skip

    def __init__(self, piece: int, digest: str, source: Where, began: float, queued: bool = False) -> None:
        self.piece, self.digest, self.source, self.began = piece, digest, source, began
        self.announced = self.lost = self.over = self.silent = self.slow = self.writing = False
        self.queued, self.came, self.received_at = queued, 0, began
        self._base = self._mark = began, 0

    def begin(self, now: float) -> None:
        """Its turn on a shared connection has come."""
        self.queued, self.began, self.received_at = False, now, now
        self._base = self._mark = now, 0

    def pause(self, seconds: float, now: float) -> None:
        """This process did not run for so long: what came meanwhile, or did not, says nothing about the source."""
        self.began, self.received_at = min(now, self.began + seconds), now
        self._base = self._mark = now, self.came

    def rate(self, now: float) -> float:
        """Bytes per second of the last RATE to 2 * RATE seconds, as far as it is asked for that often."""
        if now - self._mark[0] >= RATE:
            self._base, self._mark = self._mark, (now, self.came)
        since, before = self._base
        return (self.came - before) / (now - since) if now > since else 0.0


class Piece:
    """One that was offered. slot: CID of the source that the supernode keeps a slot of for it, "" once that was reported as failed."""

    __slots__ = ("digest", "jobs", "landing", "slot", "sources", "tried")

    def __init__(self, digest: str, sources: list[Where]) -> None:
        self.digest, self.sources = digest, sources
        self.tried: set[str] = set()
        self.jobs: list[Job] = []
        self.landing = False
        self.slot = ""

    def offer(self, sources: list[Where]) -> None:
        """These sources have it as well, best first; one that is offered again may be tried again."""
        fresh = {source.cid for source in sources}
        self.sources = (sources + [source for source in self.sources if source.cid not in fresh])[:MOST_SOURCES]
        self.tried -= fresh - {job.source.cid for job in self.jobs}

    @property
    def untried(self) -> Iterator[Where]:
        """Sources that it was not asked of yet, or not since they were offered anew."""
        return (source for source in self.sources if source.cid not in self.tried)

    def spare(self, most: int) -> bool:
        """It runs, and may be asked for once more when it is late: fewer than `most` jobs do."""
        return not self.landing and 1 <= len(self.jobs) < most

    @property
    def silent(self) -> bool:
        """It runs, and every source that it was asked of is silent."""
        return bool(self.jobs) and not self.landing and all(job.silent for job in self.jobs)
