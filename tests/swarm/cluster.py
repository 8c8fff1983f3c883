"""A swarm with one task and short methods for tests; the invariants are checked after every event."""

from __future__ import annotations

from typing import Any

from dfengine.supernode.swarm.swarm import CDN, Limits, PullResult, Swarm
from dfengine.task import Peer
from tests.swarm.invariant import check

TASK = "task"
SUPERNODE_CID = "cdnnode:10.9.9.9~task"


class Cluster:
    """A task of `pieces`, of which the supernode has the first `cached` (default: all). Time passes only by `now` and `wait`."""

    def __init__(self, pieces: int, cached: int | None = None, *, seed: int = 1, **limits: Any) -> None:
        self.swarm = Swarm(Limits(**{"slow_slots": 64, **limits}), seed)
        self.now = 100.0
        self.requests = True
        self.swarm.add_task(TASK, pieces, self.now)
        for n in range(max(pieces, 0) if cached is None else cached):
            self.cache(n)

    def cache(self, *pieces: int) -> None:
        for n in pieces:
            self.swarm.cached(TASK, n, self.now)
            self.swarm.legacy_ready(TASK, n, self.now)

    def join(self, *cids: str, host: str = "", port: int = 20000, holds: Any = (), location: str = "", **how: Any) -> None:
        for cid in cids:
            peer = Peer(host or f"host-{cid}", port, f"/peer/file/{cid}", location=location)
            self.swarm.join(TASK, cid, peer, self.now, **how)
            self.swarm.holds(TASK, cid, holds, self.now)
        self.check()

    def pull(self, cid: str, k: int = 100, selected: Any = None) -> PullResult:
        pull = self.swarm.pull(TASK, cid, k, self.now, selected)
        self.request(cid, pull)
        self.check()
        return pull

    def request(self, cid: str, pull: PullResult) -> None:
        """Request the pieces that the supernode sends at once; their bytes flow."""
        for n, sources in pull.pieces:
            if self.requests and sources[0] is CDN:
                self.swarm.requested(TASK, n, self.swarm.tasks[TASK].downloads[cid].peer.address, lambda: -1, self.now)

    def take(self, cid: str, k: int = 100, selected: Any = None) -> dict[int, str | None]:
        """Pull and return the first source's CID of each piece; None is the supernode."""
        return {piece.n: piece.sources[0].cid for piece in self.pull(cid, k, selected).pieces}

    def done(self, cid: str, n: int, source: str | None = SUPERNODE_CID) -> None:
        self.swarm.done(TASK, cid, n, source or SUPERNODE_CID, self.now)
        self.check()

    def all_done(self, cid: str, k: int = 100) -> list[int]:
        """Pull, finish the assigned pieces and return them."""
        taken = self.take(cid, k)
        for n, source in taken.items():
            self.done(cid, n, source)
        return list(taken)

    def fail(self, cid: str, n: int, source: str | None = None, why: str = "gone") -> None:
        self.swarm.failed(TASK, cid, n, source, why, self.now)
        self.check()

    def wait(self, seconds: float) -> Any:
        self.now += seconds
        expired = self.swarm.tick(self.now)
        self.check()
        return expired

    def park(self, cid: str, k: int = 4, selected: Any = None) -> str:
        """Pull, and park when no piece is assigned. Returns the kind of answer."""
        pull = self.pull(cid, k, selected)
        if not pull.pieces and pull.kind != "finished":
            self.swarm.park(TASK, cid, k)
        self.check()
        return pull.kind

    def woken(self) -> dict[str, list[int]]:
        """Answer the parked pulls that the last events allow: CID -> pieces."""
        answers: dict[str, list[int]] = {}
        while self.swarm.wakeable:
            for cid, pull in self.swarm.answer_parked(next(iter(self.swarm.wakeable)), self.now):
                answers[cid] = [piece.n for piece in pull.pieces]
                self.request(cid, pull)
        self.check()
        return answers

    def check(self) -> None:
        check(self.swarm)

    def used(self, cid: str) -> int:
        return self.swarm.tasks[TASK].downloads[cid].peer.used


__all__ = ["CDN", "SUPERNODE_CID", "TASK", "Cluster"]
