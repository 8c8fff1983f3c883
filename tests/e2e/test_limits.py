"""Limits of the state that a supernode keeps."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from pathlib import Path

import pytest

from dfengine import wire
from dfengine.errors import RemoteError, UnknownTask
from dfengine.net.http import Request, Response
from dfengine.settings import SupernodeSettings
from dfengine.supernode import idle_sweep
from dfengine.supernode import supernode_state as nodes
from dfengine.supernode.api_preheat import PreheatRoutes
from dfengine.supernode.copies.fetch_request import FetchRequest, RetryLimits
from dfengine.supernode.preheats import Preheats
from dfengine.supernode.registration import register
from tests.e2e.scene import Scene
from tests.e2e.test_faults import post, registration


@pytest.mark.parametrize(
    ("limit", "said"), [("registration_quota.MAX_TASKS", "tasks"), ("registered_downloads.MAX_DOWNLOADS", "downloads")]
)
def test_a_full_supernode_refuses_before_it_reads_the_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, said: str
) -> None:
    monkeypatch.setattr(f"dfengine.supernode.{limit}", 0)

    async def play() -> None:
        node = nodes.SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        with pytest.raises(RemoteError, match=said):
            await register(node, wire.Registration(cid="c", ip="127.0.0.1"), FetchRequest("http://127.0.0.1:1/f"), "http://127.0.0.1:1/f")
        preheat = Request("POST", b"/api/v1/preheats", {}, b'{"url": "http://127.0.0.1:1/f"}', "127.0.0.1")
        if said == "tasks":
            preheats = Preheats(node)
            waiting = PreheatRoutes(preheats).create(node, preheat)
            assert not isinstance(waiting, Response)
            answer = await waiting
            assert answer.status == 500
            assert said.encode() in answer.body
            preheats.close()
        assert not node.fetch_pool.fetches
        node.close()

    asyncio.run(play())


def test_headers_of_a_waiting_preheat_count_towards_its_clients_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        node = nodes.SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        waiting = asyncio.Event()

        async def ensure(task: str, wanted: FetchRequest, address: str, until: float) -> None:
            waiting.set()
            await asyncio.sleep(60)

        monkeypatch.setattr(node.fetches, "ensure", ensure)
        body = b'{"url": "http://127.0.0.1:1/f", "headers": {"x": "%s"}}' % (b"y" * 9000)
        preheats = Preheats(node)
        asked = Request("POST", b"/api/v1/preheats", {}, body, "10.0.0.1")
        answer = PreheatRoutes(preheats).create(node, asked)
        assert not isinstance(answer, Response)
        preheat = asyncio.ensure_future(answer)
        await waiting.wait()
        assert node.quota._bytes.amount_of("10.0.0.1") > 9000
        [job] = preheats
        preheats.cancel(job)
        assert (await preheat).status == 500
        assert job.task is not None
        await asyncio.wait([job.task])  # the response is sent at once, and the task ends after it
        assert not node.quota._bytes._amounts
        assert not preheats._shares
        preheats.close()
        node.close()

    asyncio.run(play())


def test_expired_origin_leases_are_swept(tmp_path: Path) -> None:
    async def play() -> None:
        node = nodes.SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        leases = node.origins.leases
        assert leases.acquire("origin:80", "127.0.0.1", "somebody", node.now() - 2 * leases.term)
        await idle_sweep.sweep(node)
        assert len(leases) == 0
        node.close()

    asyncio.run(play())


def test_a_forgotten_failed_fetch_is_freed_without_the_garbage_collector(tmp_path: Path) -> None:
    """Until the collector ran, its copy would occupy disk space that is needed."""

    async def play() -> None:
        node = nodes.SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        with socket.create_server(("127.0.0.1", 0)) as closed:
            wanted = FetchRequest(f"http://127.0.0.1:{closed.getsockname()[1]}/f", retry_limits=RetryLimits(1))
        with pytest.raises(RemoteError, match="reach") as caught:
            await node.fetches.ensure("ab" * 32, wanted)
        del caught
        fetch = weakref.ref(node.fetch_pool.fetches["ab" * 32])
        node.fetches.forget("ab" * 32)
        for _ in range(200):
            await asyncio.sleep(0.01 if fetch() is not None else 0)
        assert fetch() is None
        node.close()

    gc.disable()
    try:
        asyncio.run(play())
    finally:
        gc.enable()


def test_unknown_task_names_are_not_remembered(tmp_path: Path) -> None:
    async def play() -> None:
        node = nodes.SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        with pytest.raises(UnknownTask):
            node.member("no task", "cid", "127.0.0.1")
        assert not node.registry.used
        node.close()

    asyncio.run(play())


def test_runs_of_pieces_are_limited_by_their_number_of_pieces(stage: Scene) -> None:
    """A short message can name as many pieces as a thousand files have."""
    stage.file("f", 9 << 20)
    node = stage.supernode()
    url = stage.origin() + "/f"
    about = registration(url, 1)
    pull = {"task": post(node, "/peer/registry", about)["data"]["taskId"], "cid": about["cid"]}
    assert post(node, "/swarm/pull", pull | {"evicted": [[0, 3]] * 1666})["code"] == 611
    assert "too many" in post(node, "/swarm/pull", pull | {"evicted": [[0, 3]] * 1667})["msg"]
    assert "overlap" in post(node, "/swarm/pull", pull | {"held": [[0, 2], [1, 3]]})["msg"]
    stream = registration(url, 2) | {"streamMode": True, "windowSize": 8}
    pull = {"task": post(node, "/peer/registry", stream)["data"]["taskId"], "cid": stream["cid"]}
    assert post(node, "/swarm/pull", pull | {"held": [[0, 2]]})["code"] == 611
    assert "stream" in post(node, "/swarm/pull", pull | {"held": [[0, 16_385]]})["msg"]
    for run in ([0, 0], [2, 1], [-1, 1], [0, 1 << 62]):
        assert post(node, "/swarm/pull", pull | {"evicted": [run]})["code"] == 501
