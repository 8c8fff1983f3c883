"""An origin that keeps a reader waiting: by a head or a body that comes byte by byte."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dfengine.errors import OriginSlow, OriginTruncated, OriginUnreachable
from dfengine.net.origin import Origin
from dfengine.net.patience import Patience

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@contextmanager
def origin(at_once: bytes, then: bytes) -> Iterator[str]:
    """Answers each connection with `at_once`, and then with a byte of `then` every 20 ms."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as sock:
            sock.recv(1 << 16)
            sock.sendall(at_once)
            for n in range(len(then)):
                if over.wait(0.02):
                    return
                sock.sendall(then[n : n + 1])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/f"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_head_that_comes_byte_by_byte_has_the_timeout_in_all() -> None:
    with origin(b"HTTP/1.1 200 OK\r\n", b"X-Slow: " + b"x" * 5000) as url, pytest.raises(OriginUnreachable, match="does not answer"):
        Origin(url, timeout=0.3).open()


def test_a_handshake_that_comes_byte_by_byte_has_the_same() -> None:
    with origin(b"\x16\x03\x03\x40\x00", b"\0" * 5000) as url, pytest.raises(OriginUnreachable, match="does not answer"):
        Origin(url.replace("http:", "https:"), timeout=0.3).open()


def test_a_proxys_answer_that_comes_byte_by_byte_has_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with origin(b"HTTP/1.1 200 Connected\r\n", b"X-Slow: " + b"x" * 5000) as url:
        monkeypatch.setenv("https_proxy", url[:-2])
        with pytest.raises(OriginUnreachable, match=r"files\.example, by the proxy 127.*does not answer"):
            Origin("https://files.example/f", timeout=0.3).open()


def test_a_body_below_the_least_rate_is_given_up() -> None:
    with origin(HEAD, b"x" * 5000) as url:
        body = Origin(url, timeout=0.3, floor=4 << 20).open()
        with pytest.raises(OriginSlow, match="less than"):
            body.read_into(memoryview(bytearray(1000000)))
        body.close()


def test_a_body_that_is_fast_enough_is_read_and_its_end_is_its_own_fault() -> None:
    with origin(HEAD + b"y" * 500, b"") as url:
        body = Origin(url, timeout=5.0, floor=1.0).open()
        assert body.read_into(memoryview(bytearray(1000000))) == 500
        with pytest.raises(OriginTruncated):
            body.read_into(memoryview(bytearray(1000000)))
        body.close()


@pytest.mark.parametrize("cut", [20, 40, len(HEAD) - 2])
def test_a_head_that_is_cut_is_no_empty_file(cut: int) -> None:
    with origin(HEAD[:cut], b"") as url, pytest.raises(OriginUnreachable, match="within the head"):
        Origin(url).open()


@pytest.mark.parametrize(
    ("user", "headers", "sent"),
    [
        ("", [], None),
        ("user:pass@", [], "Basic dXNlcjpwYXNz"),
        ("us%3Aer:p%40ss:w@", [], "Basic " + base64.b64encode(b"us:er:p@ss:w").decode()),
        ("token@", [], "Basic " + base64.b64encode(b"token:").decode()),
        ("user:pass@", [("authorization", "Bearer given")], "Bearer given"),
    ],
)
def test_a_user_in_the_url_is_told_to_that_host_alone(user: str, headers: list[tuple[str, str]], sent: str | None) -> None:
    heads: list[dict[str, str]] = []

    class Twice(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heads.append({name.lower(): value for name, value in self.headers.items()})
            elsewhere = self.path == "/f"
            self.send_response(302 if elsewhere else 200)
            if elsewhere:
                self.send_header("Location", f"http://127.0.0.2:{server.server_port}/g")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("", 0), Twice)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        Origin(f"http://{user}127.0.0.1:{server.server_port}/f", headers).open().close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [head.get("authorization") for head in heads] == [sent, None]
    assert {head["host"] for head in heads} == {f"127.0.0.{n}:{server.server_port}" for n in (1, 2)}


def test_nobody_waits_for_patience() -> None:
    patience = Patience()
    here, there = socket.socketpair()
    with here, there:
        patience.begin(here, 60.0)
        assert not patience.end(here)
        patience.begin(here, 0.0)
        assert here.recv(1) == b"", "cut"
        assert patience.end(here)
        assert not patience.end(here)
