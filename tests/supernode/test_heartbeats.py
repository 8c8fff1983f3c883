"""Heartbeats: which downloads they keep registered."""

from __future__ import annotations

import asyncio
from pathlib import Path

from dfengine.net.http import Request
from dfengine.settings import SupernodeSettings
from dfengine.supernode import api_v1
from dfengine.supernode.registered_downloads import RegisteredDownload
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.task import Peer

TASK = "ab" * 32


def test_a_stranger_does_not_keep_a_download_registered(tmp_path: Path) -> None:
    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        peer = Peer("10.0.0.1", 15001, "/peer/file/x")
        node.swarm.add_task(TASK, 4, 0.0)
        node.swarm.join(TASK, "c", peer, 0.0, address="10.0.0.1")
        node.members.add((TASK, "c"), RegisteredDownload("s", "", 0, peer, "10.0.0.1"))
        download = node.swarm.tasks[TASK].downloads["c"]

        def is_seen(address: str) -> bool:
            response = api_v1.heartbeat(node, Request("POST", b"/peer/heartbeat", {}, b'{"cID":"c"}', address))
            assert response.status == 200
            return download.seen > 0

        assert not is_seen("10.0.0.2")
        assert is_seen("10.0.0.1")
        node.close()

    asyncio.run(play())
