"""Registrations that wait for content which hosts share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dfengine import wire
from dfengine.errors import RemoteError
from dfengine.settings import SupernodeSettings
from dfengine.supernode import shares
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.task import Peer

NAME = f"df:sha256:{'a' * 64}"
TASK = "ab" * 32


def test_registrations_that_stop_waiting_for_content_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        gone, stays = (asyncio.create_task(node.shares.find(TASK, NAME)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert list(node.shares._waiting) == [TASK], "the other one still waits"
        stays.cancel()
        await asyncio.gather(stays, return_exceptions=True)
        assert not node.shares._waiting
        monkeypatch.setattr(shares, "PATIENCE", 0.0)
        with pytest.raises(RemoteError, match="no host shares it"):
            await node.shares.find(TASK, NAME)
        assert not node.shares._waiting
        node.close()

    asyncio.run(play())


def test_registrations_wait_until_the_content_is_announced(tmp_path: Path) -> None:
    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        waiting = [asyncio.create_task(node.shares.find(TASK, NAME)) for _ in range(3)]
        await asyncio.sleep(0)
        announced = wire.Announcement(name=NAME, cid="c", ip="10.0.0.1", port=15001, path="/peer/file/x", length=5, digests=b"d" * 16)
        fetch = node.shares.claim(TASK, announced, "10.0.0.1")
        assert fetch is not None
        node.swarm.join(TASK, "c", Peer("10.0.0.1", 15001, "/peer/file/x"), node.now(), address="10.0.0.1")
        node.shares.add_sharer(fetch, "c", 0.0)
        again = asyncio.create_task(node.shares.find(TASK, NAME))
        assert await asyncio.gather(*waiting, again) == [fetch] * 4
        assert not node.shares._waiting
        node.close()

    asyncio.run(play())
