"""Blob clients that are numerous, slow, old or disconnected, and a disk that fills up during a pull."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import random
import re
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.blob_registry import DATA, Blobs, check_read_once
from tests.e2e.scene import MIB, PATIENCE, Scene, buffered, descriptors, filled, until
from tests.e2e.upstream import get


@pytest.fixture
def registry() -> Iterator[Blobs]:
    with Blobs() as made:
        yield made


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), PATIENCE)


def all_of(sock: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of the bytes received until the other side closes."""
    data = bytearray()
    while part := sock.recv(MIB):
        data += part
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    return head, body


def anonymous(pid: int) -> int:
    """A process's anonymous memory in bytes, without pages of files."""
    return int(re.findall(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0]) << 10


def test_clients_that_disconnect_at_any_byte_leave_no_connections(stage: Scene, registry: Blobs) -> None:
    """Within the head, bytes on disk or bytes still to arrive; with a reset or without."""
    registry.rate = 16 * MIB
    path = registry.keep("a", DATA)
    process, url = stage.proxy("--registry", registry.url, nodes=(stage.supernode(),))
    get(url, path, Range="bytes=0-0")
    before = len(descriptors(process.pid))
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\n"
    for n, count in enumerate((0, 1, 17, 300, 5000, 70_000, MIB, 6 * MIB, 9 * MIB)):
        with connect(url) as sock:
            sock.sendall((request + ("Range: bytes=1-5,7-\r\n\r\n" if n % 2 else "\r\n")).encode())
            while count > 0:
                count -= len(sock.recv(min(count, MIB)))
            if n % 3:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert get(url, path)[1] == DATA
    assert registry.sent <= len(DATA) * 1.02 + buffered()
    until(lambda: len(descriptors(process.pid)) <= before + 8, "the end of their connections")


def test_http_1_0_clients_with_and_without_keep_alive(stage: Scene, registry: Blobs) -> None:
    path = registry.keep("a", DATA)
    url = stage.proxy("--registry", registry.url)[1]
    with connect(url) as sock:
        sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        head, body = all_of(sock)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"transfer-encoding" not in head.lower()
    assert b"Connection: close" in head
    assert body == DATA
    with connect(url) as sock:
        sock.sendall(f"HEAD {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
        head = sock.recv(4096)
        assert b"Connection: keep-alive" in head
        assert f"Content-Length: {len(DATA)}".encode() in head
        sock.sendall(f"GET {path} HTTP/1.0\r\nRange: bytes=-9\r\n\r\n".encode())
        head, body = all_of(sock)
    assert head.startswith(b"HTTP/1.1 206 ")
    assert body == DATA[-9:]


def test_multiple_ranges_of_a_blob_that_is_still_arriving(stage: Scene, registry: Blobs) -> None:
    registry.rate = 16 * MIB
    path = registry.keep("a", DATA)
    url = stage.proxy("--registry", registry.url, nodes=(stage.supernode(),))[1]
    answer, body = get(url, path, Range=f"bytes={20 * MIB}-{20 * MIB + 9}, 5-9, -3", If_Range=f'"{path.rpartition("/")[2]}"')
    assert answer.status == 206
    parts = body.split(b"--" + answer.headers["content-type"].partition("boundary=")[2].encode())
    found = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts[1:-1]]
    assert found == [DATA[20 * MIB : 20 * MIB + 10], DATA[5:10], DATA[-3:]]
    assert get(url, path, Range="bytes=0-0", If_Range='"another"')[1] == DATA


def test_head_requests_for_a_blob_that_is_still_arriving(stage: Scene, registry: Blobs) -> None:
    registry.rate = 8 * MIB
    path = registry.keep("a", DATA)
    node = stage.supernode()
    url = stage.proxy("--registry", registry.url, nodes=(node,))[1]
    found: list[bytes] = []
    pull = threading.Thread(target=lambda: found.append(get(url, path)[1]))
    pull.start()
    until(lambda: registry.sent > MIB, "bytes of the blob")
    for _ in range(3):
        answer, body = get(url, path, "HEAD")
        assert (answer.status, answer.headers["content-length"], body) == (200, str(len(DATA)), b"")
        assert answer.headers["content-type"] == "text/x-blob"
    pull.join(PATIENCE * 2)
    assert found == [DATA]
    check_read_once(node, len(DATA), registry)


