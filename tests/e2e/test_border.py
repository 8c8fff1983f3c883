"""Hostile values in every field of every endpoint: accepted or refused, never an internal error."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from tests.e2e.scene import Scene, Supernode, until
from tests.fuzz import border

OWN_FAULT = b"internal error"


class Client:
    """A client that sends requests over one connection at a time and returns their responses."""

    def __init__(self, port: int, ip: str = "127.0.0.1") -> None:
        self._address = ip, port
        self._line: socket.socket | None = None

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body; status 0 for a connection that was cut."""
        for fresh in (False, True):
            if self._line is None or fresh:
                self.close()
                self._line = socket.create_connection(self._address, 40)
            with contextlib.suppress(OSError, http.client.HTTPException):
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self._line.sendall(request)  # a server that refuses a request before its end closes the connection
                answer = http.client.HTTPResponse(self._line, method=request.split(b" ", 1)[0].decode())
                answer.begin()
                body = answer.read()
                if answer.will_close:
                    self.close()
                return answer.status, body
        return 0, b""

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def check(client: Client, requests: Iterator[tuple[str, bytes]]) -> int:
    count, wrong = 0, list[str]()
    for what, request in requests:
        status, body = client.ask(request)
        if not 200 <= status < 600 or OWN_FAULT in body:
            wrong.append(f"{what}: {status} {body!r}")
        count += 1
    client.close()
    assert not wrong, "\n".join(wrong[:40])
    return count


@pytest.fixture
def joined(stage: Scene) -> Iterator[tuple[Supernode, str, dict[str, str], dict[str, str]]]:
    """A supernode, a URL, and a native and a 1.x download of it: {task, cid}."""
    stage.file("f", 9 << 20)
    url = stage.origin() + "/f"
    node = stage.supernode("--revalidate-interval", "1h", "--fail-access-interval", "0")
    made = []
    for cid, native in (("native-1", 1), ("old-1", 0)):
        client = Client(node.port)
        status, body = client.ask(border.post("/peer/registry", json.dumps(about(url, cid) | {"native": native}).encode()))
        client.close()
        assert status == 200
        made.append({"task": json.loads(body)["data"]["taskId"], "cid": cid})
    yield node, url, made[0], made[1]
    for download in made:  # assigned pieces are released, or the supernode's shutdown would wait for them
        node.get("/peer/service/down?taskId={task}&cid={cid}".format(**download))
    assert b"\ndfengine_internal_errors_total 0.0\n" in node.get("/metrics")


def about(url: str, cid: str) -> dict[str, Any]:
    return {"rawUrl": url, "taskUrl": url, "cid": cid, "ip": "127.0.0.1", "port": 15001, "path": "/peer/file/x", "native": 1,
            "hostName": "h", "version": "1", "superNodeIp": "127.0.0.1", "windowSize": 4, "streamMode": False, "fileLength": 0,
            "headers": ["A: b"], "rootCAs": [], "insecure": False, "md5": "", "identifier": "", "callSystem": "", "pattern": "p2p",
            "location": "", "inOrder": False, "asSeed": False, "dfdaemon": False, "taskId": ""}  # fmt: skip


def test_registrations_with_hostile_fields(joined: Any) -> None:
    node, url, *_ = joined
    fields = about(url + "?HOLE", "hostile")

    def each() -> Iterator[tuple[str, bytes]]:
        for n, (what, body) in enumerate(border.bodies(fields)):
            yield what, border.post("/peer/registry", body.replace(b"?HOLE", b"?%d" % n))
        for name in ("streamMode", "insecure"):
            for n, value in enumerate(border.VALUES):
                stream = json.dumps(fields | {"streamMode": True}).encode().replace(b'"windowSize": 4', b'"windowSize": ' + value)
                body = stream.replace(b"?HOLE", b"?%s%d" % (name.encode(), n))
                yield f"{name}: window {value[:20]!r}", border.post("/peer/registry", body)
        for what, query in border.queries({"rawUrl": url, "cID": "c", "ip": "127.0.0.1", "port": "15001", "path": "/peer/file/x",
                                           "fileLength": "0", "headers": "A: b", "native": "0", "windowsize": "4"}):  # fmt: skip
            yield what, border.post("/peer/registry", query, "Content-Type: application/x-www-form-urlencoded\r\n")

    assert check(Client(node.port), each()) > 1000


def test_native_pulls_with_hostile_fields(joined: Any) -> None:
    node, _, native, _ = joined
    base = {**native, "done": [[0, "cdnnode:x"]], "failed": [[1, "cdnnode:x", "gone"]], "ending": [1], "pace": 0.5, "held": [[0, 1]],
            "evicted": [[1, 2]], "want": 0, "wait": 0, "una": 0, "end": -1}  # fmt: skip

    def each() -> Iterator[tuple[str, bytes]]:
        for message in (base, {**native, "done": [[0, ""]], "ending": [1], "want": 1, "wait": 0, "una": 0, "end": 1}):
            for what, body in border.bodies(message):
                if ".wait=" not in what:
                    # The second is written without blanks, as `get` writes it: the parser of plain pulls reads it.
                    yield what, border.post("/swarm/pull", body)
                    yield what, border.post("/swarm/pull", body.replace(b", ", b",").replace(b": ", b":"))
        for what, body in border.bodies({**native, "origin": "a.example:80", "wait": 0, "release": True}):
            yield what, border.post("/swarm/origin", body)

    assert check(Client(node.port), each()) > 1000


