"""What a download counts: bytes by where they came from, and why the origin was asked."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.messages import Where

CDN = "cdnnode:"
"""How a supernode's own CID begins."""


class Tally:
    """Verified bytes of the file by source. One thread at a time changes it."""

    __slots__ = ("origin", "peers", "resumed", "supernode")

    def __init__(self) -> None:
        self.peers = self.supernode = self.origin = self.resumed = 0

    def add(self, source: Where | None, length: int) -> None:
        """`length` bytes came from `source`, None = the origin."""
        if source is None:
            self.origin += length
        elif source.cid.startswith(CDN):
            self.supernode += length
        else:
            self.peers += length

    @property
    def total(self) -> int:
        """Bytes that are here."""
        return self.peers + self.supernode + self.origin + self.resumed
