"""What a thread of a download is given to do, and what is known of a piece meanwhile. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.messages import Where


MOST_SOURCES = 8
"""Sources of one piece that are remembered."""


class Job:
    """One piece to fetch from one source. began: when its request was sent, or its turn on the connection came. told: that it is ending.

    queued: its request went out behind another one whose answer comes first. came: bytes seen so far, and heard: when there were more.
    silent: nothing came when it was due, so the piece may be fetched from others beside this job. writing: this host's disk is what takes
    its time.
    """

    __slots__ = ("began", "came", "digest", "heard", "hedge", "lost", "over", "piece", "queued", "silent", "source", "told", "writing")

    def __init__(self, piece: int, digest: str, source: Where, hedge: bool, began: float, queued: bool = False) -> None:
        self.piece, self.digest, self.source, self.hedge, self.began = piece, digest, source, hedge, began
        self.told = self.lost = self.over = self.silent = self.writing = False
        self.queued, self.came, self.heard = queued, 0, began


class Piece:
    """One that was offered. slot: CID of the source that the supernode keeps a slot of for it, "" once that was told to have failed."""

    __slots__ = ("digest", "jobs", "landing", "slot", "sources", "tried")

    def __init__(self, digest: str, sources: list[Where]) -> None:
        self.digest, self.sources = digest, sources
        self.tried: set[str] = set()
        self.jobs: list[Job] = []
        self.landing = False
        self.slot = ""

    def offer(self, sources: list[Where]) -> None:
        """It can be had from these as well, best first; whoever is offered anew may be tried anew."""
        fresh = {source.cid for source in sources}
        self.sources = (sources + [source for source in self.sources if source.cid not in fresh])[:MOST_SOURCES]
        self.tried -= fresh - {job.source.cid for job in self.jobs}

    @property
    def silent(self) -> bool:
        """It runs, and every source that it was asked of is silent."""
        return bool(self.jobs) and not self.landing and all(job.silent for job in self.jobs)
