"""Deadlines of responses whose JSON is collected."""

from __future__ import annotations

from typing import Any

from dfengine.proxy.front.requests import Head
from dfengine.proxy.hub.rewriting import Rewriting
from dfengine.proxy.registries import Registry

NOBODY: Any = None


class Client:
    """The client's connection. events: calls in order."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def extend_deadline(self) -> None:
        self.events.append("extended")

    def begin(self, status: int, reason: bytes, fields: object, length: int) -> None:
        self.events.append(length)

    def write(self, data: bytes) -> None:
        self.events.append(data)

    def end(self) -> None: ...


class Upper(Rewriting):
    rewrites = True

    def rewritten(self, body: bytes) -> bytes:
        return body.upper()


def test_each_part_of_a_collected_response_extends_the_deadline() -> None:
    """As it does for a response that is passed on at once; otherwise a page that takes a minute is answered with 504."""
    client: Any = Client()
    head = Head("GET", b"/api", [(b"Host", b"a")], "1.1", True)
    exchange = Upper(client, head, NOBODY, Registry.parse("https://hub"), "/api", [])
    exchange.answer(200, b"OK", [(b"Content-Type", b"application/json")], 6)
    for part in (b"[1", b", ", b"a]"):
        exchange.body_part(part)
    assert client.events == ["extended"] * 4
    exchange.end()
    assert client.events[4:] == [6, b"[1, A]"]