def test_two_hundred_clients_of_a_blob_read_the_registry_once(stage: Scene, registry: Blobs) -> None:
    data = DATA[: 6 * MIB + 1]
    path = registry.keep("a", data)
    node = stage.supernode()
    process, url = stage.proxy("--registry", registry.url, nodes=(node,))
    before = anonymous(process.pid)
    right: list[bool] = []
    threads = [threading.Thread(target=lambda: right.append(get(url, path)[1] == data)) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 3)
    assert right == [True] * 200
    check_read_once(node, len(data), registry)
    assert len([asked for asked in registry.asked if asked.method == "HEAD"]) <= 3
    assert anonymous(process.pid) - before < 100 * MIB


def test_a_slow_reader_costs_no_memory_and_does_not_delay_a_fast_one(stage: Scene, registry: Blobs) -> None:
    """The slow one reads 1 KB a second; its unread bytes are not kept in memory."""
    large = random.Random(8).randbytes(160 * MIB)
    path = registry.keep("a", large)
    process, url = stage.proxy("--registry", registry.url)
    quick = threading.Event()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(PATIENCE)
        sock.connect((urlsplit(url).hostname, urlsplit(url).port))
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        got = sock.recv(1024)
        before = anonymous(process.pid)

        def read() -> None:
            nonlocal got
            while not quick.wait(1.0):
                got += sock.recv(1024)

        slow = threading.Thread(target=read)
        slow.start()
        try:
            _, body = get(url, path)
        finally:
            quick.set()
            slow.join(PATIENCE)
        assert hashlib.sha256(body).digest() == hashlib.sha256(large).digest()
        assert anonymous(process.pid) - before < 64 * MIB
        while len(got) < 2 * MIB:
            got += sock.recv(MIB)
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == large[: len(body)]
    assert registry.sent <= len(large) * 1.02 + buffered()


def test_a_blob_larger_than_the_cache_is_delivered_and_evicted(stage: Scene, registry: Blobs) -> None:
    path, small = registry.keep("a", DATA), registry.keep("a", b"small")
    url = stage.proxy("--registry", registry.url, "--cache-size", "8M", "--expiretime", "1s")[1]
    for _ in range(2):
        assert get(url, path)[1] == DATA
        assert get(url, small)[1] == b"small"
    home = stage.path / "home-2"

    def held() -> int:
        found = {}
        for folder in ("blobs", "files"):
            for each in (home / folder).iterdir():
                with contextlib.suppress(FileNotFoundError):
                    found[each.stat().st_ino] = each.stat().st_blocks * 512
        return sum(found.values())

    until(lambda: held() <= 8 * MIB, "the blob evicted from the disk")
    assert get(url, path)[1] == DATA


def test_a_client_resumes_by_range_after_the_disk_fills_up_during_a_pull(small: Path, stage: Scene, registry: Blobs) -> None:
    """A client that resumes by range, as registry clients do, receives every byte."""
    registry.rate = 8 * MIB
    path = registry.keep("a", DATA)
    url = stage.proxy("--registry", registry.url, "--home", str(small / "home"))[1]
    with connect(url) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        data = bytearray()
        with contextlib.suppress(ConnectionError):
            while part := sock.recv(MIB):
                if not data:
                    filled(small / "ballast")
                data += part
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == DATA[: len(body)]
    for _ in range(20):
        if len(body) == len(DATA):
            break
        with contextlib.suppress(http.client.HTTPException, ConnectionError):
            answer, rest = get(url, path, Range=f"bytes={len(body)}-")
            assert answer.status == 206
            body += rest
    assert body == DATA
