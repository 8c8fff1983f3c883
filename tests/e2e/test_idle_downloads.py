"""Downloads that are assigned the supernode's pieces and fetch none delay others by at most one wait of about a second."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dfengine._piece import Geometry
from tests.e2e.scene import MIB, Scene, Supernode, until

SIZE = 24 * MIB
MOST = 30.0
"""Upper bound in seconds for an honest download on a busy machine; waiting for an idle download's lease would take 64."""


class Hog:
    """Idle downloads from one address, each with its own connection."""

    def __init__(self, node: Supernode, url: str, ip: str = "127.0.0.66") -> None:
        self.node, self.url, self.ip = node, url, ip
        self.lines: list[http.client.HTTPConnection] = []
        self._numbers = itertools.count()

    def ask(self, line: http.client.HTTPConnection, path: str, message: object) -> Any:
        line.request("POST", path, json.dumps(message).encode())
        return json.loads(line.getresponse().read())

    def register(self, **more: Any) -> tuple[http.client.HTTPConnection, str, str]:
        line = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=20, source_address=(self.ip, 0))
        self.lines.append(line)
        about = {"rawUrl": self.url, "taskUrl": self.url, "cid": f"{self.ip}-{os.getpid()}-{next(self._numbers)}", "ip": self.ip, "port": 0,
                 "path": "/peer/file/x", "native": 1, "hostName": "h", "version": "1", "superNodeIp": "127.0.0.1", **more}
        return line, self.ask(line, "/peer/registry", about)["data"]["taskId"], str(about["cid"])

    def take(self, wait: float = 0.0) -> list[int]:
        """Offers of a new download's first pull; with `wait` the response is not awaited, as the pull may be parked."""
        line, task, cid = self.register()
        pull = {"task": task, "cid": cid, "want": 64, "wait": wait}
        if wait:
            line.request("POST", "/swarm/pull", json.dumps(pull).encode())
            return []
        return [offer[0] for offer in self.ask(line, "/swarm/pull", pull).get("offers", [])]

    def close(self) -> None:
        for line in self.lines:
            line.close()


@contextmanager
def hogs(*arguments: Any) -> Iterator[Hog]:
    hog = Hog(*arguments)
    try:
        yield hog
    finally:
        hog.close()


def cached(stage: Scene) -> tuple[Supernode, str, str]:
    """A supernode with a complete copy of a file, and the file's URL and digest."""
    sha = stage.file("f.bin", SIZE)
    url = stage.origin() + "/f.bin"
    node = stage.supernode()
    with hogs(node, url, "127.0.0.9") as first:
        first.register()
        until(lambda: stage.sent("/f.bin") >= SIZE, "the whole copy")
    return node, url, sha


def honest(stage: Scene, node: Supernode, url: str, sha: str, host: int) -> None:
    began = time.monotonic()
    stage.get(url, f"out-{host}", "--notbs", nodes=(node,), host=host)
    assert time.monotonic() - began < MOST
    assert stage.digest(f"out-{host}") == sha


@pytest.mark.parametrize("ip", ["127.0.0.66", "127.0.0.2"])
@pytest.mark.parametrize("count", [1, 40])
def test_idle_downloads_do_not_delay_an_honest_one(stage: Scene, ip: str, count: int) -> None:
    """The honest download comes from another address than the idle ones, or from the same."""
    node, url, sha = cached(stage)
    with hogs(node, url, ip) as hog:
        assert hog.take()
        for _ in range(1, count):
            hog.take(wait=20.0)
        honest(stage, node, url, sha, host=2)
        # A further download from an address that is known to be idle.
        hog.take()
        honest(stage, node, url, sha, host=3)


def test_a_download_that_reads_no_piece_responses_does_not_delay_others(stage: Scene) -> None:
    node, url, sha = cached(stage)
    with hogs(node, url) as hog:
        line, task, cid = hog.register()
        geometry, socks = Geometry(SIZE), list[socket.socket]()
        for offer in hog.ask(line, "/swarm/pull", {"task": task, "cid": cid, "want": 64})["offers"]:
            start, end = geometry.range(offer[0])
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.bind((hog.ip, 0))
            sock.connect(("127.0.0.1", int(node.download.rpartition(":")[2])))
            sock.sendall(f"GET /download/{task[:3]}/{task} HTTP/1.1\r\nRange: bytes={start}-{end}\r\n\r\n".encode())
            socks.append(sock)
        honest(stage, node, url, sha, host=2)
        for sock in socks:
            sock.close()


def test_a_download_that_is_stopped_after_its_first_pull_does_not_delay_others(stage: Scene) -> None:
    node, url, sha = cached(stage)
    leases = 0.0
    for attempt in range(20):
        frozen = stage.start_get(url, f"frozen-{attempt}", "--notbs", "--locallimit", "1k", nodes=(node,), host=30)
        until(lambda: node.metric("dfengine_pieces_in_flight"), "the frozen download's first pull")
        os.kill(frozen.pid, signal.SIGSTOP)
        leases = node.metric("dfengine_pieces_in_flight")
        if leases:
            break
        os.kill(frozen.pid, signal.SIGCONT)
        stage.kill(frozen)
    assert leases
    honest(stage, node, url, sha, host=2)
    stage.kill(frozen)
