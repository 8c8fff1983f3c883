"""What a thread of a download is given to do, and what a plan knows of a piece. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.messages import Where


class Job:
    """One piece to fetch from one source. began: when its request was sent, or its turn on the connection came. told: that it is ending.

    first: seconds from there to the first byte of the answer, 0 until it came.
    """

    __slots__ = ("began", "digest", "first", "hedge", "lost", "over", "piece", "source", "told")

    def __init__(self, piece: int, digest: str, source: Where, hedge: bool, began: float) -> None:
        self.piece, self.digest, self.source, self.hedge, self.began = piece, digest, source, hedge, began
        self.first = 0.0
        self.told = self.lost = self.over = False


class Piece:
    """slot: CID of the source that the supernode keeps a slot of for this piece, "" once that was told to have failed."""

    __slots__ = ("digest", "jobs", "landing", "slot", "sources", "tried")

    def __init__(self, digest: str, sources: list[Where]) -> None:
        self.digest, self.sources = digest, sources
        self.tried: set[str] = set()
        self.jobs: list[Job] = []
        self.landing = False
        self.slot = ""
