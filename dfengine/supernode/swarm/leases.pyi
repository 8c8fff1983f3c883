from typing import final

from dfengine.supernode.swarm._state import Lease

@final
class Leases:
    """All leases of the swarm and their deadlines."""

    def __len__(self) -> int: ...
    def free(self, lease: Lease) -> None:
        """Give the source's slot back while the last bytes come. Again: nothing happens."""
    def release(self, lease: Lease) -> None:
        """It is over; the source's slot comes back. The caller moves the piece on."""
    def drop(self, lease: Lease) -> None:
        """The piece will not come under this lease: it is wanted again, unless its content has arrived."""
    def expired(self, now: float, most: int) -> list[Lease]:
        """The leases whose time is over, still in place: the caller drops them. `most` leases are looked at, the rest stays due."""
    def give_up(self) -> list[Lease]:
        """End the promises that were older than the swarm's patience when `expired` was called; the leases, some of them over by now."""
    def soonest(self) -> float:
        """When tick has something to do here, seconds; infinity for never."""
    def check_invariant(self) -> None:
        """Raises AssertionError unless every lease waits in one term, and every term is in the heap."""
