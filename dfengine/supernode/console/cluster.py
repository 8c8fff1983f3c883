"""The cluster: its supernodes as this one was told of them last, and whether Redis answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dfengine.supernode.console.answers import ClusterMember, ClusterPage

if TYPE_CHECKING:
    from dfengine.supernode.state import SupernodeState


def cluster(state: SupernodeState) -> ClusterPage:
    """This supernode first; nobody where there is no cluster."""
    told = state.fetches.cluster
    if told is None:
        return ClusterPage(items=[], total=0, offset=0, at=time.time(), configured=False, reached=False, failures=0, refused=0, waiting=0)
    own = ClusterMember(address=told.own.address, own=True, leads=told.leads)
    items = [own, *(ClusterMember(address=each.address, own=False, leads=each.leads) for each in told.others)]
    return ClusterPage(items=items, total=len(items), offset=0, at=time.time(), configured=True, reached=told.reached,
                       failures=told.failures, refused=told.board.refused, waiting=len(told.board))
