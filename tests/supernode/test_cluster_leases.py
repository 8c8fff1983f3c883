"""Requests to the cluster for leases of an origin, of downloads that hang up meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from dfengine.supernode.cluster_leases import ClusterLeases
from dfengine.supernode.copies.origin_queue import LeaseRequest, OriginQueue


class Cluster:
    """Answers when `go` is set: every origin has one lease for this supernode. reports: the names of each request."""

    def __init__(self) -> None:
        self.own = self
        self.id = "a" * 32
        self.others: list[object] = []
        self.go = asyncio.Event()
        self.reports: list[list[str]] = []

    @staticmethod
    def keyed_name(name: str) -> str:
        return name

    async def request(self, call: Any, seconds: float) -> list[int]:
        demand = call.keywords["demand"]
        self.reports.append(list(demand))
        await self.go.wait()
        return [min(1, held + wanted) for held, wanted in demand.values()]


def test_origins_of_downloads_that_hung_up_are_not_reported_and_delay_no_other() -> None:
    async def play() -> None:
        loop, cluster = asyncio.get_running_loop(), Cluster()
        queue = OriginQueue(loop, 4, 75)
        leases: Any = ClusterLeases(queue, cluster, loop)  # type: ignore[arg-type]
        try:
            first = loop.create_task(queue.acquire(LeaseRequest("first:80", "10.0.0.1", "t", "c"), 30.0))
            while not cluster.reports:
                await asyncio.sleep(0)
            for n in range(1000):
                hostile = loop.create_task(queue.acquire(LeaseRequest(f"made-up-{n}:80", "10.0.0.9", "t", "c"), 30.0))
                await asyncio.sleep(0)
                hostile.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await hostile
            other = loop.create_task(queue.acquire(LeaseRequest("other:80", "10.0.0.9", "t", "c"), 30.0))
            await asyncio.sleep(0)
            cluster.go.set()
            assert await first
            assert await other
            assert {name for names in cluster.reports for name in names} == {"first:80", "other:80"}
            assert set(leases._due) <= {"first:80", "other:80"}
            assert queue.leases.held() == {"first:80": 1, "other:80": 1}
            assert len(queue) == 0
        finally:
            leases.close()

    asyncio.run(play())


def test_the_end_of_a_wait_that_was_reported_is_reported() -> None:
    async def play() -> None:
        loop, cluster = asyncio.get_running_loop(), Cluster()
        cluster.request = lambda call, seconds: refuse(call.keywords["demand"])  # type: ignore[method-assign]
        told: list[dict[str, tuple[int, int]]] = []

        async def refuse(demand: dict[str, tuple[int, int]]) -> list[int]:
            told.append(demand)
            return [0] * len(demand)

        queue = OriginQueue(loop, 4, 75)
        leases = ClusterLeases(queue, cluster, loop)  # type: ignore[arg-type]
        try:
            waits = loop.create_task(queue.acquire(LeaseRequest("o:80", "10.0.0.1", "t", "c"), 30.0))
            while not told:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            waits.cancel()
            while len(told) < 2:
                await asyncio.sleep(0.01)
            assert told == [{"o:80": (0, 1)}, {"o:80": (0, 0)}]
        finally:
            leases.close()

    asyncio.run(play())
