"""A hostile supernode with invalid responses: a download ends soon, with one line, a documented exit code, and no file."""

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
"""Limit in bytes of a download's address space."""

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
    "deep in an unread field": b'{"code":200,"more":' + DEEP + b"}",
    "NaN": registered().replace(str(9 * MIB).encode(), b"NaN"),
    "a float": registered(fileLength=1.5),
    "infinite": registered().replace(str(9 * MIB).encode(), b"1e999"),
    "a length below -1": registered(fileLength=-2),
    "a length above the maximum": registered(fileLength=1 << 63),
    "a length of many digits": registered().replace(str(9 * MIB).encode(), b"9" * 5000),
    "a length without room on any disk": registered(fileLength=1 << 61),
    "more pieces than the maximum": registered(fileLength=1 << 61, pieceSize=6),
    "pieces of 0 bytes": registered(pieceSize=0),
    "pieces of a frame only": registered(pieceSize=5),
    "negative pieces": registered(pieceSize=-4 * MIB),
    "pieces of 1 TiB": registered(pieceSize=1 << 40),
    "no task": registered(taskId=""),
    "a task that is a number": registered(taskId=7),
    "an unknown digest": registered(digest="crc32"),
    "a generation that is no text": registered(generation="\ud800"),
    "a task that is no text": registered(taskId="\ud800"),
    "an array": b"[]",
    "null": b"null",
    "an empty body": b"",
    "no JSON": b"<html>",
    "no UTF-8": b'{"code":200,"msg":"\xff\xff"}',
    "a lone surrogate": b'{"code":200,"msg":"\\ud800"}',
    "repeated keys": b'{"code":200,"code":500,"message":"no","message":"never"}',
}

PULLS = {
    "huge": HUGE,
    "deep": DEEP,
    "deep within": b'{"code":601,"offers":' + DEEP + b"}",
    "a negative piece": offers([-1, DIGEST, [SOURCE]]),
    "a piece past the end": offers([3, DIGEST, [SOURCE]]),
    "a piece above 64 bits": offers([1 << 70, DIGEST, [SOURCE]]),
    "a piece that is a string": offers(["0", DIGEST, [SOURCE]]),
    "NaN": b'{"code":601,"offers":[[NaN,"00",[]]]}',
    "no digest": offers([0, "", [SOURCE]]),
    "no source": offers([0, DIGEST, []]),
    "a source of two fields": offers([0, DIGEST, [["cid", 7]]]),
    "a port above 65535": offers([0, DIGEST, [["cid", "127.0.0.1", 1 << 20, "/peer/file/x"]]]),
    "a negative port": offers([0, DIGEST, [["cid", "127.0.0.1", -1, "/peer/file/x"]]]),
    "a path with a request": offers([0, DIGEST, [["cid", "127.0.0.1", 1, "/x HTTP/1.1\r\nX: y\r\n\r\n"]]]),
    "an invalid address": offers([0, DIGEST, [["cid", "\u0000", 1, "/x"]]]),
    "another length": offers([0, DIGEST, [SOURCE]], length=10 * MIB),
    "a length below -1": offers([0, DIGEST, [SOURCE]], length=-7),
    "completion without pieces": json.dumps({"code": 600, "length": 9 * MIB, "count": 3}).encode(),
    "an unknown code": b'{"code":999}',
    "many offers": offers(*[[0, DIGEST, [SOURCE] * 64]] * 20_000),
    "repeated keys": b'{"code":601,"offers":[[0,"' + DIGEST.encode() + b'",[]]],"code":604,"msg":"no","msg":"never"}',
    "an empty body": b"",
}


class Hostile(Served):
    """Answers every registration and every pull with given bytes."""

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


def test_a_supernode_that_answers_wait_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supernode_session, "AUTH_PATIENCE", 0.3)
    monkeypatch.setattr(supernode_session, "AUTH_PAUSE", 0.05)
    with Hostile(b'{"code":609,"msg":"wait"}') as server:
        node = SupernodeAddress("127.0.0.1", server.port)
        with pytest.raises(SupernodeError, match="wait"):
            supernode_session.join(Dialer(), node, Registration(cid="c", ip="127.0.0.1"), time.monotonic() + 1e9)
        assert server.count("/peer/registry") > 1


@pytest.fixture
def against(stage: Scene) -> Iterator[Any]:
    """Run a download with a hostile supernode; its exit code and stderr."""
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
def test_control_characters_of_a_supernodes_message_are_not_printed(stage: Scene, options: tuple[str, ...]) -> None:
    """Neither if the download fails, nor if it continues at the origin and prints the reason."""
    stage.file("f", 1000)
    with Hostile(json.dumps({"code": 500, "message": "\x1b[2J\x07 \u202egone"}).encode()) as server:
        get = stage.start_get(stage.origin() + "/f", "out", "-n", f"127.0.0.1:{server.port}", "--timeout", "30", *options)
        _, said = get.communicate(timeout=60)
    assert get.returncode == (3 if "--notbs" in options else 0)
    assert "--notbs" not in options or b"gone" in said
    assert all(line.isprintable() for line in said.decode().splitlines())


@pytest.mark.parametrize("what", REGISTRATIONS)
def test_invalid_registration_responses_end_the_download_with_one_line(stage: Scene, against: Any, what: str) -> None:
    code, said = against(REGISTRATIONS[what])
    judge(stage, code, said, (3, 7) if "room" in what or "more pieces" in what else (3,))


@pytest.mark.parametrize("what", PULLS)
def test_invalid_pull_responses_end_the_download_with_one_line(stage: Scene, against: Any, what: str) -> None:
    code, said = against(registered(), PULLS[what])
    judge(stage, code, said, (3, 8) if what in ("a negative port",) else (3,))


@pytest.mark.parametrize("fields", [{"fileLength": 1 << 61}, {"fileLength": 1 << 50, "pieceSize": 15 * MIB}, {"generation": "\ud800"}])
def test_downloads_read_the_origin_after_an_invalid_registration_response(stage: Scene, fields: dict[str, object]) -> None:
    sha = stage.file("f", 3 * MIB)
    with Hostile(registered(**fields)) as server:
        result = stage.get(stage.origin() + "/f", "out", "-n", f"127.0.0.1:{server.port}", "--timeout", "60")
    assert stage.digest("out") == sha
    assert result["from"]["origin"] == 3 * MIB
