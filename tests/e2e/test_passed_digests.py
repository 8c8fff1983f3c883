"""Files named by a digest that a proxy passes on are right, or end incomplete, for clients like curl that compare nothing."""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from tests.e2e.scene import DFENGINE, MIB, Scene, until
from tests.e2e.upstream import Asked, Script, Upstream, get, ok

SMALL, LARGE = b"small\n" * 40, bytes(range(256)) * 1200
LONGER = bytes(4 * MIB + 1)


@pytest.fixture
def registry() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


def framed(body: bytes, form: str) -> Script:
    """Send `body` for GET only, so that it is not fetched through the swarm."""

    def send(sock: socket.socket, asked: Asked) -> object:
        if asked.method == "HEAD":
            return ok(b"", status="405 Method Not Allowed")(sock, asked)
        if form == "length":
            return ok(body)(sock, asked)
        if form == "chunked":
            parts = [body[at : at + 70_000] for at in range(0, len(body), 70_000)]
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
            sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
            return True
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        return False

    return send


def pulled(url: str, path: str) -> tuple[int, bytes, bool]:
    """Status, body, and whether the body is complete. The status is 200 if the connection was reset before the head was read."""
    status, body = 200, b""
    line = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    try:
        line.request("GET", path)
        answer = line.getresponse()
        status = answer.status
        while part := answer.read1(1 << 20):
            body += part
        return status, body, not answer.length
    except (http.client.IncompleteRead, ConnectionError):
        return status, body, False
    finally:
        line.close()


def changed(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1])


def named(kind: str, body: bytes, hashed: Callable[[bytes], hashlib._Hash] = hashlib.sha256) -> str:
    digest = hashed(body)
    return f"/v2/a/{kind}/{digest.name}:{digest.hexdigest()}"


def test_wrong_and_truncated_bodies_are_refused_or_end_incomplete(stage: Scene, registry: Upstream) -> None:
    url = stage.proxy("--registry", registry.url, "--log-level", "error")[1]
    kinds = [
        ("blobs", SMALL, hashlib.sha256, False), ("blobs", LARGE, hashlib.sha256, True), ("blobs", LARGE, hashlib.sha512, True),
        ("manifests", SMALL, hashlib.sha256, False), ("manifests", LARGE, hashlib.sha256, False),
        ("manifests", LONGER, hashlib.sha256, True),
    ]  # fmt: skip
    for kind, given, hashed, begun in kinds:
        for case in (("length", ""), ("chunked", ""), ("close", ""), ("chunked", registry.url)):
            form, server = case
            body = repr(case).encode() + given
            path = named(kind, body, hashed)
            registry.scripts[path] = framed(changed(body), form)
            status, got, ended = pulled(url, server + path)
            assert (status, ended) == ((200, False) if begun else (502, True)), (kind, case)
            assert len(got) < len(body) if begun else b"has sent other bytes than sha256:" in got
            # Truncated: if the connection's end is the body's end, only the digest shows it.
            registry.scripts[path] = framed(body[:-1], form)
            status, got, ended = pulled(url, server + path)
            assert (status, ended) == ((200, False) if begun else (502, True)), (kind, case)
            registry.scripts[path] = framed(body, form)
            assert pulled(url, server + path) == (200, body, True), (kind, case)


def test_responses_other_than_whole_bodies_are_passed_on(stage: Scene, registry: Upstream) -> None:
    url = stage.proxy("--registry", registry.url)[1]
    path = named("manifests", SMALL)
    registry.scripts[path] = ok(b"other", "Content-Range: bytes 3-7/100", status="206 Partial Content")
    answer, body = get(url, path, Range="bytes=3-7")
    assert (answer.status, body) == (206, b"other")
    registry.scripts[path] = ok(b"coded", "Content-Encoding: gzip")
    assert get(url, path)[1] == b"coded"
    registry.scripts[path] = ok(b"other")
    answer, body = get(url, path, "HEAD")
    assert (answer.status, answer.headers["content-length"]) == (200, "5")
    registry.scripts[path] = ok(b"none", status="404 Not Found")
    assert get(url, path)[0].status == 404


def test_a_removed_directory_is_recreated_and_responses_past_the_swarm_are_logged(stage: Scene, registry: Upstream) -> None:
    home = stage.path / "home-3"
    command = [*DFENGINE, "proxy", "--listen", "127.0.0.1:0", "--home", str(home), "--registry", registry.url, "--log-format", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stage.adopt(process)
    assert process.stdout is not None
    assert process.stderr is not None
    url = "http://" + process.stdout.readline().decode().split("proxy=")[1].strip()
    first, second, third = (registry.blob("a", text + LARGE) for text in (b"1", b"2", b"3"))
    blobs = home / "blobs"
    for digest in (first, second):
        assert get(url, f"/v2/a/blobs/{digest}")[0].status == 200
        until((blobs / digest.removeprefix("sha256:")).exists, "the blob on the disk")
        shutil.rmtree(blobs)
    blobs.write_bytes(b"")  # a file in the directory's place
    assert get(url, f"/v2/a/blobs/{third}")[1] == b"3" + LARGE
    assert get(url, "/readyz")[0].status == 503
    unanswered = named("blobs", LARGE)
    registry.scripts[unanswered] = framed(LARGE, "chunked")
    assert get(url, unanswered)[1] == LARGE
    process.terminate()
    events = [json.loads(line) for line in process.stderr.read().splitlines()]
    passed = [(each["name"], each["reason"]) for each in events if each["event"] == "passed_through"]
    assert [name for name, _ in passed] == [third, unanswered.rpartition("/")[2]]
    assert f"cannot use {blobs}" in passed[0][1]
    assert "405" in passed[1][1]
