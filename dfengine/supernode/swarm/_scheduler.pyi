from dfengine.supernode.swarm._state import Download
from dfengine.supernode.swarm.leases import Leases
from dfengine.supernode.swarm.pull_result import PullResult

def pull(download: Download, k: int, leases: Leases, now: float) -> PullResult:
    """Lease up to k pieces to the download; without any, the answer has the reason."""

__pyx_capi__: dict[str, object]
