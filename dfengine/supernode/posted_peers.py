"""Peers that a tool has added by POST /api/v1/peers, and that no download has registered. Pure.

1.x keeps them until a DELETE. Here their number is limited, and the oldest are dropped for new ones.
"""

from __future__ import annotations

from collections.abc import Iterator

from dfengine.net.client_quota import Quota
from dfengine.task import Peer, client_of

MAX_PEERS = 1000
"""Peers of all clients."""

EACH = 10
"""Percent of MAX_PEERS for one client."""

LIFE = 86400.0
"""Seconds after which a peer is dropped."""


class PostedPeers:
    """Peers by their ids. Times are seconds of any clock."""

    def __init__(self) -> None:
        self._peers: dict[str, tuple[Peer, str, float]] = {}
        self._shares = Quota(MAX_PEERS, EACH)

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        """Iterate from the oldest."""
        return (peer for peer, _, _ in self._peers.values())

    def __reversed__(self) -> Iterator[Peer]:
        return (peer for peer, _, _ in reversed(self._peers.values()))

    def get(self, name: str) -> Peer | None:
        """Return the peer with this id."""
        found = self._peers.get(name)
        return found[0] if found is not None else None

    def add(self, peer: Peer, client: str, now: float) -> None:
        """Add a peer from the address `client`; if this client has its share, its oldest peer is dropped."""
        self.expire(now)
        if self._shares.full(client):
            own = client_of(client)
            self.remove(next(name for name, (_, other, _) in self._peers.items() if client_of(other) == own))
        elif len(self._peers) >= MAX_PEERS:
            self.remove(next(iter(self._peers)))
        self._shares.acquire(client)
        self._peers[peer.id] = peer, client, now

    def remove(self, name: str) -> bool:
        """Remove a peer; False if none has this id."""
        found = self._peers.pop(name, None)
        if found is not None:
            self._shares.release(found[1])
        return found is not None

    def expire(self, now: float) -> None:
        """Drop the peers that are older than LIFE."""
        while self._peers:
            name, (_, _, at) = next(iter(self._peers.items()))
            if now - at < LIFE:
                return
            self.remove(name)
