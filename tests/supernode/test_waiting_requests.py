"""Requests that wait do not keep their bodies."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import msgspec
import pytest

from dfengine.errors import DfengineError
from dfengine.net.event_stream import EventStream
from dfengine.net.http import Request, Response
from dfengine.settings import SupernodeSettings
from dfengine.supernode.console.console_token import ConsoleToken
from dfengine.supernode.router import Router
from dfengine.supernode.supernode_state import SupernodeState

ORIGIN = {"task": "t", "cid": "c", "origin": "o:80", "wait": 30}
FILE = "http://127.0.0.1:1/f"
REGISTRATION = {
    "rawUrl": FILE, "taskUrl": FILE, "cID": "c", "ip": "127.0.0.1", "hostName": "h", "port": 15001, "path": "/peer/file/f", "version": "1",
    "native": 1,
}  # fmt: skip
PREHEAT = {"type": "file", "url": FILE}
COPY = f"/api/v1/cache/{'ab' * 32}"
WORK = {"worker": "0" * 32, "want": 1, "wait": 30}
REQUESTS = {
    "origin": ("POST", "/swarm/origin", ORIGIN), "work": ("POST", "/swarm/work", WORK), "live": ("GET", "/api/v2/live", {}),
    "overview": ("GET", "/api/v2/overview", {}), "registration": ("POST", "/peer/registry", REGISTRATION),
    "preheat": ("POST", "/api/v1/preheats", PREHEAT), "pin": ("POST", COPY, {"pinned": True}), "copy": ("GET", COPY, {}),
    "drop": ("DELETE", COPY, {}), "copies": ("GET", "/api/v1/cache", {}), "metrics": ("GET", "/metrics", {}),
    "console pin": ("PATCH", COPY.replace("v1", "v2"), {"pinned": True}),
}  # fmt: skip


@pytest.mark.parametrize(("method", "path", "fields"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_that_waits_does_not_keep_its_body(method: str, path: str, fields: dict[str, object], tmp_path: Path) -> None:
    body = msgspec.json.encode(fields) + b" " * 100_000

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        settings = SupernodeSettings(home_dir=str(tmp_path), advertise_ip="127.0.0.1", download_port=8001, origin_limit=1)
        state = SupernodeState(settings, str(tmp_path), loop)
        router = Router(state, console=ConsoleToken(secret=True))
        try:
            if path == "/swarm/origin":
                first = router(Request("POST", path.encode(), {}, msgspec.json.encode(ORIGIN | {"cid": "first"}), "127.0.0.2"))
                assert not isinstance(first, Response)
                await first
            request = Request(method, path.encode(), {}, body, "127.0.0.1")
            answer = router(request)
            assert request.body == b""
            if isinstance(answer, Response):
                assert isinstance(answer, EventStream)
            else:
                answer.cancel()
                await asyncio.wait((answer,))
        finally:
            router.close()
            state.close()

    asyncio.run(scene())


@pytest.mark.parametrize("body", [b'{"rawUrl":5}', b"{", msgspec.json.encode(REGISTRATION | {"port": 1}), b"\xff"])
def test_a_refused_registration_leaves_nothing_that_only_the_garbage_collector_frees(body: bytes, tmp_path: Path) -> None:
    """A supernode with many downloads rarely collects: bodies in cycles would fill its memory."""

    async def scene() -> None:
        settings = SupernodeSettings(home_dir=str(tmp_path), advertise_ip="127.0.0.1")
        state = SupernodeState(settings, str(tmp_path), asyncio.get_running_loop())
        router = Router(state)
        try:
            answer = router(Request("POST", b"/peer/registry", {}, body, "127.0.0.1"))
            assert (answer if isinstance(answer, Response) else await answer).status in (400, 500)
        finally:
            router.close()
            state.close()

    gc.collect()
    before = sum(isinstance(each, DfengineError) for each in gc.get_objects())
    gc.disable()
    try:
        asyncio.run(scene())
        assert sum(isinstance(each, DfengineError) for each in gc.get_objects()) == before
    finally:
        gc.enable()
