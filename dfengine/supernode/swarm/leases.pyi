from typing import Final, final

from dfengine.supernode.swarm._state import Lease
from dfengine.supernode.swarm.supernode_slots import SupernodeSlots

PIECE_BOUNDS: Final[tuple[float, ...]]
"""Seconds at which the buckets of `Leases.times` end, the last one is for all beyond."""

SILENCE: Final = 10.0
"""Seconds after which a download that was not seen is silent. One that runs and lacks a piece pulls again after 8 s at most."""

@final
class Leases:
    """All leases of the swarm and their deadlines."""

    watch: SupernodeSlots | None
    """Told of each lease from the supernode."""
    watch_due: float
    """When it has something to do at the earliest, seconds."""
    piece_time: float
    """Mean seconds of the latest pieces of all tasks, 0 unknown."""
    def __len__(self) -> int: ...
    @property
    def sent_by_supernode(self) -> int:
        """Pieces reported done that came from it, since the start."""
    @property
    def sent_by_peers(self) -> int: ...
    def times(self, peer: bool) -> tuple[list[int], float]:
        """(pieces by bucket, sum of their seconds) from assignment to report. peer: those assigned from peers, else from the supernode."""
    def leave_room(self, lease: Lease) -> int:
        """Its host has room for another piece, of whichever task. Again: nothing happens."""
    def free_slot(self, lease: Lease) -> int:
        """Free the source's slot while the last bytes arrive. Again: nothing happens."""
    def use_slot(self, lease: Lease) -> None:
        """A lease from the supernode whose slot and room were freed uses both again."""
    def make_late(self, lease: Lease) -> None:
        """A lease from the supernode counts against other clients within its client's share only. Without a slot: nothing happens."""
    def release(self, lease: Lease) -> int:
        """End the lease and free the source's slot. The caller changes the piece's state."""
    def expired(self, now: float, most: int) -> list[Lease]:
        """The leases whose deadline has passed; the caller drops them. `most` leases are visited, the rest stays due."""
    def end_claims(self) -> list[Lease]:
        """End the claims whose delay was over when `expired` was called; returns their leases, some of which have ended."""
    def soonest(self) -> float:
        """The first deadline of a lease or of `watch`, seconds; infinity for none."""
