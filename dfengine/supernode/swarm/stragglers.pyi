from dfengine.supernode.swarm._state import Download, Lease
from dfengine.supernode.swarm.leases import Leases

def paced(download: Download, seconds: float, leases: Leases, now: float) -> None:
    """The download says that a piece takes so many seconds on its link; none has come yet."""

def impatient(lease: Lease, leases: Leases, now: float) -> None:
    """The swarm's patience with that lease, which may be over by now, has ended."""

__pyx_capi__: dict[str, object]
