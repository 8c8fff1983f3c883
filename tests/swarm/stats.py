"""Statistics of a swarm and of one task for comparison in tests."""

from __future__ import annotations

from dataclasses import dataclass

from dfengine.supernode.swarm._state import ABSENT
from dfengine.supernode.swarm.swarm import Swarm


@dataclass(frozen=True, slots=True)
class TaskStats:
    """count: pieces, -1 unknown. cached: pieces the supernode has. sources: CIDs that serve."""

    count: int
    cached: int
    downloads: int
    finished: int
    sources: int
    running: int
    supernode_used: int
    parked: int

    @classmethod
    def of(cls, swarm: Swarm, task_id: str) -> TaskStats:
        task = swarm.tasks[task_id]
        downloads = task.downloads.values()
        return cls(
            count=task.count,
            cached=task.cached.count(),
            downloads=len(downloads),
            finished=len(downloads) - task.unfinished,
            sources=sum(download.holder_index != ABSENT for download in downloads),
            running=sum(len(download.running) for download in downloads),
            supernode_used=task.supernode_used,
            parked=len(task.parked),
        )


@dataclass(frozen=True, slots=True)
class SwarmStats:
    """Current counts. isolated: peers that are a source for no download. leases: upload slots in use.

    sent_by_supernode, sent_by_peers: pieces reported done since the start.
    """

    tasks: int
    downloads: int
    peers: int
    isolated: int
    leases: int
    parked: int
    sent_by_supernode: int
    sent_by_peers: int

    @classmethod
    def of(cls, swarm: Swarm) -> SwarmStats:
        tasks, peers = swarm.tasks.values(), swarm.peers.states.values()
        return cls(
            tasks=len(tasks),
            downloads=sum(len(task.downloads) for task in tasks),
            peers=len(peers),
            isolated=len(swarm.peers.isolations),
            leases=len(swarm.leases),
            parked=sum(len(task.parked) for task in tasks),
            sent_by_supernode=swarm.leases.sent_by_supernode,
            sent_by_peers=swarm.leases.sent_by_peers,
        )
