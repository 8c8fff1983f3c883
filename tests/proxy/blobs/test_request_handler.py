"""Deadline for a server that holds a file to answer a request that is passed on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dfengine.errors import OriginError
from dfengine.proxy.blobs import request_handler
from dfengine.proxy.blobs.request_handler import RequestHandler
from dfengine.proxy.upstream.timeouts import Unanswered


class Client:
    """The client's connection. elapsed: seconds since its request arrived."""

    def __init__(self, elapsed: float) -> None:
        self.arrived = 100.0 - elapsed
        self.waited = -1.0
        self.passed: Any = None

    def set_deadline(self, seconds: float) -> None:
        self.waited = seconds

    def hand_over(self, exchange: Any) -> None:
        self.passed = exchange


class Asked(RequestHandler):
    """told: outcome of the proxy's own request: an error, or None if the client's request is to be passed on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, client: Any, told: Exception | None) -> None:
        super().__init__(loop, client, "r.example", lambda: "passed on")  # type: ignore[arg-type, return-value]  # what is passed on does not matter
        self._told = told

    async def _answer(self) -> bool:
        if self._told is not None:
            raise self._told
        return False


class Patient(Asked):
    responds_at_once = False


REFUSED, SILENT, FAILED = None, Unanswered.of("r.example"), OriginError("r.example answers 500", 500)


@pytest.mark.parametrize(
    ("elapsed", "told", "waited"),
    [
        # For a token refused a moment ago no request is sent, and the full time remains.
        (0.0, REFUSED, 30.0), (2.0, REFUSED, 28.0), (8.0, SILENT, 22.0), (0.0, SILENT, 30.0), (23.0, SILENT, 8.0), (4.0, FAILED, 26.0),
        # A server that has answered is given more time.
        (30.0, FAILED, 22.0), (38.0, FAILED, 22.0),
    ],
)  # fmt: skip
def test_a_file_request_is_answered_within_thirty_seconds(
    monkeypatch: pytest.MonkeyPatch, elapsed: float, told: Exception | None, waited: float
) -> None:
    monkeypatch.setattr(request_handler, "monotonic", lambda: 100.0)

    async def run(kind: type[Asked]) -> Client:
        client = Client(elapsed)
        asked = kind(asyncio.get_running_loop(), client, told).start()
        assert asked._task is not None
        await asked._task
        assert client.passed == "passed on"
        return client

    assert asyncio.run(run(Asked)).waited == waited
    assert asyncio.run(run(Patient)).waited == -1.0
