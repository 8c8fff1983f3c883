"""Our client with 1.x supernodes whose responses vary within the protocol: forms of HTTP and JSON, orders, codes."""

from __future__ import annotations

import json
import random
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from dfengine import client
from dfengine.nodes import order
from dfengine.settings import GetSettings, SupernodeAddress
from dfengine.task import task_id
from tests.e2e.standin import MIB, LegacySupernode, Origin

WHOLE = random.Random(1).randbytes(6 * MIB + 77)


class Choosing(LegacySupernode):
    """`form`: the form of its control responses, see `_json` and `_form`."""

    def __init__(self, form: str = "", **options: Any) -> None:
        self.form = form
        super().__init__(WHOLE, **options)

    def _json(self, request: BaseHTTPRequestHandler, value: Any, status: int = 200) -> None:
        data = value.get("data")
        if self.form == "more fields":
            value = {"more": {"a": [1, None]}, **value}
            if isinstance(data, dict):
                value["data"] = {"x": 1.5, **data}
            elif data:
                value["data"] = [{"more": None, **piece} for piece in data]
        elif self.form == "nulls" and data is None:
            value = {"msg": None, **value, "data": None}
        elif self.form == "other order" and data:
            value = {"data": data[::-1] if isinstance(data, list) else dict(reversed(data.items())), "code": value["code"]}
        elif self.form == "offered twice" and isinstance(data, list):
            value = {**value, "data": data + data}
        elif self.form == "no source" and "cdnSource" in (data or ()):
            value = {**value, "data": {key: item for key, item in data.items() if key not in ("cdnSource", "asSeed", "seedTaskID")}}
        elif self.form == "no md5" and "md5" in (data or ()):
            value = {"code": value["code"]}
        body = json.dumps(value, indent=1 if self.form == "spaces" else None).encode()
        request.wfile.write(self._form(status, body))
        if self.form in ("close", "1.0", "no length", "silently closed"):
            request.close_connection = True

    def _form(self, status: int, body: bytes) -> bytes:
        length = b"Content-Length: %d\r\n" % len(body)
        if self.form == "lower case":
            return b"HTTP/1.1 %d\r\ncontent-length:%d\r\nx-odd:  a:b \r\ncontent-type:text/plain\r\n\r\n%b" % (status, len(body), body)
        if self.form == "chunked":
            halves = body[: len(body) // 2], body[len(body) // 2 :]
            chunks = b"".join(b"%X;name=value\r\n%b\r\n" % (len(half), half) for half in halves)
            return b"HTTP/1.1 %d OK\r\nTransfer-Encoding: Chunked\r\n\r\n%b0\r\nTrailer: x\r\n\r\n" % (status, chunks)
        if self.form == "interim":
            return b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 %d OK\r\n%b\r\n%b" % (status, length, body)
        if self.form in ("1.0", "no length"):
            return b"HTTP/1.0 %d OK\r\n%b\r\n%b" % (status, length if self.form == "1.0" else b"", body)
        return b"HTTP/1.1 %d OK\r\n%b%b\r\n%b" % (status, length, b"Connection: Close\r\n" if self.form == "close" else b"", body)


def get(folder: Path, url: str, *nodes: LegacySupernode, **settings: Any) -> client.Result:
    addresses = tuple(SupernodeAddress("127.0.0.1", node.port) for node in nodes)
    output = folder / "out"
    result = client.get(
        GetSettings(url=url, output=str(output), nodes=addresses, pattern="cdn", home=str(folder / "home"), **settings)
    )
    assert output.read_bytes() == WHOLE
    return result


@pytest.mark.parametrize(
    "form",
    [
        "lower case", "chunked", "interim", "1.0", "no length", "close", "silently closed", "spaces", "more fields", "nulls", "no source",
        "other order", "offered twice", "no md5",
    ],
)
def test_control_responses_of_every_allowed_form_are_accepted(tmp_path: Path, form: str) -> None:
    with Choosing(form) as node:
        result = get(tmp_path, "http://127.0.0.1:1/file", node, notbs=True)
        assert result.from_supernode == len(WHOLE)
        assert len(node.registered) == 1
        assert set(node.asked.values()) == {1}


def test_blanks_in_a_sources_path_are_percent_encoded(tmp_path: Path) -> None:
    """1.x clients name their path after their output, and the supernode passes it on unchanged."""
    with Choosing() as node:
        plain = node.offer
        node.offer = lambda n, cid: {**plain(n, cid), "path": "/download/my file é"}
        assert get(tmp_path, "http://127.0.0.1:1/file", node, notbs=True).from_supernode == len(WHOLE)
        assert node.count("^/download/my%20file%20%C3%A9$") == node.pieces


@pytest.mark.parametrize("piece_size", [MIB, 4 * MIB, 5 * MIB, 15 * MIB])
def test_the_supernode_chooses_the_piece_size(tmp_path: Path, piece_size: int) -> None:
    with Choosing(piece_size=piece_size) as node:
        assert get(tmp_path, "http://127.0.0.1:1/file", node, notbs=True).from_supernode == len(WHOLE)


@pytest.mark.parametrize("code", [-1, 500, 501, 502, 604, 605, 606, 607, 608, 609, 610, 999])
def test_a_supernode_that_registers_and_fails_every_pull_is_replaced_by_the_next(tmp_path: Path, code: int) -> None:
    with Choosing() as one, Choosing() as other, Origin(WHOLE) as origin:
        by_port = {one.port: one, other.port: other}
        first = by_port[order((SupernodeAddress("127.0.0.1", port) for port in by_port), task_id(origin.url))[0].port]
        first.pull_code = {"code": code, "msg": "not from me"}
        result = get(tmp_path, origin.url, one, other)
        assert result.back_to_source is None
        assert len(first.registered) == 1
        assert result.from_supernode == len(WHOLE)


def test_waiting_for_another_clients_credentials_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfengine.client.supernode_session.AUTH_PAUSE", 0.02)
    monkeypatch.setattr("dfengine.client.supernode_session.AUTH_PATIENCE", 0.2)
    with Choosing() as node, Origin(WHOLE) as origin:
        node.refuse = (200, {"code": 609, "msg": "wait for the credentials"})
        result = get(tmp_path, origin.url, node)
        assert "wait for the credentials" in (result.back_to_source or "")
        assert node.count("/peer/registry") > 1