def test_requests_of_1x_clients_and_operators_with_hostile_fields(joined: Any) -> None:
    node, url, _, old = joined
    task, cid, piece = old["task"], old["cid"], "0-4194303"
    fields = {
        "/peer/task": {"taskId": task, "srcCid": cid, "dstCid": "", "range": piece, "status": "701", "result": "503"},
        "/peer/piece/suc": {"taskId": task, "cid": cid, "dstCid": "", "pieceRange": piece},
        "/peer/piece/stream": {"taskId": task, "cid": cid, "dstCid": "", "pieceRange": piece},
        "/peer/piece/error": {"taskId": task, "srcCid": cid, "dstCid": "", "range": piece, "errorType": "FILE_NOT_EXIST"},
        "/peer/service/down": {"taskId": task, "cid": cid},
    }

    def each() -> Iterator[tuple[str, bytes]]:
        for path, given in fields.items():
            for method in (b"GET", b"POST", b"DELETE", b"HEAD"):
                for what, query in border.queries(given):
                    if path != "/peer/service/down" or not query.startswith(f"taskId={task}&cid={cid}".encode()):
                        yield f"{path} {what}", border.get(path.encode() + b"?" + query, method=method)
        for path, message in (
            ("/task/metrics", {"cID": cid, "taskId": task, "success": True, "duration": 1.5, "fileLength": 1, "backsourceReason": "0",
                               "port": 1, "callSystem": ""}),
            ("/peer/heartbeat", {"cID": cid, "port": 1}), ("/peer/network", {"a": 1}),
            ("/api/v1/peers", {"hostName": "h", "IP": "127.0.0.1", "port": 1, "version": "1"}),
            ("/api/v1/preheats", {"type": "file", "url": url, "filter": "", "headers": {"A": "b"}}),
        ):  # fmt: skip
            for what, body in border.bodies(message):
                yield f"{path} {what}", border.post(path, body)
        for folder in (b"/api/v1/peers/", b"/api/v1/tasks/", b"/api/v1/preheats/", b"/v1.2", b"/v9" + b"9" * 300 + b"/", b"/"):
            for value in border.VALUES:
                if len(value) < 4000:
                    for method in (b"GET", b"DELETE"):
                        yield f"{folder!r} {value!r}", border.get(folder + quote_from_bytes(value).encode(), method=method)
        for value in border.VALUES:
            if len(value) < 4000:
                yield f"/peers {value!r}", border.get(b"/peers?pageNum=" + quote_from_bytes(value).encode())
                yield f"/peers {value!r}", border.get(b"/peers?pageSize=" + quote_from_bytes(value).encode())

    assert check(Client(node.port), each()) > 1000


def pieces(path: str, headers: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Requests for a piece with one hostile header each."""
    lines = {name: f"{name}: {value}\r\n".encode() for name, value in headers.items()}
    for name in headers:
        rest = b"".join(line for other, line in lines.items() if other != name)
        for value in border.head_values():
            yield f"{name}: {value[:40]!r}", border.get(path.encode(), rest + name.encode() + b": " + value + b"\r\n")
            if name == "Range":
                for form in (b"bytes=%b-4194303", b"bytes=0-%b", b"bytes=%b-%b" % (value, b"%b")):
                    yield f"{name}: {form!r}", border.get(path.encode(), rest + b"Range: " + form.replace(b"%b", value) + b"\r\n")


def test_the_supernodes_download_port_with_hostile_headers(joined: Any) -> None:
    node, _, native, _ = joined
    path = f"/download/{native['task'][:3]}/{native['task']}"
    client = Client(int(node.download.rpartition(":")[2]))
    headers = {"Range": "bytes=0-4194303", "PieceNum": "0", "PieceSize": "4194304"}
    until(lambda: client.ask(border.get(path.encode(), b"Range: bytes=0-4194303\r\n"))[0] == 206, "the first piece")
    assert check(client, pieces(path, headers)) > 100


def test_a_peer_server_with_hostile_headers_and_paths(stage: Scene) -> None:
    stage.file("f", 9 << 20)
    url, node = stage.origin() + "/f", stage.supernode()
    stage.get(url, "out", nodes=(node,))
    home = stage.path / "home-2"
    stage.peer_pid()
    lock = json.loads((home / "peer.lock").read_text())
    name = next(json.loads(path.read_bytes())["name"] for path in (home / "tasks").iterdir())
    client = Client(lock["port"], lock["ip"])
    headers = {"Range": "bytes=0-4194303", "PieceNum": "0", "PieceSize": "4194304", "cdnSource": "supernode"}

    def each() -> Iterator[tuple[str, bytes]]:
        yield from pieces(f"/peer/file/{name}", headers)
        yield from pieces(f"/rate/{name}", {"rateLimit": "1"})
        for what, request in pieces(f"/check/{name}", {"totalLimit": "1000000000"}):
            if not re.search(rb"totalLimit: 0*[0-9]{1,4}\r", request):  # a low rate limit that the peer server would apply
                yield what, request
        for what, query in border.queries({"taskFileName": name}):
            yield what, border.get(b"/client/finish?" + query)
        for folder in (b"/peer/file/", b"/piece/", b"/check/", b"/rate/", b"/"):
            for value in border.VALUES:
                if len(value) < 4000:
                    yield f"{folder!r} {value!r}", border.get(folder + quote_from_bytes(value).encode())

    assert check(client, each()) > 100
