"""Stand-ins of object stores as processes, and a proxy before one of them whose signatures end when the test says so."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dfengine.origin.cancel import Cancel
from dfengine.origin.listing import files
from dfengine.origin.local_root import UnrestrictedRoots
from dfengine.origin.origin_settings import OriginSettings
from dfengine.origin.schemes import origin
from tests.e2e.scene import free_port, until

ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "s3cr3t-k3y", "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
"""What opens moto's server; its endpoint is added."""


def listed(url: str) -> dict[str, int]:
    """Path and size of each file below `url`; the entity-tag of each is that of its own answer."""
    cancel, origin_settings = Cancel(), OriginSettings(roots=UnrestrictedRoots(), may_sign=lambda location: True)
    try:
        found = list(files(url, origin_settings, cancel))
        for entry in found:
            answer = origin(entry.url, origin_settings, cancel).open()
            answer.close()
            assert (answer.version.etag, answer.length) == (entry.etag, entry.size)
        return {entry.path: entry.size for entry in found}
    finally:
        cancel.close()


@contextmanager
def running(*command: str, port: int, environment: dict[str, str] | None = None) -> Iterator[str]:
    """The address of a server while its process runs."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})})

    def listening() -> bool:
        assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(listening, f"{command[0]} listening")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def moto() -> Iterator[str]:
    """S3."""
    port = free_port()
    with running(sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port), port=port) as url:
        yield url


class Gate:
    """Before an S3 server: knows who asked for what, and ends signatures. Use as a context.

    asked: (path, query, Range, status, bytes sent) of each GET. cut: the next body ends after so many bytes, and its signature is refused
    from then on; was_cut is set, and the connection is closed once go_on is set. holds: requests that come meanwhile wait for go_on, too.
    refuse: every signature is refused; refused_keys: those of these access keys. client: of the store, for the test's own use.
    """

    def __init__(self, store: str) -> None:
        self.asked: list[tuple[str, dict[str, list[str]], str, int, int]] = []
        self.client: Any = None
        self.cut = -1
        self.refuse = False
        self.refused_keys: set[str] = set()
        self.ended: set[str] = set()
        self.holds = self.holding = False
        self.was_cut = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                gate._pass(self, store)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Gate:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()

    def sent(self) -> int:
        """Bytes of bodies with the file."""
        return sum(sent for _, _, _, status, sent in self.asked if status in (200, 206))

    def _pass(self, handler: BaseHTTPRequestHandler, store: str) -> None:
        parts = urlsplit(handler.path)
        query = parse_qs(parts.query)
        signature = query.get("X-Amz-Signature", [""])[0]
        wanted = handler.headers.get("Range", "")
        key = query.get("X-Amz-Credential", [""])[0].partition("/")[0]
        if self.holding:
            self.go_on.wait(30)
        if self.refuse or signature in self.ended or key in self.refused_keys:
            body = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
            return self._answer(handler, 403, [("Content-Length", str(len(body)))], body, (parts.path, query, wanted))
        line = HTTPConnection(urlsplit(store).netloc)
        keep = {name: value for name, value in handler.headers.items() if name.lower() not in ("connection", "host")}
        line.request(handler.command, handler.path, headers={**keep, "Host": handler.headers["Host"]})
        answer = line.getresponse()
        body = answer.read()
        line.close()
        hop = ("connection", "transfer-encoding", "date", "server")
        fields = [(name, value) for name, value in answer.getheaders() if name.lower() not in hop]
        if not any(name.lower() == "content-length" for name, _ in fields):
            fields.append(("Content-Length", str(len(body))))
        cut = self.cut if answer.status in (200, 206) and self.cut >= 0 and handler.command == "GET" and len(body) > self.cut else -1
        if cut >= 0:
            self.cut = -1
            self.ended.add(signature)
            self.holding = self.holds
        self._answer(handler, answer.status, fields, body, (parts.path, query, wanted), cut)

    def _answer(self, handler: BaseHTTPRequestHandler, status: int, fields: list[tuple[str, str]], body: bytes,
                asked: tuple[str, dict[str, list[str]], str], cut: int = -1) -> None:
        part = body if cut < 0 else body[:cut]
        if handler.command == "GET":
            self.asked.append((*asked, status, len(part)))
        handler.send_response(status)
        for name, value in fields:
            handler.send_header(name, value)
        handler.end_headers()
        try:
            if handler.command == "GET":
                handler.wfile.write(part)
                handler.wfile.flush()
        except OSError:
            handler.close_connection = True
        if cut >= 0:
            self.was_cut.set()
            self.go_on.wait(30)
            handler.close_connection = True
