"""A scripted registry of blobs."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import time

from tests.e2e.scene import MIB, Supernode, buffered
from tests.e2e.upstream import Asked, Upstream

DATA = random.Random(7).randbytes(24 * MIB + 12345)


class Blobs(Upstream):
    """A registry whose blobs need one of `tokens`, if there are any; counts the bytes of bodies that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.tokens: set[str] = set()
        self.rate = 0
        self.lies: dict[str, bytes] = {}

    def keep(self, name: str, data: bytes) -> str:
        """The path of a blob."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        path = f"/v2/{name}/blobs/{digest}"

        def send(sock: socket.socket, asked: Asked) -> None:
            if self.tokens and asked.fields.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
                sock.sendall(b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm="https://auth/t"\r\nContent-Length: 2\r\n\r\nno')
                return
            body = self.lies.get(path, data)
            first, past = 0, len(body)
            status = "200 OK"
            if asked.fields.get("range", "").startswith("bytes="):
                start, _, last = asked.fields["range"].removeprefix("bytes=").partition("-")
                first, past = int(start), min(len(body), int(last) + 1 if last else len(body))
                status = f"206 Partial Content\r\nContent-Range: bytes {first}-{past - 1}/{len(body)}"
            head = f'HTTP/1.1 {status}\r\nContent-Length: {past - first}\r\nContent-Type: text/x-blob\r\nETag: "{digest}"\r\n'
            sock.sendall(head.encode() + b"Accept-Ranges: bytes\r\n\r\n")
            if asked.method == "HEAD":
                return
            for at in range(first, past, 256 << 10):
                part = body[at : min(past, at + (256 << 10))]
                sock.sendall(part)
                with self._lock:
                    self.sent += len(part)
                if self.rate:
                    time.sleep(len(part) / self.rate)

        self.scripts[path] = send
        return path

    _lock = threading.Lock()


def check_read_once(node: Supernode, size: int, *registries: Blobs) -> None:
    """As `Scene.check_read_once`, of a blob of `size` bytes."""
    assert node.metric("dfengine_origin_bytes_total") == size
    assert size <= sum(registry.sent for registry in registries) <= size + buffered()
