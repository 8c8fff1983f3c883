from dfengine.supernode.swarm._state import Download, Lease, Task
from dfengine.supernode.swarm.leases import Leases

def begin(task: Task) -> int:
    """Start measuring piece times. Pieces count as slow at first, which costs a fast swarm little."""

def retune(task: Task, slow: bool) -> int:
    """Set the slots for slow pieces (few at once), or for others."""

def paced(download: Download, seconds: float, leases: Leases, now: float) -> None:
    """Record the download's report of the seconds that a piece takes on its link; none is complete yet."""

def claim_over(lease: Lease, leases: Leases, now: float) -> None:
    """Handle the end of a lease's claim; the lease itself may have ended before."""

__pyx_capi__: dict[str, object]
