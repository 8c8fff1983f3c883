"""Figures of hosts, summed over their downloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dfengine.supernode.console.api_types import HostRow

if TYPE_CHECKING:
    from dfengine.supernode.console.queries import HostQuery
    from dfengine.supernode.console.rates import Rates
    from dfengine.supernode.registered_downloads import RegisteredDownload
    from dfengine.supernode.supernode_state import SupernodeState
    from dfengine.supernode.swarm._state import Download, PeerState

TRUST = {"silent": 0, "trusted": 1, "unproved": 2, "isolated": 3}
"""Rank of a trust; a host with several peers has the highest one."""


def trust(download: Download | None) -> str:
    """Return the trust in a download's peer as a source."""
    if download is None or not download.serves:
        return "silent"
    return "isolated" if download.peer.isolated else "unproved" if download.peer.unproved else "trusted"


class _Host:
    __slots__ = ("down", "member", "peers", "receiving", "seen", "total", "trust", "unfinished", "up")

    def __init__(self, member: RegisteredDownload) -> None:
        self.member = member
        self.peers: dict[PeerState, None] = {}
        self.total = self.unfinished = self.receiving = 0
        self.down = self.up = 0.0
        self.trust = "silent"
        self.seen = 0.0


class HostFigures:
    """The figures of one walk over all downloads."""

    def __init__(self, state: SupernodeState) -> None:
        self.hosts: dict[tuple[str, str, str], _Host] = {}
        self._state = state
        self._sizes: dict[str, float] = {}

    def add(self, member: RegisteredDownload) -> None:
        """Add a download."""
        key = (member.address, member.peer.ip, member.peer.host)
        host = self.hosts.get(key)
        if host is None:
            host = self.hosts[key] = _Host(member)
        elif member.peer.version:
            host.member = member  # the latest registration has the present version and location
        host.total += 1
        task, cid = member.key
        swarm = self._state.swarm.tasks.get(task)
        download = swarm.downloads.get(cid) if swarm is not None else None
        if swarm is None or download is None:
            return
        size = self._size(task)
        host.peers[download.peer] = None
        host.unfinished += download.got != swarm.count
        host.receiving += len(download.running)
        host.down += download.got * size
        host.up += download.given * size
        host.seen = max(host.seen, download.seen)
        found = trust(download)
        if TRUST[found] > TRUST[host.trust]:
            host.trust = found

    def _size(self, task: str) -> float:
        """Return the average bytes of a piece."""
        size = self._sizes.get(task)
        if size is None:
            fetch = self._state.fetch_pool.fetches.get(task)
            geometry = fetch.file.geometry if fetch is not None and fetch.file is not None else None
            size = 0.0
            if geometry is not None:
                size = geometry.length / geometry.count if geometry.length >= 0 and geometry.count > 0 else float(geometry.content_size)
            self._sizes[task] = size
        return size

    def row(self, key: tuple[str, str, str], host: _Host, rates: Rates, now: float) -> HostRow:
        """Return the row of a host. now: loop seconds."""
        peer: Any = host.member.peer
        return HostRow(
            host=peer.host, address=host.member.address, ip=peer.ip, version=peer.version, location=peer.location,
            system=host.member.call_system, trust=host.trust, downloads=host.total, unfinished=host.unfinished, receiving=host.receiving,
            sending=sum(each.uploads for each in host.peers), slots=sum(each.slots for each in host.peers),
            blocked_by=sum(len(each.blocked_by or ()) for each in host.peers),
            down_rate=rates.rate((key, "down"), host.down, now), up_rate=rates.rate((key, "up"), host.up, now),
            seen=max(0.0, now - host.seen) if host.seen else 0.0,
        )  # fmt: skip


def matches(query: HostQuery, found: HostRow) -> bool:
    """Whether a host matches the query."""
    if query.trust and found.trust != query.trust:
        return False
    text = query.q.lower()
    return not text or any(text in each.lower() for each in (found.host, found.ip, found.address, found.version, found.location))
