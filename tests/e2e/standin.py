"""Stand-ins of other parties, written from docs/protocol.md alone: a 1.x supernode that knows nothing native, and an origin.

Both run in threads of the test's process, on 127.0.0.1. A `Fault` makes the download port lie, stall or break off.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MIB = 1 << 20

Fault = Callable[[int, int], str]
"""(piece, how often it was asked for before) -> "" or one of the faults in `_Handler._piece`."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up; that is no failure of a test."""


class Served:
    """A server in threads, at `host`. `log`: (method, path) of every request."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self._open: set[socket.socket] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                pass

            def setup(self) -> None:
                super().setup()
                outer._open.add(self.connection)

            def finish(self) -> None:
                outer._open.discard(self.connection)
                with contextlib.suppress(OSError, ValueError):
                    super().finish()

            def do_GET(self) -> None:
                outer._handle(self)

            do_POST = do_DELETE = do_GET

        self._handler = Handler
        self._server: _Server | None = None
        self.port = 0
        self.start()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        with self.lock:
            self.log.append((request.command, request.path))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.answer(request, body)

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = _Server((self.host, self.port), self._handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """As a killed process: no listener, no connection."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            for connection in list(self._open):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def count(self, pattern: str) -> int:
        """Requests whose path matches."""
        with self.lock:
            return sum(1 for _, path in self.log if re.search(pattern, path))


