from typing import Final, final

from dfengine.supernode.swarm._state import Lease
from dfengine.supernode.swarm.supernode_slots import SupernodeSlots

PIECE_BOUNDS: Final[tuple[float, ...]]
"""Upper bounds of the buckets of `Leases.times` in seconds; one more bucket has all longer times."""

SILENCE: Final = 10.0
"""Seconds without a message after which a download is silent. A running download that lacks a piece pulls at least every 8 s."""

@final
class Leases:
    """All leases of the swarm and their deadlines."""

    watch: SupernodeSlots | None
    """Receives each lease from the supernode."""
    watch_due: float
    """Earliest time at which `watch` has a check due, seconds."""
    piece_time: float
    """Mean seconds of the latest pieces of all tasks, 0 unknown."""
    def __len__(self) -> int: ...
    @property
    def sent_by_supernode(self) -> int:
        """Number of pieces reported as received from the supernode, since the start."""
    @property
    def sent_by_peers(self) -> int: ...
    def times(self, peer: bool) -> tuple[list[int], float]:
        """(pieces by bucket, sum of their seconds) from assignment to report. peer: those assigned from peers, else from the supernode."""
    def leave_room(self, lease: Lease) -> int:
        """Free the host's room for another piece, of any of its tasks. May be repeated."""
    def free_slot(self, lease: Lease) -> int:
        """Free the source's slot, at the end of the lease or before (`leases.pxd`). May be repeated."""
    def use_slot(self, lease: Lease) -> None:
        """Let a lease from the supernode whose slot and room were freed use both again."""
    def make_late(self, lease: Lease) -> None:
        """Count a lease from the supernode against other clients within its client's share only. Ignored if it has no slot."""
    def release(self, lease: Lease) -> int:
        """End the lease and free the source's slot. The caller changes the piece's state."""
    def expired(self, now: float, most: int) -> list[Lease]:
        """Return the leases whose deadline has passed; the caller drops them. `most` leases are visited, the rest stays due."""
    def end_claims(self) -> list[Lease]:
        """End the claims whose delay was over when `expired` was called; return their leases, some of which have ended."""
    def soonest(self) -> float:
        """The first deadline of a lease or of `watch` in seconds; infinity for none."""
