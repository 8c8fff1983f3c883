from dfengine.supernode.swarm._state import Download
from dfengine.supernode.swarm.assignment import Pull
from dfengine.supernode.swarm.leases import Leases

def pull(download: Download, k: int, leases: Leases, now: float) -> Pull:
    """Up to k pieces for the download, leased; or why there are none."""

__pyx_capi__: dict[str, object]
