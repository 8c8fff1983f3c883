"""Bytes after a response on a kept connection, in the TLS record that ends the response, are not taken for the next response.

The socket does not show them, neither after the response nor when the next request is sent: they are in the TLS library's buffer.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.scene import Scene
from tests.e2e.test_s3_places import client
from tests.e2e.upstream import Asked, Script, Upstream, get

DATED = "Last-Modified: Mon, 02 Nov 2026 10:00:00 GMT"


@pytest.fixture(name="server")
def one_server(tmp_path: Path) -> Iterator[Upstream]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority(tmp_path).issue("origin", "IP:127.0.0.1"))
    with Upstream(context) as server:
        yield server


def answer(body: bytes, tag: str, span: str = "") -> tuple[bytes, bytes]:
    """Head and body."""
    status = f"206 Partial Content\r\nContent-Range: {span}" if span else "200 OK"
    return f'HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{DATED}\r\nETag: "{tag}"\r\n\r\n'.encode(), body


def followed(own: tuple[bytes, bytes], more: bytes) -> Script:
    """Send a response, with unrequested bytes in the record that ends it. Each `sendall` makes one record."""

    def send(sock: socket.socket, asked: Asked) -> None:
        head, body = own
        if asked.method == "HEAD":
            sock.sendall(head + more)
            return
        sock.sendall(head)
        time.sleep(0.1)  # so that the head and the rest are read by separate calls
        sock.sendall(body + more)

    return send


WRONG = b"".join(answer(b"y", "wrong", "bytes 0-0/9"))
MORE = {"response": WRONG, "partial response": WRONG[:30], "one letter": b"H", "not HTTP": b"\0\1\2", "line end": b"\r\n" + WRONG}


@pytest.mark.parametrize("more", MORE)
def test_the_s3_facade_discards_bytes_after_an_origins_response(stage: Scene, server: Upstream, tmp_path: Path, more: str) -> None:
    """The S3 facade's own requests to the origin, by libcurl."""
    for key in "abcd":
        server.scripts[f"/{key}"] = followed(answer(b"x", key, "bytes 0-0/9"), MORE[more])
    url = stage.proxy("--s3-bucket", f"web={server.url}/", "--s3-fresh", "0s", "--cacerts", str(tmp_path / "ca.pem"))[1]
    here = client(f"{url}/s3")
    assert [here.head_object(Bucket="web", Key=key)["ETag"] for key in "abcd"] == ['"a"', '"b"', '"c"', '"d"']


@pytest.mark.parametrize("more", MORE)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_proxy_discards_bytes_after_an_origins_response(stage: Scene, server: Upstream, tmp_path: Path, method: str, more: str) -> None:
    paths = [f"/v2/a/{n}" for n in range(4)]
    for path in paths:
        server.scripts[path] = followed(answer(path.encode(), path[-1]), MORE[more])
    url = stage.proxy("--registry", server.url, "--cacerts", str(tmp_path / "ca.pem"))[1]
    for path in paths:
        told, body = get(url, path, method)
        assert (told.status, told.headers["etag"]) == (200, f'"{path[-1]}"')
        assert body == (path.encode() if method == "GET" else b"")
    assert server.connections == len(paths), "a connection with bytes after a response is not reused"
