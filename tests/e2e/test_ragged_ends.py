"""Responses that end with their connection: over TLS a close_notify marks the end, and the proxy passes on truncation as truncation."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.scene import PATIENCE, Scene
from tests.e2e.upstream import Asked, Upstream

BODY = b"some of it\n" * 20000


@pytest.fixture(name="server")
def one_server(tmp_path: Path) -> Iterator[Upstream]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority(tmp_path).issue("origin", "IP:127.0.0.1"))
    with Upstream(context) as server:
        yield server


def ends(told: bool, head: bytes = b"HTTP/1.1 200 OK\r\n\r\n", body: bytes = BODY) -> object:
    """Script that sends a response and closes the connection. told: with TLS's close_notify before."""

    def send(sock: ssl.SSLSocket, asked: Asked) -> bool:
        sock.sendall(head + body)
        if told:
            with contextlib.suppress(OSError):
                sock.unwrap()
        return False

    return send


def received(url: str, target: str, version: str) -> tuple[bytes, bool]:
    """All received bytes, and whether the connection closed without a reset."""
    parts, got = urlsplit(url), b""
    with socket.create_connection((parts.hostname, parts.port), PATIENCE) as sock:
        sock.sendall(f"GET {target} HTTP/{version}\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        try:
            while part := sock.recv(1 << 16):
                got += part
        except ConnectionResetError:
            return got, False
    return got, True


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_response_without_close_notify_is_passed_on_as_truncated(stage: Scene, server: Upstream, tmp_path: Path, version: str) -> None:
    scripts = {
        "/told": ends(True), "/cut": ends(False), "/none": ends(False, body=b""), "/none-told": ends(True, body=b""),
        "/chunks": ends(True, CHUNKED, b"5\r\nab"), "/no-last-chunk": ends(True, CHUNKED, b"2\r\nab\r\n"),
    }  # fmt: skip
    server.scripts.update(scripts)  # type: ignore[arg-type]  # of TLS alone
    (tmp_path / "rules").write_text("[{match: '^http://127', do: direct, https: true}]")
    url = stage.proxy("--rules", str(tmp_path / "rules"), "--cacerts", str(tmp_path / "ca.pem"))[1]
    for path in scripts:
        got, ended = received(url, f"http://127.0.0.1:{server.port}{path}", version)
        head, _, body = got.partition(b"\r\n\r\n")
        last = body.endswith(b"0\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), path
        if path.endswith("told"):
            assert ended, path
            assert last == (version == "1.1"), path
        else:
            assert not ended, path
            assert not last, path
        if path == "/told" and version == "1.0":
            assert body == BODY
