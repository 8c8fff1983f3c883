"""What a thread of a download is given to do. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.messages import Where


class Job:
    """One piece to fetch from one source. began: when its request was sent, or its turn on the connection came. told: that it is ending."""

    __slots__ = ("began", "digest", "hedge", "lost", "over", "piece", "source", "told")

    def __init__(self, piece: int, digest: str, source: Where, hedge: bool, began: float) -> None:
        self.piece, self.digest, self.source, self.hedge, self.began = piece, digest, source, hedge, began
        self.told = self.lost = self.over = False
