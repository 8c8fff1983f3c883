"""What follows an answer on a kept connection, in the very TLS record that ends the answer: it is not the next answer.

Neither a look at the socket shows it, nor is it there when the next request is sent: it lies in the memory of the TLS library.
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
    """An answer, and what nobody asked for in the record with its end. Each `sendall` makes one record."""

    def send(sock: socket.socket, asked: Asked) -> None:
        head, body = own
        if asked.method == "HEAD":
            sock.sendall(head + more)
            return
        sock.sendall(head)
        time.sleep(0.1)  # so that the head is read, and the rest by another call
        sock.sendall(body + more)

    return send


WRONG = b"".join(answer(b"y", "wrong", "bytes 0-0/9"))
MORE = {"an answer": WRONG, "a part of one": WRONG[:30], "its first letter": b"H", "no HTTP": b"\0\1\2", "a line's end": b"\r\n" + WRONG}


@pytest.mark.parametrize("more", MORE)
def test_what_follows_the_first_byte_of_an_object(stage: Scene, server: Upstream, tmp_path: Path, more: str) -> None:
    """The S3 facade's own questions, by libcurl."""
    for key in "abcd":
        server.scripts[f"/{key}"] = followed(answer(b"x", key, "bytes 0-0/9"), MORE[more])
    url = stage.proxy("--s3-bucket", f"web={server.url}/", "--s3-fresh", "0s", "--cacerts", str(tmp_path / "ca.pem"))[1]
    here = client(f"{url}/s3")
    assert [here.head_object(Bucket="web", Key=key)["ETag"] for key in "abcd"] == ['"a"', '"b"', '"c"', '"d"']


@pytest.mark.parametrize("more", MORE)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_follows_an_answer_that_is_passed_on(stage: Scene, server: Upstream, tmp_path: Path, method: str, more: str) -> None:
    paths = [f"/v2/a/{n}" for n in range(4)]
    for path in paths:
        server.scripts[path] = followed(answer(path.encode(), path[-1]), MORE[more])
    url = stage.proxy("--registry", server.url, "--cacerts", str(tmp_path / "ca.pem"))[1]
    for path in paths:
        told, body = get(url, path, method)
        assert (told.status, told.headers["etag"]) == (200, f'"{path[-1]}"')
        assert body == (path.encode() if method == "GET" else b"")
    assert server.connections == len(paths), "a connection on which more came than an answer is not used again"
