"""A scripted registry on 127.0.0.1, in threads: answers each path as the test says, byte by byte, and keeps what it was asked."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit


@dataclass
class Asked:
    """One request as it came. fields: names in lower case."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes


Script = Callable[[socket.socket, Asked], object]
"""Sends the answer; False: the connection is closed behind it."""


def ok(body: bytes, *more: str, status: str = "200 OK") -> Script:
    """A whole answer."""

    def send(sock: socket.socket, asked: Asked) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more, "", ""]
        sock.sendall("\r\n".join(lines).encode() + (b"" if asked.method == "HEAD" else body))

    return send


def raw(*parts: bytes, close: bool = True) -> Script:
    """These bytes."""

    def send(sock: socket.socket, asked: Asked) -> bool:
        for part in parts:
            sock.sendall(part)
        return not close

    return send


class Upstream:
    """Use as a context. scripts: by path, without the query. early: bytes that are sent before the request's body is read, by path."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.scripts: dict[str, Script] = {}
        self.early: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.connections = 0
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._sock.getsockname()[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def blob(self, name: str, body: bytes) -> str:
        """Serve a blob of the repository `name`; its digest."""
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.scripts[f"/v2/{name}/blobs/{digest}"] = ok(body, "Content-Type: application/octet-stream", f"Docker-Content-Digest: {digest}")
        return digest

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._sock.accept()
                self.connections += 1
                self._open.add(sock)
                thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        if self._tls is not None:
            try:
                sock = self._tls.wrap_socket(sock, server_side=True)
            except OSError:
                sock.close()
                return
            self._open.add(sock)
        with contextlib.suppress(OSError, ValueError, IndexError), sock, sock.makefile("rb") as lines:
            while asked := self._read(sock, lines):
                self.asked.append(asked)
                script = self.scripts.get(asked.target.partition("?")[0], ok(b"nothing here\n", status="404 Not Found"))
                if script(sock, asked) is False:
                    break
            sock.shutdown(socket.SHUT_WR)
        self._open.discard(sock)

    def _read(self, sock: socket.socket, lines: io.BufferedReader) -> Asked | None:
        method, target, _ = lines.readline().decode("latin-1").split()
        fields: dict[str, str] = {}
        while line := lines.readline().decode("latin-1").strip():
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        if fields.get("expect") == "100-continue":
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        sock.sendall(self.early.get(target.partition("?")[0], b""))
        body = lines.read(int(fields.get("content-length", 0)))
        if fields.get("transfer-encoding") == "chunked":
            while size := int(lines.readline(), 16):
                body += lines.read(size)
                lines.readline()
            lines.readline()
        return Asked(method, target, fields, body)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._accepting.join(20)
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)


def get(url: str, path: str, method: str = "GET", **fields: str) -> tuple[http.client.HTTPResponse, bytes]:
    """One request to a proxy, and the answer's body. fields: names with _ for -."""
    line = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    try:
        line.request(method, path, headers={name.replace("_", "-"): value for name, value in fields.items()})
        answer = line.getresponse()
        return answer, answer.read()
    finally:
        line.close()
