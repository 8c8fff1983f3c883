"""Memory of a task and of a CID, as counted by the allocator."""

from __future__ import annotations

import tracemalloc

from dfengine.supernode.swarm.swarm import Limits, Swarm
from dfengine.task import Peer

PIECES = 1000
CIDS = 10


def fill(swarm: Swarm, first: int, past: int, cids: int) -> None:
    """Add tasks with every piece cached; half of their CIDs have all pieces, half have some and running pulls."""
    for number in range(first, past):
        task = f"{number:064x}"
        swarm.add_task(task, PIECES, 0.0)
        state = swarm.tasks[task]
        for n in range(PIECES):
            state.cache(n)
        join(swarm, task, number, cids)


def join(swarm: Swarm, task: str, number: int, cids: int) -> None:
    for i in range(cids):
        cid = f"10.{number % 250}.{i}.{number // 250}-4711-1795343111.{number % 1000:03d}"
        ip = f"10.{number % 250}.{i}.{number // 250}"
        swarm.join(task, cid, Peer(ip, 15000 + i, f"/peer/file/name-{number}-{cid}"), 0.0)
        swarm.holds(task, cid, [(0, PIECES)] if i % 2 else [(0, 500), (501, 700)], 0.0)
        if i % 2 == 0:
            swarm.pull(task, cid, 4, 0.0)


def test_memory_of_a_thousand_tasks_and_ten_thousand_downloads_is_bounded() -> None:
    """A tenth is filled and measured; memory grows linearly."""
    swarm = Swarm(Limits(slow_slots=4))
    fill(swarm, 0, 3, CIDS)
    tracemalloc.start()
    try:
        fill(swarm, 3, 103, 0)
        for number in range(3, 103):  # tables per piece that the first holder causes belong to the task
            swarm.join(f"{number:064x}", "first", Peer("10.9.9.9", 15000, "/peer/file/first"), 0.0)
            swarm.holds(f"{number:064x}", "first", [(0, PIECES)], 0.0)
        tasks = tracemalloc.get_traced_memory()[0]
        for number in range(3, 103):
            join(swarm, f"{number:064x}", number, CIDS)
        cids = tracemalloc.get_traced_memory()[0] - tasks
        for task in list(swarm.tasks):
            swarm.drop_task(task)
        left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 10 * (tasks + cids) < 150_000_000
    assert tasks / 100 < 60 * PIECES
    assert cids / (100 * CIDS) < 2048 + PIECES / 8
    # Only tables that keep their largest size remain.
    assert left < (tasks + cids) / 10
