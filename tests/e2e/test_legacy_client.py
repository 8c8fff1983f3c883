"""A 1.x client on plain sockets, written from docs/protocol.md alone, downloads through our supernode and shares with our client."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import threading
from typing import Any

import pytest

from tests.e2e.scene import MIB, Scene, Supernode, until

JSON = {"Content-Type": "application/json"}


def exchange(address: str, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> tuple[int, bytes]:
    """One HTTP/1.1 request on a connection of its own."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as sock:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {address}", "Connection: close", f"Content-Length: {len(body)}" if body else ""]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        sock.sendall("\r\n".join(line for line in lines if line).encode() + b"\r\n\r\n" + body)
        raw = b""
        while chunk := sock.recv(1 << 20):
            raw += chunk
    head, _, content = raw.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), content


class LegacyClient:
    """Registers, pulls, fetches framed pieces, checks their md5s and reports them; with `serves` it serves its pieces after `serve`."""

    def __init__(self, node: Supernode, url: str, ip: str, serves: bool = False) -> None:
        self.node, self.url, self.ip = node, url, ip
        self.cid = f"{ip}-77-1795343111.239"
        self.path = f"/peer/file/{self.cid}"
        self.pieces: dict[int, bytes] = {}
        self.sources: dict[int, str] = {}
        self.codes: list[int] = []
        self.finished: dict[str, Any] = {}
        self._listener: socket.socket | None = None
        self.port = 0
        if serves:
            self._listener = socket.socket()
            self._listener.bind((ip, 0))
            self.port = self._listener.getsockname()[1]

    def register(self) -> dict[str, Any]:
        body = {
            "superNodeIp": "127.0.0.1", "rawUrl": self.url, "taskUrl": self.url, "cid": self.cid, "ip": self.ip, "hostName": "old",
            "port": self.port, "path": self.path, "version": "1.0.6", "pattern": "p2p",
        }
        status, content = exchange(self.node.node, "POST", "/peer/registry", JSON, json.dumps(body).encode())
        assert status == 200, content
        answer = json.loads(content)
        assert answer["code"] == 200
        self.task, self.size = answer["data"]["taskId"], answer["data"]["pieceSize"]
        return dict(answer["data"])

    def pull(self, status: int, result: int, destination: str = "", piece_range: str = "") -> dict[str, Any]:
        target = f"/peer/task?srcCid={self.cid}&dstCid={destination}&range={piece_range}&result={result}&status={status}&taskId={self.task}"
        http, content = exchange(self.node.node, "GET", target)
        assert http == 200
        answer = json.loads(content)
        self.codes.append(answer["code"])
        return dict(answer)

    def fetch(self, piece: dict[str, Any]) -> None:
        """Fetch one piece from its assigned source, check and store it."""
        address = f"{piece['peerIp']}:{piece['peerPort']}"
        socket.create_connection((piece["peerIp"], piece["peerPort"]), 5).close()  # 1.x first checks that the source accepts connections
        headers = {"Range": f"bytes={piece['range']}", "pieceNum": str(piece["pieceNum"]), "pieceSize": str(piece["pieceSize"])}
        status, framed = exchange(address, "GET", piece["path"], headers)
        md5, _, length = piece["pieceMd5"].partition(":")
        assert (status, len(framed)) == (206, int(length))
        assert hashlib.md5(framed).hexdigest() == md5
        assert framed[-1] == 0x7F
        assert int.from_bytes(framed[:4], "big") == (len(framed) - 5) | self.size << 4
        self.pieces[piece["pieceNum"]] = framed
        self.sources[piece["pieceNum"]] = piece["cid"]

    def download(self) -> bytes:
        """Download the whole file in 1.x's way and return its content."""
        self.register()
        answer = self.pull(700, 502)
        while answer["code"] != 600:
            assert answer["code"] in (601, 602), answer
            for piece in answer.get("data", []):
                self.fetch(piece)
                written = f"taskId={self.task}&cid={self.cid}&dstCid={piece['cid']}&pieceRange={piece['range']}"
                answer = self.pull(701, 503, piece["cid"], piece["range"])
                assert json.loads(exchange(self.node.node, "GET", f"/peer/piece/suc?{written}")[1]) == {"code": 611}
                if answer["code"] == 601 and "data" in answer:
                    for more in answer["data"]:
                        self.fetch(more)
                        written = f"taskId={self.task}&cid={self.cid}&dstCid={more['cid']}&pieceRange={more['range']}"
                        exchange(self.node.node, "GET", f"/peer/piece/suc?{written}")
                if answer["code"] == 600:
                    break
            if answer["code"] != 600:
                answer = self.pull(700, 502)
        self.finished = answer["data"]
        assert self.pull(702, 501)["code"] == 600
        return b"".join(self.pieces[n][4:-1] for n in sorted(self.pieces))

    def serve(self) -> None:
        """Serve the fetched pieces in a thread, until `close`."""
        assert self._listener is not None
        self._listener.listen()

        def run() -> None:
            assert self._listener is not None
            while True:
                try:
                    sock, _ = self._listener.accept()
                except OSError:
                    return
                threading.Thread(target=self._answer, args=(sock,), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()

    def _answer(self, sock: socket.socket) -> None:
        with sock:
            raw = b""
            while True:
                while b"\r\n\r\n" not in raw:
                    chunk = sock.recv(65536)
                    if not chunk:
                        return
                    raw += chunk
                head, _, raw = raw.partition(b"\r\n\r\n")
                target = head.split(b" ")[1]
                if target.startswith(b"/check/"):
                    said = target.removeprefix(b"/check/") + b"@1.0.6"
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))
                    continue
                fields = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
                framed = self.pieces[int(fields["piecenum"])]
                sock.sendall(f"HTTP/1.1 206 Partial Content\r\nContent-Length: {len(framed)}\r\n\r\n".encode() + framed)

    def leave(self) -> int:
        """Deregister by service down and return its code; a second time is refused."""
        target = f"/peer/service/down?taskId={self.task}&cid={self.cid}"
        code = json.loads(exchange(self.node.node, "GET", target)[1])["code"]
        assert exchange(self.node.node, "GET", target)[0] == 500
        return int(code)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()