def say(request: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


class LegacyPeer(Served):
    """A 1.x peer server that has nothing, and says that it is one."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self._port = host, port
        super().__init__()

    def start(self) -> None:
        self.port = self._port
        super().start()

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        folder, _, name = request.path.rpartition("/")
        if folder == "/check":
            say(request, 200, f"{name}@1.0.6".encode())
        else:
            say(request, 500, b"failed to get taskPath\n")


class LegacySupernode(Served):
    """Control and download port in one. `content` is wholly cached, in pieces of `piece_size`; `unknown`: registers length -1.

    known(n): piece n is cached already. A CID gets at most 4 pieces at once, the last ones first if `descending`.
    """

    def __init__(
        self,
        content: bytes,
        *,
        piece_size: int = MIB,
        unknown: bool = False,
        fault: Fault = lambda n, before: "",
        known: Callable[[int], bool] = lambda n: True,
        cdn_source: str = "supernode",
        md5: str = "",
    ) -> None:
        self.content = content
        self.piece_size = piece_size
        self.unknown = unknown
        self.fault = fault
        self.known = known
        self.cdn_source = cdn_source
        self.md5 = md5 or hashlib.md5(content).hexdigest()
        self.asked: Counter[int] = Counter()
        self.registered: list[dict[str, Any]] = []
        self.refuse: tuple[int, dict[str, Any]] | None = None
        self.pull_code: dict[str, Any] | None = None
        self.descending = False
        self.running: dict[str, set[int]] = {}
        self.arrived: dict[str, set[int]] = {}
        self.written: dict[str, set[int]] = {}
        self.bytes_sent = 0
        self.release = threading.Event()
        super().__init__()

    @property
    def pieces(self) -> int:
        return max(1, -(-len(self.content) // (self.piece_size - 5)))

    def framed(self, n: int) -> bytes:
        size = self.piece_size - 5
        content = self.content[n * size : (n + 1) * size]
        return struct.pack(">I", len(content) | self.piece_size << 4) + content + b"\x7f"

    def stop(self) -> None:
        self.release.set()
        super().stop()

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        url = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        if url.path == "/peer/registry":
            self._register(request, json.loads(body))
        elif url.path == "/peer/task":
            self._json(request, self._pull(query))
        elif url.path == "/peer/piece/suc":
            with self.lock:
                self.written.setdefault(query["cid"], set()).add(int(query["pieceRange"].split("-")[0]) // self.piece_size)
            self._json(request, {"code": 611})
        elif url.path == "/peer/piece/error":
            say(request, 200, b"")
        elif url.path == "/task/metrics":
            say(request, 200, b"null\n")
        elif url.path.startswith("/download/"):
            self._piece(request)
        else:
            say(request, 404, b"404 page not found\n")

    def _json(self, request: BaseHTTPRequestHandler, value: Any, status: int = 200) -> None:
        say(request, status, json.dumps(value).encode() + b"\n", Content_Type="application/json")

    def _register(self, request: BaseHTTPRequestHandler, fields: dict[str, Any]) -> None:
        if self.refuse is not None:
            self._json(request, self.refuse[1], self.refuse[0])
            return
        with self.lock:
            self.registered.append(fields)
            self.running.setdefault(fields["cid"], set())
            self.arrived.setdefault(fields["cid"], set())
        data = {
            "taskId": hashlib.sha256(fields["taskUrl"].encode()).hexdigest(),
            "fileLength": -1 if self.unknown else len(self.content),
            "pieceSize": self.piece_size,
            "cdnSource": self.cdn_source,
            "asSeed": False,
            "seedTaskID": "",
        }
        self._json(request, {"code": 200, "data": data, "msg": "success"})

    def forget(self) -> None:
        """As a 1.x supernode that was restarted."""
        with self.lock:
            self.running.clear()
            self.arrived.clear()

    def _pull(self, query: dict[str, str]) -> dict[str, Any]:
        if self.pull_code is not None:
            return self.pull_code
        cid = query["srcCid"]
        with self.lock:
            if cid not in self.running:
                return {"code": 502, "msg": f"failed to get key {cid}"}
            running, arrived = self.running[cid], self.arrived[cid]
            if query["range"]:
                n = int(query["range"].split("-")[0]) // self.piece_size
                running.discard(n)
                if query["result"] in ("501", "503"):
                    arrived.add(n)
            if len(arrived) == self.pieces:
                framed = len(self.content) + 5 * self.pieces
                return {"code": 600, "data": {"fileLength": framed, "md5": self.md5}}
            if len(running) >= 4:
                return {"code": 601, "msg": "peer continue"}
            free = [n for n in range(self.pieces) if n not in arrived and n not in running and self.known(n)]
            chosen = (free[::-1] if self.descending else free)[: 4 - len(running)]
            running.update(chosen)
        if not chosen:
            return {"code": 602, "msg": "peer should wait"}
        return {"code": 601, "data": [self.offer(n, cid) for n in chosen]}

    def offer(self, n: int, cid: str) -> dict[str, Any]:
        framed = self.framed(n)
        task = "0" * 64
        return {
            "range": f"{n * self.piece_size}-{(n + 1) * self.piece_size - 1}",
            "pieceNum": n,
            "pieceSize": self.piece_size,
            "pieceMd5": f"{hashlib.md5(framed).hexdigest()}:{len(framed)}",
            "cid": f"cdnnode:127.0.0.1~{task}",
            "peerIp": "127.0.0.1",
            "peerPort": self.port,
            "path": f"/download/000/{task}",
            "downLink": 0,
        }

    def _piece(self, request: BaseHTTPRequestHandler) -> None:
        start, end = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers["Range"]).groups())  # type: ignore[union-attr]
        n = start // self.piece_size
        assert (start, end) == (n * self.piece_size, (n + 1) * self.piece_size - 1)
        assert (request.headers["pieceNum"], request.headers["pieceSize"]) == (str(n), str(self.piece_size))
        with self.lock:
            before = self.asked[n]
            self.asked[n] += 1
        framed = bytearray(self.framed(n))
        fault = self.fault(n, before)
        status, announced, sent = 206, len(framed), len(framed)
        if fault == "close":
            request.close_connection = True
            return
        if fault == "gone":
            say(request, 404, b"not here")
            return
        if fault == "flip":
            framed[len(framed) // 2] ^= 1
        elif fault == "head":
            framed[0] ^= 1
        elif fault == "tail":
            framed[-1] = 0
        elif fault == "truncate":
            sent //= 2
        elif fault == "short":
            announced = sent = announced - 1
        elif fault == "long":
            framed += b"more"
            announced = sent = len(framed)
        elif fault == "whole":
            status = 200
        elif fault == "garbage":
            request.wfile.write(b"\x00\x01\x02 nonsense\r\n\r\n")
            request.close_connection = True
            return
        request.send_response(status)
        if fault in ("chunked", "chunked longer"):
            request.send_header("Transfer-Encoding", "chunked")
            parts = [bytes(framed[at : at + 70_001]) for at in range(0, len(framed), 70_001)] + ([b"more"] if "longer" in fault else [])
            framed = bytearray(b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n")
            sent = announced = len(framed)
        elif fault == "unannounced":
            request.send_header("Connection", "close")
        else:
            request.send_header("Content-Length", str(announced))
        if fault == "range":
            request.send_header("Content-Range", f"bytes {start + 1}-{end}/{len(self.content)}")
        request.end_headers()
        if fault == "stall":
            request.wfile.write(framed[: sent // 2])
            self.release.wait(60)
            request.close_connection = True
            return
        if fault == "trickle":
            for at in range(0, sent, 64):
                request.wfile.write(framed[at : at + 64])
                if self.release.wait(0.05):
                    break
            request.close_connection = True
            return
        request.wfile.write(framed[:sent])
        with self.lock:
            self.bytes_sent += sent
        if sent < announced:
            request.close_connection = True
        if fault == "unannounced":
            # What was asked behind it lies unread: to close now would reset the connection, and take what is on its way along.
            request.connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                while request.connection.recv(1 << 16):
                    pass


class Origin(Served):
    """An origin over `content`. ranges: it serves them. chunked: it does not say how long the file is. etag: "" = no validator.

    fault(start of the range, how often it was asked before) -> "" | "cut" | "404" | "503" | "stall".
    """

    def __init__(
        self, content: bytes, *, ranges: bool = True, chunked: bool = False, etag: str = '"v1"', fault: Fault = lambda n, before: ""
    ) -> None:
        self.content = content
        self.ranges = ranges
        self.chunked = chunked
        self.etag = etag
        self.fault = fault
        self.asked: Counter[int] = Counter()
        self.bytes_sent = 0
        self.headers: list[dict[str, str]] = []
        self.release = threading.Event()
        super().__init__()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/some/file.bin"

    def stop(self) -> None:
        self.release.set()
        super().stop()

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        content, start, end, status = self.content, 0, len(self.content), 200
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if match and self.ranges and request.headers.get("If-Range", self.etag) == self.etag:
            start, status = int(match[1]), 206
            end = min(end, int(match[2]) + 1) if match[2] else end
        with self.lock:
            before = self.asked[start]
            self.asked[start] += 1
            self.headers.append(dict(request.headers))
        fault = self.fault(start, before)
        if fault in ("404", "503"):
            say(request, int(fault), b"")
            return
        request.send_response(status)
        if self.ranges:
            request.send_header("Accept-Ranges", "bytes")
        if self.etag:
            request.send_header("ETag", self.etag)
        if status == 206:
            request.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        part = content[start:end]
        if self.chunked:
            request.send_header("Transfer-Encoding", "chunked")
        else:
            request.send_header("Content-Length", str(len(part)))
        request.end_headers()
        if fault in ("cut", "stall"):
            part = part[: len(part) // 2]
        for at in range(0, len(part), 256 << 10):
            piece = part[at : at + (256 << 10)]
            request.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece)
            with self.lock:
                self.bytes_sent += len(piece)
        if fault == "stall":
            self.release.wait(60)
        if fault:
            request.close_connection = True
        elif self.chunked:
            request.wfile.write(b"0\r\n\r\n")


@contextlib.contextmanager
def unused_port() -> Iterator[int]:
    """A port that refuses connections while inside."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def eventually(true: Callable[[], bool], what: str, patience: float = 20.0) -> None:
    """Waits for an event of another thread or process; fails after `patience` seconds."""
    until = time.monotonic() + patience
    while not true():
        assert time.monotonic() < until, what
        time.sleep(0.005)
