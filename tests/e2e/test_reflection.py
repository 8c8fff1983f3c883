"""Nobody makes others ask a server that never joined: neither downloads, nor the supernode itself."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from scene import Scene, until
from test_faults import post, registration
from test_hostile_supernode import DIGEST, Hostile, offers, registered

from dfengine.task import PEER_PORTS


@contextmanager
def victim(host: str = "127.0.0.1") -> Iterator[tuple[int, list[bytes]]]:
    """A server of another kind on a peer's port: the port, and what each connection sent. It answers with 200 and the request."""
    heard: list[bytes] = []
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for port in range(22000, PEER_PORTS.stop, 127):
            try:
                listener.bind((host, port))
                break
            except OSError:
                continue
        listener.listen(64)

        def serve() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                with line:
                    line.settimeout(5)
                    try:
                        asked = line.recv(1 << 16)
                        heard.append(asked)
                        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(asked), asked))
                    except OSError:
                        heard.append(b"")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield port, heard
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


PATHS = ["/peer/file/../../admin/delete?all=1", "/admin", "/peer/file/%2e%2e", "/peer/file/a/b", "/peer/file/", "/download/000/x"]


@pytest.mark.parametrize("native", [0, 1])
def test_a_registration_names_no_other_path(stage: Scene, native: int) -> None:
    stage.file("f", 1000)
    url = stage.origin() + "/f"
    node = stage.supernode()
    for n, path in enumerate(PATHS):
        answer = post(node, "/peer/registry", registration(url, n) | {"path": path, "port": 15001, "native": native})
        assert answer["code"] == 500
        assert "invalid value" in answer["message"] or "empty value" in answer["message"]
    assert not stage.requests("/f"), "what is refused asks no origin"
    assert post(node, "/peer/registry", registration(url, 99) | {"path": "/peer/file/a b?c", "native": native})["code"] == 200


@pytest.mark.parametrize("path", PATHS)
def test_a_download_asks_for_no_other_path(stage: Scene, path: str) -> None:
    with victim() as (port, heard):
        pull = offers([0, DIGEST, [["cid", "127.0.0.1", port, path]]])
        with Hostile(registered(), pull) as node:
            stage.get("http://files.invalid/f", "out", "-n", f"127.0.0.1:{node.port}", "--notbs", "--timeout", "20", status=3)
        assert heard == []


@pytest.mark.parametrize("path", PATHS)
def test_nor_where_a_1x_supernode_names_it(stage: Scene, path: str) -> None:
    size = 4 << 20
    with victim() as (port, heard):
        piece = {"range": f"0-{size - 1}", "pieceNum": 0, "pieceSize": size, "pieceMd5": "0" * 32 + ":9", "cid": "c", "peerIp": "127.0.0.1",
                 "peerPort": port, "path": path, "downLink": 0}  # fmt: skip

        class Old(Hostile):
            def answer(self, request: Any, body: bytes) -> None:
                self._pull = json.dumps({"code": 601, "data": [piece]}).encode()
                if request.path.startswith("/peer/task"):
                    request.path = "/swarm/pull"
                super().answer(request, body)

        with Old(registered(native=0)) as node:
            stage.get("http://files.invalid/f", "out", "-n", f"127.0.0.1:{node.port}", "--notbs", "--timeout", "20", status=3)
            until(lambda: node.count("^/peer/task|/swarm/pull"), "a pull")
        assert heard == []
