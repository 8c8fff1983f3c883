"""The registered downloads: how to answer each, and the limits on their number."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dfengine.errors import RemoteError, SupernodeFull
from dfengine.net.client_quota import SHARE, BoundedQuota, Quota
from dfengine.net.http import ConnectionState
from dfengine.supernode.swarm.small_set import added, removed
from dfengine.task import Peer, client_of

MAX_TEXTS = 128 << 20
"""Maximum number of characters in the texts of all registrations."""

MAX_DOWNLOADS = 200_000
"""Maximum number of registered downloads; further ones are refused."""

Key = tuple[str, str]
"""(task, CID)."""


@dataclass(slots=True)
class RegisteredDownload:
    """A registered download. super_node_ip: the supernode's address as the download uses it. native: version of its pull protocol, 0 = 1.x.

    address: client address at which it was first seen. expected_length: the file's length that it expects, 0: none. connection: of its
    latest pull. key: its own.
    """

    super_node_ip: str
    call_system: str
    native: int
    peer: Peer
    address: str = ""
    expected_length: int = 0
    connection: ConnectionState | None = None
    key: Key = ("", "")

    @property
    def texts(self) -> int:
        """Number of characters in its texts."""
        peer = self.peer
        fields = (self.super_node_ip, self.call_system, self.key[1], peer.ip, peer.path, peer.host, peer.id, peer.version, peer.location)
        return sum(map(len, fields))

    def check_length(self, length: int) -> None:
        """Raise RemoteError if it expects another length than `length` bytes; -1, unknown, contradicts none."""
        if self.expected_length > 0 and length >= 0 and length != self.expected_length:
            raise RemoteError(f"the origin's file has {length} bytes, {self.expected_length} were expected")

    def is_of(self, address: str) -> bool:
        """Whether requests from `address` may be the download's own."""
        return address == self.address or client_of(address) == client_of(self.address)


class RegisteredDownloads(dict[Key, RegisteredDownload]):
    """Registered downloads by (task, CID). share: percent of them for one client."""

    def __init__(self, share: int = SHARE) -> None:
        super().__init__()
        self._shares = Quota(MAX_DOWNLOADS, share)
        self._texts = BoundedQuota(MAX_TEXTS, share)
        self._keys: dict[str, Collection[Key]] = {}
        """Id of a peer -> its downloads."""

    def of_peer(self, name: str) -> Collection[Key]:
        """Return the keys of the downloads of the peer with this id."""
        return self._keys.get(name, ())

    def check_limits(self, key: Key, address: str) -> None:
        """Raise SupernodeFull if a limit is reached, in total or of the client at `address`."""
        if key in self:
            return
        if len(self) >= MAX_DOWNLOADS:
            raise SupernodeFull(f"this supernode has {MAX_DOWNLOADS} downloads already")
        if self._shares.full(address):
            raise SupernodeFull(f"this supernode has {self._shares.limit} downloads of {address} already")
        if self._texts.full(address):
            raise SupernodeFull(f"this supernode stores as many characters of registrations of {address}, or of all clients, as it may")

    def add(self, key: Key, member: RegisteredDownload) -> None:
        """Add a download; if it was registered before, it keeps its peer, its address and its connection."""
        known = self.get(key)
        if known is None:
            self._shares.acquire(member.address)
            self._keys[member.peer.id] = added(self._keys.get(member.peer.id, ()), key)
        else:
            key = known.key
            member.peer, member.address, member.connection = known.peer, known.address, known.connection
            if member.connection is not None and member.connection.member is known:
                member.connection.member = member
            self._texts.release(known.address, known.texts)
        member.key = key
        self._texts.add(member.address, member.texts)
        self[key] = member

    def remove(self, key: Key) -> RegisteredDownload | None:
        """Remove a download; None: it was not registered. The caller notifies the swarm."""
        member = self.pop(key, None)
        if member is not None:
            self._shares.release(member.address)
            self._texts.release(member.address, member.texts)
            keys = removed(self._keys[member.peer.id], member.key)
            if keys:
                self._keys[member.peer.id] = keys
            else:
                del self._keys[member.peer.id]
        return member
