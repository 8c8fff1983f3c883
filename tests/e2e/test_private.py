"""Hosts with different credentials for one private file: which hosts share a swarm, and what each must prove first."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from tests.e2e.scene import MIB, Scene, Supernode, until
from tests.e2e.test_legacy_client import JSON, LegacyClient, exchange
from tests.origins import quiet

BODY = hashlib.shake_256(b"private").digest(12 * MIB + 5)
TOKENS = ("one", "two", "three", "four")


class Origin(quiet.QuietHandler):
    """Sends a token's body of `bodies`, else BODY, by ranges, to requests with one of `tokens`. more: fields of each response."""

    protocol_version = "HTTP/1.1"
    tokens: ClassVar[set[str]] = set()
    bodies: ClassVar[dict[str, bytes]] = {}
    more: ClassVar[dict[str, str]] = {}
    sent: ClassVar[list[int]] = []
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.asked.append(token)
        if token not in self.tokens:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = whole = self.bodies.get(token, BODY)
        low, _, high = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if low:
            body = whole[int(low) : int(high) + 1 if high else len(whole)]
        self.send_response(206 if low else 200)
        if low:
            self.send_header("Content-Range", f"bytes {low}-{int(low) + len(body) - 1}/{len(whole)}")
        for name, value in {"ETag": f'"{hashlib.md5(whole).hexdigest()}"', **self.more}.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)
        self.sent.append(len(body))


@pytest.fixture
def origin() -> Iterator[str]:
    Origin.tokens, Origin.bodies, Origin.more = set(TOKENS), {}, {}
    Origin.sent.clear()
    Origin.asked.clear()
    with quiet.serving(Origin) as address:
        yield f"http://{address}/v2/a/blobs/private"


class Daemon(LegacyClient):
    """A dfget run by a 1.x dfdaemon, with the token of the daemon's client."""

    def __init__(self, node: Supernode, url: str, ip: str, token: str) -> None:
        super().__init__(node, url, ip)
        self.token = token

    def register(self) -> dict[str, Any]:
        body = {
            "superNodeIp": "127.0.0.1", "rawUrl": self.url, "taskUrl": self.url, "cid": self.cid, "ip": self.ip, "hostName": "old",
            "port": self.port, "path": self.path, "version": "1.0.6", "pattern": "p2p", "dfdaemon": True,
            "headers": [f"Authorization: Bearer {self.token}"],
        }  # fmt: skip
        while True:
            status, content = exchange(self.node.node, "POST", "/peer/registry", JSON, json.dumps(body).encode())
            answer = json.loads(content)
            if answer["code"] != 609:
                break
        assert (status, answer["code"]) == (200, 200), content
        self.task, self.size = answer["data"]["taskId"], answer["data"]["pieceSize"]
        return dict(answer["data"])


def test_clients_with_four_tokens_read_a_file_once_with_private_share(stage: Scene, origin: str) -> None:
    """1.x's dfdaemons do not send this option: the supernode is configured to share."""
    node = stage.supernode("--private", "share", "--revalidate-interval", "1h")
    clients = [Daemon(node, origin, f"127.0.0.{n + 20}", token) for n, token in enumerate(TOKENS)]
    for client in clients:
        assert client.download() == BODY
    assert len({client.task for client in clients}) == 1
    assert sum(Origin.sent) <= len(BODY) + len(TOKENS)
    # A token that the origin refuses gives no access although the supernode has the file; nor does a request without one.
    asked = len(Origin.asked)
    for token in ("bad", ""):
        with pytest.raises(AssertionError, match="url not reachable"):
            Daemon(node, origin, "127.0.0.30", token).register()
    assert len(Origin.asked) > asked
    assert {client.task for client in clients}.isdisjoint({stage.get(origin, "x", "--header", "Authorization: Bearer one", "--private",
                                                                     "split", nodes=(node,))["task_id"]})  # fmt: skip


