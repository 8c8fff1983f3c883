"""The list of the supernode's copies: how many are made at the same time."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfengine.settings import SupernodeSettings
from dfengine.supernode.api_cache import AT_ONCE, CacheRoutes
from dfengine.supernode.supernode_state import SupernodeState


def test_a_list_whose_client_disconnects_counts_until_its_thread_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = queue.Queue[None](), threading.Event()

    def slow() -> Iterator[tuple[float, str, int]]:
        begun.put(None)
        go.wait(60)
        return iter(())

    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        monkeypatch.setattr(node.cache, "copies", slow)
        routes = CacheRoutes()
        lists = [asyncio.create_task(routes.copies(node, 0, 10)) for _ in range(AT_ONCE)]
        for _ in lists:
            await asyncio.sleep(0)
            await asyncio.to_thread(begun.get, timeout=60)
        for each in lists:
            each.cancel()
        await asyncio.gather(*lists, return_exceptions=True)
        under_way = routes._turns.locked()
        further = asyncio.create_task(routes.copies(node, 0, 10))
        await asyncio.sleep(0)
        go.set()
        assert under_way, "the threads still read"
        assert await further == ([], 0)
        assert begun.qsize() == 1
        await asyncio.gather(*(routes.copies(node, 0, 10) for _ in range(AT_ONCE)))
        node.close()

    asyncio.run(play())
