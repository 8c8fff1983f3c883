"""Responses of servers that precede the end of their requests, and servers that do not respond: neither affects the next request."""

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
        assert b"405 Method Not Allowed" in _received(sock, b"no\n")
        answer, body = get(url, f"{origin}/v2/a/x")
        assert (answer.status, body) == (200, b"hello")
    methods = [each.method for each in registry.asked if each.target == "/v2/a/x"]
    assert methods == (["HEAD", "GET"] if forward else ["GET"])


@pytest.mark.parametrize("body", ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"])
def test_a_connection_is_usable_after_a_request_with_a_body_to_an_unreachable_server(stage: Scene, body: str) -> None:
    url = stage.proxy()[1]
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with connect(url) as sock:
        for _ in range(2):
            sock.sendall(f"POST {nobody}/x HTTP/1.1\r\nHost: a\r\n{body}".encode())
            assert _received(sock, b"}\n").startswith(b"HTTP/1.1 502 ")
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert _received(sock, b"ok\n").startswith(b"HTTP/1.1 200 ")


def _received(sock: socket.socket, last: bytes) -> bytes:
    """The bytes until these last ones."""
    found = b""
    while not found.endswith(last):
        part = sock.recv(4096)
        assert part, found
        found += part
    return found
