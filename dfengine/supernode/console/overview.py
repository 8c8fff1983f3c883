"""Sums over the whole supernode."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dfengine.about import VERSION
from dfengine.supernode.console.api_types import Overview
from dfengine.supernode.readiness import unready_reason

if TYPE_CHECKING:
    from dfengine.supernode.console.sampler import Sampler
    from dfengine.supernode.fastpath import Pulls
    from dfengine.supernode.supernode_state import SupernodeState


def overview(state: SupernodeState, sampler: Sampler, plain: Pulls, started: float, viewers: int, may_change: bool) -> Overview:
    """Return the sums. started: Unix seconds. plain: source of the number of pulls that were answered at once."""
    counts, swarm, cluster = state.counts, state.swarm, state.fetches.cluster
    return Overview(
        version=VERSION, address=state.advertise_ip, time=time.time(), started=started, hindrance=unready_reason(state),
        may_change=may_change, tasks=len(state.fetch_pool.fetches), downloads=len(state.members),
        unfinished=sum(task.unfinished for task in swarm.tasks.values()),
        peers=len(swarm.peers.states), isolated_peers=len(swarm.peers.isolations), unproved_peers=len(state.reachability),
        parked_pulls=len(state.parked), leases=len(swarm.leases), registered=counts["registered"], finished=counts["finished_downloads"],
        failed=counts["failed_downloads"], back_to_source=counts["back_to_source"], pulls=counts["pulls"] + plain.answered,
        pieces_from_supernode=swarm.leases.sent_by_supernode, pieces_from_peers=swarm.leases.sent_by_peers,
        origin_requests=sampler.origin_requests, origin_bytes=sampler.origin_bytes, delivered_bytes=sampler.delivered,
        saved_bytes=max(0, sampler.delivered - sampler.origin_bytes), internal_errors=counts["internal_errors"], rate=sampler.rate,
        origin_rate=sampler.origin_rate, free_bytes=state.cache.free_bytes(), viewers=viewers,
        cluster="none" if cluster is None else "reached" if cluster.reached else "lost",
        cluster_members=len(cluster.others) if cluster is not None else 0,
    )  # fmt: skip
