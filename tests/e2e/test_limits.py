"""What a supernode remembers at most."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dfengine import wire
from dfengine.errors import RemoteError
from dfengine.settings import SupernodeSettings
from dfengine.supernode import node as nodes
from dfengine.supernode import reclaim
from dfengine.supernode.fetch import Wanted


@pytest.mark.parametrize(("limit", "said"), [("node.MOST_TASKS", "tasks"), ("members.MOST_DOWNLOADS", "downloads")])
def test_a_full_supernode_refuses_before_it_asks_the_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, said: str
) -> None:
    monkeypatch.setattr(f"dfengine.supernode.{limit}", 0)

    async def play() -> None:
        node = nodes.Node(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        with pytest.raises(RemoteError, match=said):
            await node.register(wire.Registration(cid="c", ip="127.0.0.1"), Wanted("http://127.0.0.1:1/f"), "http://127.0.0.1:1/f")
        assert not node.cdn.fetches
        node.close()

    asyncio.run(play())


def test_leave_that_ran_out_is_swept(tmp_path: Path) -> None:
    async def play() -> None:
        node = nodes.Node(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        assert node.origins.ask("origin:80", "127.0.0.1", "somebody", node.now() - 2 * node.origins.term)
        reclaim.sweep(node)
        assert len(node.origins) == 0
        node.close()

    asyncio.run(play())
