"""Responses of servers that precede the end of their requests: they do not affect the next request."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.e2e.scene import PATIENCE, Scene
from tests.e2e.upstream import Upstream, get, ok

REFUSED = b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 3\r\n\r\nno\n"


@pytest.fixture
def registry() -> Iterator[Upstream]:
    """It refuses a PUT of /v2/a/up at once, and discards its body."""
    with Upstream() as made:
        made.early["/v2/a/up"] = REFUSED
        made.scripts["/v2/a/up"] = lambda sock, asked: None
        made.scripts["/v2/a/x"] = ok(b"hello")
        yield made


def connect(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((str(place.hostname), place.port or 80), PATIENCE)


@pytest.mark.parametrize("framing", ["Content-Length: 4000", "Transfer-Encoding: chunked", "Content-Length: 4000\r\nExpect: 100-continue"])
@pytest.mark.parametrize("forward", [False, True])
def test_the_next_request_is_not_taken_for_the_rest_of_a_refused_body(
    stage: Scene, registry: Upstream, framing: str, forward: bool
) -> None:  # fmt: skip
    url = stage.proxy("--registry", registry.url)[1]
    origin = registry.url if forward else ""
    with connect(url) as sock:
        sock.sendall(f"PUT {origin}/v2/a/up HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode())
        found = b""
        while not found.endswith(b"no\n"):
            found += sock.recv(4096)
        assert b"405 Method Not Allowed" in found
        answer, body = get(url, f"{origin}/v2/a/x")
        assert (answer.status, body) == (200, b"hello")
    methods = [each.method for each in registry.asked if each.target == "/v2/a/x"]
    assert methods == (["HEAD", "GET"] if forward else ["GET"])
