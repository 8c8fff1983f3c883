"""Failures before a response's first byte have an error status: its head is not sent before a byte of its body is available."""

from __future__ import annotations

import hashlib
import socket
import time
from contextlib import ExitStack
from typing import Any

import pytest

from tests.e2e.blob_registry import Blobs
from tests.e2e.scene import MIB, Scene, until
from tests.e2e.test_passed_digests import pulled
from tests.e2e.test_s3_places import client, refused
from tests.e2e.upstream import Asked, Upstream, get
from tests.origins.hub import Hub

DATED = "Last-Modified: Mon, 02 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize("node", [False, True])
@pytest.mark.parametrize("size", [1, 60_000])
def test_a_small_blob_with_wrong_bytes_is_answered_with_502(stage: Scene, size: int, node: bool) -> None:
    nodes = (stage.supernode(),) if node else ()
    with Blobs() as registry:
        url = stage.proxy("--registry", registry.url, "--log-level", "error", nodes=nodes)[1]
        address = "127.0.0.2", int(url.rpartition(":")[2])
        for n in range(6):
            data = bytes([n]) * size
            path = registry.keep("a", data)
            registry.lies[path] = bytes([n + 1]) * size
            # Several concurrent requests: one fails while another is about to start.
            with ExitStack() as opened:
                lines = [opened.enter_context(socket.create_connection(address, timeout=60)) for _ in range(8)]
                for line in lines:
                    line.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
                answers = [opened.enter_context(line.makefile("rb")) for line in lines]
                assert [answer.readline().split()[1] for answer in answers] == [b"502"] * 8


def test_a_hub_file_with_wrong_bytes_is_answered_with_502(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub() as hub:
        files = {"a": b"x", "b": b"y" * 1000}
        hub.add("org/name", files)
        url = stage.proxy("--hub", hub.url, "--log-level", "error")[1]
        for name in ("a", "b"):
            hub.lies[files[name]] = b"z" * len(files[name])
            assert pulled(url, f"/hub/org/name/resolve/main/{name}")[0] == 502


def breaks(length: int, refused: int, more: tuple[str, ...]) -> Any:
    """An origin that confirms the file for HEAD and for a range of one byte, and refuses its bytes."""

    def send(sock: socket.socket, asked: Asked) -> object:
        span = asked.fields.get("range", "")
        head = [f"Content-Length: {length}", *more, "Accept-Ranges: bytes"]
        if asked.method == "HEAD":
            sock.sendall("\r\n".join(["HTTP/1.1 200 OK", *head, "", ""]).encode())
            return True
        if span == "bytes=0-0":
            head = ["Content-Length: 1", f"Content-Range: bytes 0-0/{length}", *more]
            sock.sendall("\r\n".join(["HTTP/1.1 206 Partial Content", *head, "", "x"]).encode())
            return True
        # The first request gets a head, so that the length is known, and no body; later requests are refused.
        if asked.target not in seen:
            seen.add(asked.target)
            sock.sendall("\r\n".join(["HTTP/1.1 200 OK", *head, "", ""]).encode())
            time.sleep(0.5)
            return False
        sock.sendall(f"HTTP/1.1 {refused} Refused\r\nContent-Length: 2\r\n\r\nno".encode())
        return True

    seen: set[str] = set()
    return send


def test_an_origin_that_refuses_an_announced_file_is_answered_with_403(stage: Scene) -> None:
    """The forward proxy passes the request on and returns the origin's own response; a bucket's client gets an S3 error."""
    with Upstream() as origin:
        tagged = 'ETag: "a"', DATED
        for name in ("forward", "bucket/k"):
            origin.scripts[f"/{name}"] = breaks(9 * MIB, 403, tagged)
        data = b"a blob"
        path = f"/v2/a/blobs/sha256:{hashlib.sha256(data).hexdigest()}"
        origin.scripts[path] = breaks(9 * MIB, 403, ())
        url = stage.proxy("--registry", origin.url, "--s3-bucket", f"web={origin.url}/bucket/")[1]
        assert get(url, f"{origin.url}/forward")[0].status == 403
        assert get(url, path)[0].status == 403
        assert refused(client(f"{url}/s3").get_object, Bucket="web", Key="k") == (403, "AccessDenied")


def test_a_response_head_is_sent_although_the_first_byte_is_late(stage: Scene) -> None:
    """A client must not wait longer for a head than for a byte."""
    with Blobs() as registry:
        data = bytes(MIB)
        path = registry.keep("a", data)
        whole = registry.scripts[path]

        def late(sock: socket.socket, asked: Asked) -> object:
            if asked.method == "HEAD":
                return whole(sock, asked)
            sock.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n".encode())
            until(lambda: begun, "the response head at the client")
            sock.sendall(data)
            return True

        registry.scripts[path] = late
        begun: list[bytes] = []
        url = stage.proxy("--registry", registry.url)[1]
        with socket.create_connection(("127.0.0.2", int(url.rpartition(":")[2])), timeout=60) as line, line.makefile("rb") as answer:
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
            begun.append(answer.readline())
            assert begun[0].split()[1] == b"200"
            assert answer.read().endswith(data)
