"""An origin with one connection much slower than the others, which take over its remaining bytes; few bytes are received twice."""

from __future__ import annotations

import hashlib
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.e2e.scene import MIB, Scene, buffered
from tests.e2e.upstream import Asked, Upstream

BODY = random.Random(29).randbytes(40 * MIB)
DIGEST = hashlib.sha256(BODY).hexdigest()
RATE = 20_000
"""Bytes per second of the slow connection: above the minimum rate for one of four, below which it would be closed."""

BROUGHT = MIB
"""Bound of a slow connection's bytes: at its rate they take more than fifty seconds."""

TWICE = MIB // 4
"""Most bytes received twice because of a slow connection: those that it sends until its close is noticed."""


class Origin:
    """Requests for content are counted from 0. Those in `slow` receive `rate` bytes per second; the first one receives `stalls` bytes and
    no more, unless that is negative. one: ranges are refused."""

    def __init__(self, slow: tuple[int, ...] = (), stalls: int = -1, one: bool = False, rate: int = RATE) -> None:
        self.slow, self.stalls, self.one, self.rate = slow, stalls, one, rate
        self.sent: list[int] = []
        """Bytes sent for each request."""
        self.over = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, sock: socket.socket, asked: Asked) -> bool:
        first, _, last = asked.fields.get("range", "").removeprefix("bytes=").partition("-")
        start, past = int(first or 0), min(len(BODY), int(last) + 1 if last else len(BODY))
        fields = 'ETag: "a"\r\nAccept-Ranges: bytes\r\nLast-Modified: Mon, 02 Nov 2026 10:00:00 GMT'
        if first and past - start > 1 and self.one:
            self.sent.append(0)
            sock.sendall(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")
            return True
        status = f"206 Partial Content\r\nContent-Range: bytes {start}-{past - 1}/{len(BODY)}" if first else "200 OK"
        sock.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {past - start}\r\n{fields}\r\n\r\n".encode())
        if asked.method == "HEAD":
            return True
        if past - start == 1:
            sock.sendall(BODY[start:past])
            return True
        with self._lock:
            number = len(self.sent)
            self.sent.append(0)
        step, pause = (self.rate // 20, 0.05) if number in self.slow else (256 << 10, 0.0)
        most = start + self.stalls if number == 0 and self.stalls >= 0 else past
        while start < min(past, most) and not self.over.wait(pause):
            part = BODY[start : min(start + step, past, most)]
            sock.sendall(part)
            start += len(part)
            self.sent[number] += len(part)
        if start < past:
            self.over.wait(300)
        return start == past


@pytest.fixture
def server() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


def fetched(stage: Scene, server: Upstream, origin: Origin, way: str) -> str:
    """The sha256 of the received file. way: the program that fetches it."""
    server.scripts["/f"] = origin
    url = f"{server.url}/f"
    try:
        if way == "get":
            stage.get(url, "out")
            return stage.digest("out")
        if way == "stream":
            return stage.drain(stage.start_stream(url))[0]
        if way == "supernode":
            node = stage.supernode("--log-level", "error")
            stage.get(url, "out", "--notbs", nodes=(node,))
            return stage.digest("out")
        if way == "open":
            program = (
                "import dfengine, hashlib, sys\n"
                "with dfengine.open(sys.argv[1], ip='127.0.0.2', home=sys.argv[2], quiet=True) as file:\n"
                "    digest = hashlib.sha256()\n"
                "    while part := file.read(1 << 20): digest.update(part)\n"
                "    print(digest.hexdigest())"
            )
            home = stage.path / "home-2"
            stage.homes.add(home)
            process = subprocess.Popen([sys.executable, "-c", program, url, str(home)], stdout=subprocess.PIPE, text=True)
            stage.adopt(process)  # type: ignore[arg-type]
            return process.communicate(timeout=300)[0].strip()
        assert way == "proxy"
        proxy = stage.proxy("--log-level", "error")[1].removeprefix("http://").split(":")
        with socket.create_connection((proxy[0], int(proxy[1])), timeout=200) as line, line.makefile("rb") as answer:
            line.sendall(f"GET {url} HTTP/1.1\r\nHost: {server.url.removeprefix('http://')}\r\nConnection: close\r\n\r\n".encode())
            while answer.readline().strip():
                pass
            return hashlib.sha256(answer.read()).hexdigest()
    finally:
        origin.over.set()


WAYS = ["get", "stream", "supernode", "open", "proxy"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("slow", [(0,), (1,), (0, 2)], ids=["first", "range", "both"])
def test_the_rest_of_a_slow_connection_is_fetched_over_others(stage: Scene, server: Upstream, way: str, slow: tuple[int, ...]) -> None:
    origin = Origin(slow)
    assert fetched(stage, server, origin, way) == DIGEST
    assert all(origin.sent[n] < BROUGHT for n in slow if n < len(origin.sent)), origin.sent
    # A fast first response is closed where it reaches bytes that ranges have fetched; the bytes in the kernel's buffers are lost.
    assert sum(origin.sent) < len(BODY) + TWICE * len(slow) + (0 if 0 in slow else buffered())
    assert len(origin.sent) <= (4 + len(slow) if way != "open" else 16)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at", [3 * MIB, len(BODY) - 1000], ids=["early", "late"])
def test_the_rest_of_a_stalled_response_is_fetched_over_other_connections(stage: Scene, server: Upstream, way: str, at: int) -> None:
    origin = Origin(stalls=at)
    assert fetched(stage, server, origin, way) == DIGEST
    assert sum(origin.sent) < len(BODY) + buffered()
    assert len(origin.sent) <= (5 if way != "open" else 16)


@pytest.mark.parametrize("way", ["get", "supernode"])
def test_an_origin_slow_on_every_connection_gets_no_additional_requests(stage: Scene, server: Upstream, way: str) -> None:
    origin = Origin(tuple(range(99)), rate=MIB)
    assert fetched(stage, server, origin, way) == DIGEST
    assert len(origin.sent) <= 4
    # The first response is closed where it reaches bytes that ranges have fetched.
    assert sum(origin.sent) < len(BODY) + MIB


@pytest.mark.parametrize("way", ["get", "supernode"])
def test_an_origin_that_allows_one_connection_is_read_over_one(stage: Scene, server: Upstream, way: str) -> None:
    origin = Origin((0,), one=True, rate=4 * MIB)
    assert fetched(stage, server, origin, way) == DIGEST
    assert origin.sent[0] == len(BODY)
    assert sum(origin.sent) == len(BODY)
