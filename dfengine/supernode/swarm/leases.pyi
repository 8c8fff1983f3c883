from typing import final

from dfengine.supernode.swarm._state import Lease

@final
class Leases:
    """All leases of the swarm and their deadlines."""

    def __len__(self) -> int: ...
    @property
    def sent_by_supernode(self) -> int:
        """Pieces reported done that came from it, since the start."""
    @property
    def sent_by_peers(self) -> int: ...
    def free_slot(self, lease: Lease) -> int:
        """Free the source's slot while the last bytes arrive. Again: nothing happens."""
    def release(self, lease: Lease) -> int:
        """End the lease and free the source's slot. The caller changes the piece's state."""
    def expired(self, now: float, most: int) -> list[Lease]:
        """The leases whose deadline has passed; the caller drops them. `most` leases are visited, the rest stays due."""
    def end_claims(self) -> list[Lease]:
        """End the claims whose delay was over when `expired` was called; returns their leases, some of which have ended."""
    def soonest(self) -> float:
        """The first deadline, seconds; infinity for none."""
    def check_invariant(self) -> None:
        """Raises AssertionError unless every lease is in one bucket, and every bucket is in the heap."""
