"""Preheats that are cancelled while a thread works for them."""

from __future__ import annotations

import asyncio
import queue
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.origin.cancel import Cancel
from dfengine.origin.image import ImageReader
from dfengine.origin.image_manifest import Blob
from dfengine.settings import SupernodeSettings
from dfengine.supernode.preheat_job import Part
from dfengine.supernode.preheat_request import parse_v1
from dfengine.supernode.preheat_targets import PreheatTargets
from dfengine.supernode.preheats import Preheats
from dfengine.supernode.state import SupernodeState


def test_the_end_of_a_preheat_ends_the_thread_that_reads_its_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = queue.Queue[Cancel](), threading.Event()

    def blobs(self: ImageReader, platforms: tuple[str, ...]) -> list[Blob]:
        begun.put(self._cancel)
        go.wait(60)
        return []

    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        monkeypatch.setattr(ImageReader, "blobs", blobs)
        preheats = Preheats(node)
        job = preheats.begin(parse_v1(b'{"type": "image", "url": "http://127.0.0.1:1/v2/a/manifests/1"}'), "10.0.0.1")
        assert job is not None
        assert job.task is not None
        cancel = await asyncio.to_thread(begun.get, timeout=60)
        job.task.cancel()  # as a time limit or the failure of another part does
        await asyncio.wait([job.task])
        await asyncio.sleep(0)
        go.set()
        assert cancel.is_set
        assert cancel.fd < 0
        preheats.close()
        node.close()

    asyncio.run(play())


@pytest.mark.parametrize("when", ["requesting", "waiting"])
def test_a_cancelled_preheat_is_cancelled_at_the_other_supernode_that_begins_it(when: str) -> None:
    begun, found, go, cancelled = threading.Event(), threading.Event(), threading.Event(), queue.Queue[str]()

    def begin(fields: dict[str, Any]) -> str:
        begun.set()
        go.wait(60)
        return "name"

    def find(name: str) -> dict[str, Any]:
        found.set()
        return {"here": 0, "count": 0, "status": "RUNNING"}

    async def play() -> None:
        other: Any = SimpleNamespace(begin=begin, find=find, cancel=cancelled.put, node="h:8002")
        targets = PreheatTargets(SimpleNamespace(loop=asyncio.get_running_loop()), str)  # type: ignore[arg-type]
        forwarded = asyncio.create_task(targets._run_forwarded(SimpleNamespace(), Part("http://o/f"), other, {}))  # type: ignore[arg-type]
        await asyncio.to_thread(begun.wait, 60)
        if when == "waiting":
            go.set()
            await asyncio.to_thread(found.wait, 60)
        forwarded.cancel()
        await asyncio.gather(forwarded, return_exceptions=True)
        go.set()
        assert await asyncio.to_thread(cancelled.get, timeout=20) == "name"
        targets.close()

    asyncio.run(play())
