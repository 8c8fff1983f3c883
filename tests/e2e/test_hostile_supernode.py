"""A supernode that answers what no supernode would: a download ends soon, with one line and a documented code, and no file."""

from __future__ import annotations

import json
import resource
import subprocess
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from dfengine.client import supernode_session
from dfengine.client.messages import Registration
from dfengine.errors import SupernodeError
from dfengine.net.dialer import Dialer
from dfengine.settings import SupernodeAddress
from tests.e2e.scene import DFENGINE, MIB, Scene
from tests.e2e.standin import Served

MEMORY = 1 << 30
"""Bytes of address space that a download of a file of no size may take."""

DIGEST = "0" * 32
REGISTERED = {"taskId": "t", "fileLength": 9 * MIB, "pieceSize": 4 * MIB, "cdnSource": "supernode", "asSeed": False, "seedTaskID": "",
              "native": 1, "generation": "g", "digest": "xxh3"}
SOURCE = ["cid", "127.0.0.1", 1, "/peer/file/x"]


def registered(**fields: object) -> bytes:
    return json.dumps({"code": 200, "data": REGISTERED | fields, "msg": "success"}).encode()


def offers(*pieces: object, **fields: object) -> bytes:
    return json.dumps({"code": 601, "offers": pieces, "length": 9 * MIB, "count": 3} | fields).encode()


DEEP = b"[" * 200_000 + b"]" * 200_000
HUGE = b'{"code":200,"msg":"' + b"x" * (9 << 20) + b'"}'

REGISTRATIONS = {
    "huge": HUGE,
    "deep": DEEP,
    "deep within": b'{"code":200,"data":' + DEEP + b"}",
    "deep where nobody looks": b'{"code":200,"more":' + DEEP + b"}",
    "NaN": registered().replace(str(9 * MIB).encode(), b"NaN"),
    "a float": registered(fileLength=1.5),
    "infinite": registered().replace(str(9 * MIB).encode(), b"1e999"),
    "a length below unknown": registered(fileLength=-2),
    "a length beyond all": registered(fileLength=1 << 63),
    "a length of many digits": registered().replace(str(9 * MIB).encode(), b"9" * 5000),
    "a length that nobody has room for": registered(fileLength=1 << 61),
    "more pieces than can be": registered(fileLength=1 << 61, pieceSize=6),
    "pieces of nothing": registered(pieceSize=0),
    "pieces of a frame": registered(pieceSize=5),
    "negative pieces": registered(pieceSize=-4 * MIB),
    "pieces beyond all": registered(pieceSize=1 << 40),
    "no task": registered(taskId=""),
    "a task of another kind": registered(taskId=7),
    "a digest that nobody knows": registered(digest="crc32"),
    "a generation that is no text": registered(generation="\ud800"),
    "a task that is no text": registered(taskId="\ud800"),
    "no object": b"[]",
    "null": b"null",
    "nothing": b"",
    "no JSON": b"<html>",
    "no UTF-8": b'{"code":200,"msg":"\xff\xff"}',
    "a lone surrogate": b'{"code":200,"msg":"\\ud800"}',
    "keys that come twice": b'{"code":200,"code":500,"message":"no","message":"never"}',
}

PULLS = {
    "huge": HUGE,
    "deep": DEEP,
    "deep within": b'{"code":601,"offers":' + DEEP + b"}",
    "a negative piece": offers([-1, DIGEST, [SOURCE]]),
    "a piece past the end": offers([3, DIGEST, [SOURCE]]),
    "a piece beyond all": offers([1 << 70, DIGEST, [SOURCE]]),
    "a piece that is none": offers(["0", DIGEST, [SOURCE]]),
    "NaN": b'{"code":601,"offers":[[NaN,"00",[]]]}',
    "no digest": offers([0, "", [SOURCE]]),
    "no source": offers([0, DIGEST, []]),
    "a source of another kind": offers([0, DIGEST, [["cid", 7]]]),
    "a port beyond all": offers([0, DIGEST, [["cid", "127.0.0.1", 1 << 20, "/peer/file/x"]]]),
    "a negative port": offers([0, DIGEST, [["cid", "127.0.0.1", -1, "/peer/file/x"]]]),
    "a path that is a request": offers([0, DIGEST, [["cid", "127.0.0.1", 1, "/x HTTP/1.1\r\nX: y\r\n\r\n"]]]),
    "an address that is none": offers([0, DIGEST, [["cid", "\u0000", 1, "/x"]]]),
    "another length": offers([0, DIGEST, [SOURCE]], length=10 * MIB),
    "a length below unknown": offers([0, DIGEST, [SOURCE]], length=-7),
    "all is here": json.dumps({"code": 600, "length": 9 * MIB, "count": 3}).encode(),
    "a code that nobody knows": b'{"code":999}',
    "many offers": offers(*[[0, DIGEST, [SOURCE] * 64]] * 20_000),
    "keys that come twice": b'{"code":601,"offers":[[0,"' + DIGEST.encode() + b'",[]]],"code":604,"msg":"no","msg":"never"}',
    "nothing": b"",
}


