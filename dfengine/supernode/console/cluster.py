"""The cluster: its supernodes, of Redis' last answer, and whether Redis answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dfengine.supernode.console.api_types import ClusterMember, ClusterPage

if TYPE_CHECKING:
    from dfengine.supernode.supernode_state import SupernodeState


def cluster(state: SupernodeState) -> ClusterPage:
    """Return this supernode and the others, in this order; no members without a cluster."""
    own_cluster = state.fetches.cluster
    if own_cluster is None:
        return ClusterPage(items=[], total=0, offset=0, at=time.time(), configured=False, reached=False, failures=0, refused=0, waiting=0)
    own = ClusterMember(address=own_cluster.own.address, own=True, leads=own_cluster.leads)
    items = [own, *(ClusterMember(address=each.address, own=False, leads=each.leads) for each in own_cluster.others)]
    return ClusterPage(items=items, total=len(items), offset=0, at=time.time(), configured=True, reached=own_cluster.reached,
                       failures=own_cluster.failures, refused=own_cluster.refused, waiting=len(own_cluster.notices))
