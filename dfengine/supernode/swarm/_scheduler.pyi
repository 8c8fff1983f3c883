from dfengine.supernode.swarm._state import Download
from dfengine.supernode.swarm.assignment import Pull
from dfengine.supernode.swarm.leases import Leases

def pull(download: Download, k: int, leases: Leases, now: float) -> Pull:
    """Up to k pieces for the download, leased; or why there are none."""

def supernode_has_slot(asker: Download) -> bool:
    """The supernode has a slot for the asker; for a 1.x client at most as many as such a client receives at once, as in 1.x."""

__pyx_capi__: dict[str, object]