@pytest.mark.parametrize("header", [("--header", "Authorization: Bearer one"), ()], ids=["credentials", "public"])
def test_files_are_refused_for_credentials_that_the_origin_revoked(stage: Scene, origin: str, header: tuple[str, ...]) -> None:
    """The supernode has the file, in memory and on its disk. Other credentials give access as before."""
    Origin.tokens.add("")
    node = stage.supernode("--revalidate-interval", "0.1s")
    stage.get(origin, "a", *header, "--notbs", nodes=(node,))
    stage.get(origin, "b", "--header", "Authorization: Bearer two", "--notbs", nodes=(node,))
    Origin.tokens -= {"one", ""}
    time.sleep(0.2)  # until the origin has to be requested again
    for _ in range(2):
        assert "credentials" in stage.get(origin, "c", *header, "--notbs", host=3, nodes=(node,), status=3)
        assert not (stage.path / "c").exists()
    stage.get(origin, "d", "--header", "Authorization: Bearer two", "--notbs", host=4, nodes=(node,))
    Origin.tokens |= {"one", ""}
    until(lambda: _opens(stage, origin, header, node), "access after another request to the origin")
    for name in ("a", "b", "d", "e"):
        assert (stage.path / name).read_bytes() == BODY


def _opens(stage: Scene, origin: str, header: tuple[str, ...], node: Supernode) -> bool:
    process = stage.start_get(origin, "e", *header, "--notbs", host=5, nodes=(node,))
    process.communicate()
    return process.returncode == 0


def test_by_default_each_token_has_its_own_task(stage: Scene, origin: str) -> None:
    node = stage.supernode("--revalidate-interval", "1h")
    clients = [Daemon(node, origin, f"127.0.0.{n + 20}", token) for n, token in enumerate(TOKENS[:2])]
    for client in clients:
        assert client.download() == BODY
    assert clients[0].task != clients[1].task
    assert sum(Origin.sent) >= 2 * len(BODY)


def test_gets_with_private_share_share_one_task(stage: Scene, origin: str) -> None:
    node = stage.supernode("--revalidate-interval", "1h")
    found = [
        stage.get(origin, token, "--header", f"Authorization: Bearer {token}", "--private", "share", "--notbs", host=host, nodes=(node,))
        for host, token in enumerate(TOKENS, 2)
    ]
    assert len({each["task_id"] for each in found}) == 1
    assert all((stage.path / token).read_bytes() == BODY for token in TOKENS)
    assert sum(Origin.sent) <= len(BODY) + len(TOKENS)
    for header in ((), ("--header", "Authorization: Bearer bad")):
        said = stage.get(origin, "y", *header, "--private", "share", "--notbs", host=7, nodes=(node,), status=3)
        assert "credentials" in said
    assert not (stage.path / "y").exists()


@pytest.mark.parametrize("more", [
    {"ETag": ""}, {"ETag": 'W/"1"'}, {"Vary": "Accept, Authorization"}, {"Vary": "*"}, {"Cache-Control": "private, max-age=0"},
    {"Cache-Control": "No-Store"},
])  # fmt: skip
def test_files_without_a_comparable_version_are_not_shared(stage: Scene, origin: str, more: dict[str, str]) -> None:
    """The origin names no version, or states that the response depends on the client."""
    Origin.more = more
    node = stage.supernode("--private", "share", "--revalidate-interval", "1h")
    clients = [Daemon(node, origin, f"127.0.0.{n + 20}", token) for n, token in enumerate(TOKENS[:2])]
    for client in clients:
        assert client.download() == BODY
    assert clients[0].task != clients[1].task


def test_each_token_receives_the_file_that_the_origin_sends_for_it(stage: Scene, origin: str) -> None:
    """One URL, and two files, depending on the token."""
    Origin.bodies = {"two": BODY[::-1], "four": BODY[::-1]}
    node = stage.supernode("--private", "share", "--revalidate-interval", "1h")
    clients = [Daemon(node, origin, f"127.0.0.{n + 20}", token) for n, token in enumerate(TOKENS)]
    for client in clients:
        assert client.download() == Origin.bodies.get(client.token, BODY)
    assert len({client.task for client in clients}) == 2
    assert sum(Origin.sent) <= 2 * len(BODY) + len(TOKENS)


def test_a_file_that_changes_soon_after_a_check_is_checked_again(stage: Scene, origin: str) -> None:
    """A check of a moment ago does not apply to the present version."""
    node = stage.supernode("--private", "share", "--revalidate-interval", "1ms")
    for n, body in enumerate((BODY, BODY[::-1])):
        Origin.bodies = dict.fromkeys(TOKENS, body)
        for host, token in enumerate(TOKENS[:2]):
            client = Daemon(node, origin, f"127.0.0.{2 * n + host + 20}", token)
            assert client.download() == body
