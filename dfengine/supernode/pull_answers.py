"""Responses to native pulls, from the engine's decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from dfengine import wire
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.registered_downloads import RegisteredDownloads
from dfengine.supernode.swarm.scheduler import CDN, PullResult
from dfengine.task import cdn_cid, cdn_path


class PullAnswers:
    """Builds responses. fetches: by task. ip, port: of this supernode's download port."""

    def __init__(self, fetches: Mapping[str, Fetch], members: RegisteredDownloads, ip: str, port: int) -> None:
        self._fetches = fetches
        self._members = members
        self._ip, self._port = ip, port

    def answer(self, task: str, cid: str, pull: PullResult) -> wire.Pulled:
        """Return the response that carries the decision `pull` to a registered download."""
        geometry = (fetch := self._fetches[task]).geometry
        if pull.kind == "finished":
            return wire.Pulled(wire.FINISHED, length=geometry.length, count=geometry.count)
        if not pull.pieces:
            return wire.Pulled(wire.WAIT, length=geometry.length, count=geometry.count)
        assert fetch.file is not None
        digest = fetch.file.record.digest
        offers = []
        for n, sources in pull.pieces:
            whom: tuple[object, ...] = sources
            if sources[0] is CDN or sources[-1] is CDN:
                cdn = self.source(task, self._members[task, cid].super_node_ip)
                whom = tuple([cdn if source is CDN else source for source in sources])
            offers.append(wire.Offer(n, digest(n).hex(), cast(tuple[wire.Source, ...], whom)))
        return wire.Pulled(wire.CONTINUE, offers, geometry.length, geometry.count)

    def source(self, task: str, ip: str) -> wire.Source:
        """Return this supernode as a source of a task, for a client that reaches it as `ip`."""
        return wire.Source(cdn_cid(self._ip, task), ip, self._port, cdn_path(task))
