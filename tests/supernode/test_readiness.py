"""Readiness of a supernode for new downloads, and draining of the running ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine import wire
from dfengine.net.http import ConnectionState, Request, Response
from dfengine.settings import SupernodeSettings
from dfengine.supernode import admin, api_native, readiness
from dfengine.supernode.registered_downloads import RegisteredDownload
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.task import Peer

TASK, HERE = "7" * 64, "127.0.0.1"


def disk(free: int = 1 << 40, exhausted: bool = False) -> Any:
    """A state with only a disk."""
    return SimpleNamespace(
        draining=False, cache=SimpleNamespace(free_bytes=lambda: free), fetches=SimpleNamespace(room=SimpleNamespace(exhausted=exhausted)),
    )  # fmt: skip


def ready(state: Any) -> tuple[int, bytes]:
    answer = admin.ready(state, Request("GET", b"/readyz", {}, b"", "10.0.0.1"))
    return answer.status, answer.body


def test_a_full_disk_is_not_ready_only_if_no_copy_can_be_evicted() -> None:
    assert ready(disk()) == ready(disk(free=0)) == ready(disk(exhausted=True)) == (200, b"ready\n")
    status, body = ready(disk(free=1000, exhausted=True))
    assert (status, b"1000 bytes are free" in body) == (503, True)


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time the test sets."""

    at = 1000.0

    def time(self) -> float:
        return self.at


class Place:
    """A supernode without servers, with all four pieces of a task."""

    def __init__(self, loop: Clock, home: str) -> None:
        self.loop = loop
        self.node = node = SupernodeState(SupernodeSettings(home_dir=home, advertise_ip=HERE, download_port=8001), home, loop)
        node.swarm.add_task(TASK, 4, loop.at)
        for n in range(4):
            node.swarm.cached(TASK, n, loop.at)

    def join(self, cid: str, native: int = wire.NATIVE) -> ConnectionState:
        """Register a download and return its connection."""
        node, peer, line = self.node, Peer(HERE, 15001, f"/peer/file/{cid}"), ConnectionState()
        node.swarm.join(TASK, cid, peer, self.loop.at, legacy=not native)
        member = RegisteredDownload(HERE, "", native, peer, HERE)
        node.members.add((TASK, cid), member)
        if native:
            member.connection, line.member = line, member
        return line

    def pull(self, cid: str, line: ConnectionState) -> None:
        """Send a pull without reports that wants no pieces; it only shows that the download is alive."""
        body = json.dumps({"task": TASK, "cid": cid, "want": 0, "wait": 0}).encode()
        request = Request("POST", b"/swarm/pull", {}, body, HERE)
        request.connection = line
        answer = api_native.pull(self.node, request)
        assert isinstance(answer, Response)
        assert json.loads(answer.body)["code"] == wire.REPORTED

    def busy(self) -> int:
        return self.loop.run_until_complete(readiness.busy(self.node))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    loop = Clock()
    made = Place(loop, str(tmp_path))
    yield made
    loop.run_until_complete(asyncio.to_thread(made.node.fetch_pool.close))
    made.node.close()
    loop.close()


def test_unfinished_downloads_and_pieces_being_sent_count_as_busy(place: Place) -> None:
    assert place.busy() == 0
    place.join("a")
    place.join("b", native=0)
    assert place.busy() == 2
    under_way = len(place.node.swarm.pull(TASK, "a", 3, place.loop.at).pieces)
    assert under_way
    assert place.busy() == under_way + 2
    place.node.swarm.holds(TASK, "b", [(0, 4)], place.loop.at)
    assert place.busy() == under_way + 1
    place.node.registry.leave((TASK, "a"))
    assert place.busy() == 0


@pytest.mark.parametrize(("native", "lost", "patience"), [(wire.NATIVE, True, 5.0), (wire.NATIVE, False, 60.0), (0, False, 60.0)])
def test_a_silent_or_disconnected_download_stops_counting_as_busy(place: Place, native: int, lost: bool, patience: float) -> None:
    line = place.join("a", native)
    place.node.swarm.pull(TASK, "a", 1, place.loop.at)
    if lost:
        place.node.connection_lost(line)
    place.loop.at += patience - 0.1
    assert place.busy() > 0
    place.loop.at += 0.2
    assert place.busy() == 0


def test_an_empty_pull_keeps_a_download_alive(place: Place) -> None:
    line = place.join("a")
    for _ in range(20):
        place.loop.at += 30.0
        place.pull("a", line)
    assert place.busy() == 1
    place.node.swarm.tick(place.loop.at)
    assert "a" in place.node.swarm.tasks[TASK].downloads


def test_draining_ends_with_the_last_download_or_at_the_timeout(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "PERIOD", 0)
    place.join("a")

    async def ends(by: Any) -> int:
        left = asyncio.ensure_future(readiness.drain(place.node, 30.0))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not left.done()
        by()
        return await left

    def late() -> None:
        place.loop.at += 30.0

    assert place.loop.run_until_complete(ends(late)) == 1
    assert ready(place.node)[0] == 503
    assert place.loop.run_until_complete(ends(lambda: place.node.registry.leave((TASK, "a")))) == 0
