"""A forward proxy that was killed resumes from the pieces on its disk if they are of the origin's present version."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import threading
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.scene import MIB, PATIENCE, Scene, Supernode
from tests.e2e.test_forward import OLD, asked
from tests.e2e.upstream import Asked, Upstream

PIECE = 4 * MIB - 5
BIG, OTHER = random.Random(3).randbytes(24 * MIB + 5), random.Random(4).randbytes(24 * MIB + 5)


class Origin:
    """One file, sent at `rate` bytes per second, or unlimited if 0. sent: bytes of bodies."""

    def __init__(self) -> None:
        self.body, self.fields = BIG, ['ETag: "v1"']
        self.rate = 8 * MIB
        self.sent = 0
        self._lock = threading.Lock()
        self._pause = threading.Event()

    def send(self, sock: socket.socket, request: Asked) -> None:
        body, start, past, status = self.body, 0, len(self.body), "200 OK"
        fields = [f"Date: {formatdate(usegmt=True)}", "Accept-Ranges: bytes", *self.fields]
        first, _, last = request.fields.get("range", "").removeprefix("bytes=").partition("-")
        held = request.fields.get("if-range", "")
        if first and (not held or any(field.endswith(held) for field in self.fields)):
            start, past = int(first), min(len(body), int(last) + 1 if last else len(body))
            status = "206 Partial Content"
            fields.append(f"Content-Range: bytes {start}-{past - 1}/{len(body)}")
        head = [f"HTTP/1.1 {status}", f"Content-Length: {past - start}", *fields, "", ""]
        sock.sendall("\r\n".join(head).encode())
        for at in range(start, past if request.method == "GET" else start, 256 << 10):
            part = body[at : min(past, at + (256 << 10))]
            sock.sendall(part)
            with self._lock:
                self.sent += len(part)
            if self.rate:
                self._pause.wait(len(part) / self.rate)


@pytest.fixture(name="origin")
def one_origin() -> Any:
    with Upstream() as server:
        made = Origin()
        server.scripts["/f"] = made.send
        made.url = f"{server.url}/f"  # type: ignore[attr-defined]  # of this test alone
        yield made


def killed(stage: Scene, origin: Any, least: int, nodes: tuple[Supernode, ...], asked: str = "") -> None:
    """Kill a proxy when its client has received `least` bytes. asked: a Range header."""
    process, url = stage.proxy(nodes=nodes)
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), PATIENCE) as sock:
        sock.sendall(f"GET {origin.url} HTTP/1.1\r\nHost: a\r\n{asked}\r\n".encode())
        got = 0
        while got < least:
            got += len(sock.recv(MIB))
        stage.kill(process)
    origin.rate = 0


def finished(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The proxy's first `finished` event."""
    assert process.stderr is not None
    for line in iter(process.stderr.readline, b""):
        if line.startswith(b"{") and (event := json.loads(line))["event"] == "finished":
            return dict(event)
    raise AssertionError("the proxy has ended")


VERSIONS = {"etag": ['ETag: "v1"'], "date": [f"Last-Modified: {OLD}"], "both": ['ETag: "v1"', f"Last-Modified: {OLD}"]}


@pytest.mark.parametrize("node", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_restarted_proxy_resumes_from_pieces_on_its_disk(stage: Scene, origin: Any, version: str, node: bool) -> None:
    nodes = (stage.supernode(),) if node else ()
    origin.fields = VERSIONS[version]
    killed(stage, origin, 14 * MIB, nodes)
    process, url = stage.proxy("--log-format", "json", nodes=nodes, errors=subprocess.PIPE)
    answer, body = asked(url, origin.url)
    assert (answer.status, body == BIG) == (200, True)
    # All pieces that its client had, except one incomplete piece for each connection.
    assert finished(process)["resumed"] >= 2 * PIECE


def test_a_restarted_proxy_resumes_from_pieces_of_a_range_request(stage: Scene, origin: Any) -> None:
    killed(stage, origin, 9 * MIB, (), f"Range: bytes={12 * MIB}-\r\n")
    process, url = stage.proxy("--log-format", "json", errors=subprocess.PIPE)
    answer, body = asked(url, origin.url)
    assert (answer.status, body == BIG) == (200, True)
    assert finished(process)["resumed"] >= PIECE


@pytest.mark.parametrize("node", [False, True])
def test_a_changed_file_is_read_from_the_beginning(stage: Scene, origin: Any, node: bool) -> None:
    nodes = (stage.supernode(),) if node else ()
    killed(stage, origin, 14 * MIB, nodes)
    origin.body, origin.fields = OTHER, ['ETag: "v2"']
    process, url = stage.proxy("--log-format", "json", nodes=nodes, errors=subprocess.PIPE)
    answer, body = asked(url, origin.url)
    assert (answer.headers["etag"], body == OTHER) == ('"v2"', True)
    if not node:  # with a supernode that has the old version, the request is passed on first
        assert finished(process)["resumed"] == 0
