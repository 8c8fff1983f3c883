"""Whether a supernode should be given new downloads, and how long it waits for those that run."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from dfengine.net.http import Request
from dfengine.supernode import admin, readiness


def node(free: int = 1 << 40, exhausted: bool = False) -> Any:
    """A state with one task, of which one download runs."""
    clock = iter(range(10**6))
    task, room = SimpleNamespace(unfinished=1), SimpleNamespace(exhausted=exhausted)
    return SimpleNamespace(
        draining=False, cache=SimpleNamespace(free=lambda: free), fetches=SimpleNamespace(room=room), now=lambda: float(next(clock)),
        swarm=SimpleNamespace(tasks={"t": task}, leases=[]),
    )  # fmt: skip


def ready(state: Any) -> tuple[int, bytes]:
    answer = admin.ready(state, Request("GET", b"/readyz", {}, b"", "10.0.0.1"))
    return answer.status, answer.body


def test_a_full_disk_counts_only_where_nothing_can_be_removed() -> None:
    assert ready(node()) == ready(node(free=0)) == ready(node(exhausted=True)) == (200, b"ready\n")
    status, body = ready(node(free=1000, exhausted=True))
    assert (status, b"1000 bytes are free" in body) == (503, True)


def test_leave_is_taken_when_the_last_download_has_ended_or_time_is_up(monkeypatch: Any) -> None:
    monkeypatch.setattr(readiness, "LOOK", 0)
    state = node()
    assert asyncio.run(readiness.drain(state, 5.0)) == 1
    assert ready(state)[0] == 503
    state = node()

    async def ends() -> int:
        left = asyncio.ensure_future(readiness.drain(state, 1e9))
        await asyncio.sleep(0)
        state.swarm.tasks["t"].unfinished = 0
        state.swarm.leases.append("lease")
        await asyncio.sleep(0)
        assert not left.done()
        state.swarm.leases.clear()
        return await left

    assert asyncio.run(ends()) == 0