class Hostile(Served):
    """Answers a registration and every pull with these bytes."""

    def __init__(self, registration: bytes, pull: bytes = b"") -> None:
        self._registration, self._pull = registration, pull
        super().__init__()

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        path = request.path.partition("?")[0]
        said = self._registration if path == "/peer/registry" else self._pull if path == "/swarm/pull" else b"{}"
        request.send_response(200)
        request.send_header("Content-Length", str(len(said)))
        request.end_headers()
        request.wfile.write(said)


def test_one_that_asks_for_credentials_for_ever_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supernode_session, "AUTH_PATIENCE", 0.3)
    monkeypatch.setattr(supernode_session, "AUTH_PAUSE", 0.05)
    with Hostile(b'{"code":609,"msg":"wait"}') as server:
        node = SupernodeAddress("127.0.0.1", server.port)
        with pytest.raises(SupernodeError, match="wait"):
            supernode_session.join(Dialer(), node, Registration(cid="c", ip="127.0.0.1"), time.monotonic() + 1e9)
        assert server.count("/peer/registry") > 1


@pytest.fixture
def against(stage: Scene) -> Iterator[Any]:
    """Runs a download against a hostile supernode: its exit code and what it said."""
    servers = []

    def play(registration: bytes, pull: bytes = b"") -> tuple[int, str]:
        server = Hostile(registration, pull)
        servers.append(server)
        home = stage.path / "home-2"
        stage.homes.add(home)
        ended = subprocess.run(
            [*DFENGINE, "get", "http://files.invalid/f", "-o", str(stage.path / "out"), "-n", f"127.0.0.1:{server.port}", "--notbs",
             "--timeout", "15", "--ip", "127.0.0.2", "--home", str(home)],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)), capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        return ended.returncode, ended.stderr.decode()

    yield play
    for server in servers:
        server.stop()


def judge(stage: Scene, code: int, said: str, codes: tuple[int, ...]) -> None:
    assert code in codes, said[-2000:]
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1
    assert len(said) < 2000
    assert said.rstrip("\n").isprintable()
    assert not Path(stage.path / "out").exists()


@pytest.mark.parametrize("options", [("--notbs",), ("--verbose",), ()])
def test_nothing_that_it_says_reaches_a_terminal_as_it_is(stage: Scene, options: tuple[str, ...]) -> None:
    """Neither when the download fails, nor when it goes on at the origin and says why."""
    stage.file("f", 1000)
    with Hostile(json.dumps({"code": 500, "message": "\x1b[2J\x07 \u202egone"}).encode()) as server:
        get = stage.start_get(stage.origin() + "/f", "out", "-n", f"127.0.0.1:{server.port}", "--timeout", "30", *options)
        _, said = get.communicate(timeout=60)
    assert get.returncode == (3 if "--notbs" in options else 0)
    assert "--notbs" not in options or b"gone" in said
    assert all(line.isprintable() for line in said.decode().splitlines())


@pytest.mark.parametrize("what", REGISTRATIONS)
def test_registrations(stage: Scene, against: Any, what: str) -> None:
    code, said = against(REGISTRATIONS[what])
    judge(stage, code, said, (3, 7) if "room" in what or "more pieces" in what else (3,))


@pytest.mark.parametrize("what", PULLS)
def test_pulls(stage: Scene, against: Any, what: str) -> None:
    code, said = against(registered(), PULLS[what])
    judge(stage, code, said, (3, 8) if what in ("a negative port",) else (3,))


@pytest.mark.parametrize("fields", [{"fileLength": 1 << 61}, {"fileLength": 1 << 50, "pieceSize": 15 * MIB}, {"generation": "\ud800"}])
def test_what_it_says_wrongly_keeps_nobody_from_the_origin(stage: Scene, fields: dict[str, object]) -> None:
    sha = stage.file("f", 3 * MIB)
    with Hostile(registered(**fields)) as server:
        result = stage.get(stage.origin() + "/f", "out", "-n", f"127.0.0.1:{server.port}", "--timeout", "60")
    assert stage.digest("out") == sha
    assert result["from"]["origin"] == 3 * MIB
