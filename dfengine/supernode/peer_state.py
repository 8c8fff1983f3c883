"""A peer as the supernode sees it: a host's piece server (ip:port), its upload slots and how far it is trusted.

Several CIDs, of several tasks, belong to one peer: slots and isolation are the peer's, holdings are the CID's.
A CID that serves nobody (port 0) has a peer of its own, so that two of them on one host are not taken for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfengine import task

if TYPE_CHECKING:
    from dfengine.supernode.download import Download

Key = tuple[str, int, str]


def key_of(peer: task.Peer, cid: str) -> Key:
    """ip, port, and for one that serves nobody its CID."""
    return (peer.ip, peer.port, "" if peer.port else cid)


class PeerState:
    """`used` of `slots` uploads are leased. `isolated`: no source for anybody, until the deadline in `bucket`.

    failures: client ip -> its share of the consecutive failures. accusers: client ips that found wrong bytes.
    proven: isolated for wrong bytes.
    shunned_by: CIDs that no longer get this source, with their failures counted in `Download.charged`.
    """

    __slots__ = (
        "accusers",
        "bucket",
        "downloads",
        "failures",
        "isolated",
        "key",
        "proven",
        "seen",
        "shunned_by",
        "slots",
        "used",
    )

    def __init__(self, key: Key, slots: int, now: float) -> None:
        self.key = key
        self.slots = slots
        self.used = 0
        self.seen = now
        self.downloads: tuple[Download, ...] = ()
        self.failures: dict[str, int] | None = None
        self.accusers: dict[str, None] | None = None
        self.isolated = False
        self.proven = False
        self.bucket = 0
        self.shunned_by: dict[Download, None] | None = None

    @property
    def ip(self) -> str:
        """Its address."""
        return self.key[0]

    @property
    def has_slot(self) -> bool:
        """A free upload slot."""
        return self.used < self.slots

    def __repr__(self) -> str:
        return f"<peer {self.key[0]}:{self.key[1]} {self.used}/{self.slots}{' isolated' if self.isolated else ''}>"
