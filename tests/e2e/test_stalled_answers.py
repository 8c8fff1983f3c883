"""An origin that stalls in mid-file on every connection: each front end of the proxy resets its clients' connections. Waits are short."""

from __future__ import annotations

import hashlib
import random
import socket
import sys
import threading
from urllib.parse import urlsplit

import pytest

from dfengine.proxy.upstream import timeouts
from tests.e2e.scene import MIB, Scene
from tests.e2e.upstream import Asked, Upstream

BODY = random.Random(9).randbytes(20 * MIB)
SHORT = (
    "import dfengine.proxy.upstream.timeouts as timeouts, dfengine.proxy.front.client_connection as client_connection; "
    "timeouts.STALLED_SECONDS, client_connection.STALL_SECONDS = 5.0, 1.0; from dfengine.app import cli; cli.run()"
)
"""The proxy, started by a program that shortens its deadlines."""


def test_clients_of_a_stalled_origin_are_reset(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    assert timeouts.STALLED_SECONDS == 180.0
    monkeypatch.setattr("tests.e2e.scene.DFENGINE", [sys.executable, "-c", SHORT])
    over = threading.Event()

    def send(sock: socket.socket, asked: Asked) -> bool:
        first, _, last = asked.fields.get("range", "").removeprefix("bytes=").partition("-")
        start, past = int(first or 0), min(len(BODY), int(last) + 1 if last else len(BODY))
        status = f"206 Partial Content\r\nContent-Range: bytes {start}-{past - 1}/{len(BODY)}" if first else "200 OK"
        fields = 'ETag: "a"\r\nAccept-Ranges: bytes\r\nLast-Modified: Mon, 02 Nov 2026 10:00:00 GMT'
        sock.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {past - start}\r\n{fields}\r\n\r\n".encode())
        if asked.method == "HEAD" or past - start == 1:
            if asked.method != "HEAD":
                sock.sendall(BODY[start:past])
            return True
        # The first connection sends a little more than a piece; those for later ranges send nothing.
        sock.sendall(BODY[start : min(past, 5 * MIB)])
        over.wait(120)
        return False

    with Upstream() as origin:
        path = f"/v2/a/blobs/sha256:{hashlib.sha256(BODY).hexdigest()}"
        origin.scripts.update({path: send, "/forward": send, "/bucket/k": send})
        url = stage.proxy("--registry", origin.url, "--s3-bucket", f"web={origin.url}/bucket/", "--log-level", "error")[1]
        parts = urlsplit(url)
        lines = [socket.create_connection((parts.hostname, parts.port), timeout=100) for _ in range(3)]
        try:
            for line, target in zip(lines, (path, f"{origin.url}/forward", "/s3/web/k"), strict=True):
                line.sendall(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            for line in lines:
                got, was_reset = b"", False
                try:
                    while part := line.recv(1 << 20):
                        got += part
                except ConnectionResetError:
                    was_reset = True
                assert was_reset
                head, _, body = got.partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200")
                assert body == BODY[: len(body)]
                assert body
        finally:
            over.set()
            for line in lines:
                line.close()
