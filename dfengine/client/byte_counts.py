"""Counts a download's bytes by source, and the peers that sent bytes."""

from __future__ import annotations

from time import monotonic

from dfengine.task import SUPERNODE_CID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.messages import Source

MAX_NAMED = 20


class ByteCounts:
    """Verified bytes of the file by source. One thread at a time changes it."""

    __slots__ = ("_first", "_senders", "host", "origin", "peers", "resumed", "supernode")

    def __init__(self) -> None:
        self._senders: dict[tuple[str, int], int] = {}
        self.reset()

    def reset(self, resumed: int = 0) -> None:
        """Start counting: no bytes are fetched yet, and `resumed` bytes are on disk."""
        self.peers = self.supernode = self.origin = 0
        self.host = 0
        """Bytes copied from another download of this host."""
        self.resumed = resumed
        self._first = 0.0
        self._senders.clear()

    def add(self, source: Source | None, length: int) -> None:
        """Count `length` bytes from `source`, None = the origin."""
        self._first = self._first or monotonic()
        if source is None:
            self.origin += length
        elif source.cid.startswith(SUPERNODE_CID):
            self.supernode += length
        else:
            self.peers += length
            sender = source.ip, source.port
            self._senders[sender] = self._senders.get(sender, 0) + length

    def by_source(self) -> dict[str, int]:
        """Bytes by the field names of results and spans."""
        return {"from_peers": self.peers, "from_supernode": self.supernode, "from_origin": self.origin, "from_host": self.host,
                "resumed": self.resumed}

    def report(self, started: float) -> dict[str, int | float]:
        """Fields of a report to the supernode, with the seconds to the first piece. started: start of the download (monotonic seconds)."""
        first = round(self._first - started, 3) if self._first else 0.0
        return {"fromPeers": self.peers, "fromSupernode": self.supernode, "fromOrigin": self.origin, "fromHost": self.host,
                "resumed": self.resumed, "firstPiece": first}

    @property
    def senders(self) -> int:
        """Number of peers that sent bytes: peer servers, each of which may serve several downloads of the file."""
        return len(self._senders)

    @property
    def served(self) -> list[str]:
        """The MAX_NAMED sources that sent the most bytes, as one line of text each."""
        found = {f"peer {ip}:{port}": length for (ip, port), length in self._senders.items()}
        found |= {"the supernode": self.supernode, "the origin": self.origin, "another download of this host": self.host}
        ordered = sorted(((length, who) for who, length in found.items() if length), reverse=True)
        return [f"{who} served {length} bytes" for length, who in ordered[:MAX_NAMED]]

    @property
    def total(self) -> int:
        """Bytes of the file that are on disk or delivered."""
        return self.peers + self.supernode + self.origin + self.host + self.resumed