@pytest.mark.parametrize("size", [0, 1, 4 * MIB - 5, 4 * MIB - 4, 9_000_000, 50_000_000])
def test_a_1x_client_downloads_through_our_supernode(stage: Scene, size: int) -> None:
    digest = stage.file("f", size)
    url = stage.origin() + "/f"
    node = stage.supernode()
    client = LegacyClient(node, url, "127.0.0.1")
    content = client.download()
    assert hashlib.sha256(content).hexdigest() == digest
    assert client.finished == {"fileLength": size + 5 * len(client.pieces), "md5": hashlib.md5(content).hexdigest()}
    assert client.leave() == 612
    stage.check_read_once("/f", size, node)


def test_a_1x_client_downloads_a_file_of_unknown_length(stage: Scene) -> None:
    digest = stage.file("f", 13 * MIB)
    client = LegacyClient(stage.supernode(), stage.origin() + "/chunked/f", "127.0.0.1")
    assert hashlib.sha256(client.download()).hexdigest() == digest
    client.leave()


def test_1x_and_native_peers_serve_each_other(stage: Scene) -> None:
    size = 30_000_000
    digest = stage.file("f", size)
    url = stage.origin() + "/f"
    node = stage.supernode()
    stage.get(url, "a", nodes=(node,))
    old = LegacyClient(node, url, "127.0.0.1", serves=True)
    old.path = "/peer/file/my output-77"  # 1.x names its path after its output
    assert hashlib.sha256(old.download()).hexdigest() == digest
    assert any(not cid.startswith("cdnnode:") for cid in old.sources.values()), "some pieces from the native peer"
    # The native peer leaves; the next download fetches the 1.x peer's pieces.
    pid = stage.peer_pid()

    os.kill(pid, signal.SIGTERM)
    until(lambda: not os.path.exists(f"/proc/{pid}"), "the end of the native peer")
    stage.homes.clear()
    old.serve()
    result = stage.get(url, "b", host=3, nodes=(node,))
    assert stage.digest("b") == digest
    assert result["from"]["peers"] > 0
    assert old.leave() == 612
    old.close()


def test_a_1x_client_receives_an_error_that_names_an_md5_mismatch(stage: Scene) -> None:
    stage.file("f", 9_000_000)
    url = stage.origin() + "/f"
    node = stage.supernode()
    client = LegacyClient(node, url, "127.0.0.1")
    body = {"rawUrl": url, "cid": "c", "ip": "127.0.0.1", "port": 0, "path": "/peer/file/x", "md5": "0" * 32,
            "version": "1.0.6", "hostName": "h"}
    status, content = exchange(node.node, "POST", "/peer/registry", JSON, json.dumps(body).encode())
    if status == 200:
        client.task, client.cid = json.loads(content)["data"]["taskId"], "c"
        answer = until(lambda: (found := client.pull(700, 502))["code"] == 604 and found, "the failure of the task")
        assert "md5" in answer["msg"]
    else:
        assert b"md5" in content
