from typing_extensions import disjoint_base

from dfengine.supernode.swarm._state import Task
from dfengine.supernode.swarm.assignment import Pull
from dfengine.supernode.swarm.leases import Leases
from dfengine.supernode.swarm.limits import Limits
from dfengine.supernode.swarm.peers import Peers

@disjoint_base
class Exchange:
    """Tasks, leases and peers, and what the most frequent events do to them."""

    def __init__(self, limits: Limits) -> None: ...
    @property
    def tasks(self) -> dict[str, Task]: ...
    @property
    def leases(self) -> Leases: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def peers(self) -> Peers: ...
    @property
    def sent_by_supernode(self) -> int:
        """Pieces reported done that came from it, since the start."""
    @property
    def sent_by_peers(self) -> int: ...
    def pull(self, task_id: str, cid: str, k: int, now: float) -> Pull:
        """Up to k pieces for the CID, each with a lease; see Pull for the kinds of answer."""
    def done(self, task_id: str, cid: str, n: int, source_cid: str | None, now: float) -> None:
        """Piece n is written and servable. Frees the slot reserved for it, whoever sent it, and credits the sender.

        source_cid: who sent it; empty for the origin or for what was there before; any CID that is no peer's counts as the supernode's.
        """
    def done_all(self, task_id: str, cid: str, pieces: list[tuple[int, str]], now: float) -> int:
        """done for each (piece, source CID)."""
    def next_due(self) -> float:
        """When `tick` has something to do, seconds; 0 when the last call left something, infinity while nothing is there."""
