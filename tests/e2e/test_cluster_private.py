"""Private files in a cluster: the origin is read once, and every host needs valid credentials at every supernode."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.blob_registry import DATA, Blobs
from tests.e2e.scene import MIB, PATIENCE, Scene, Supernode, buffered, until
from tests.e2e.test_cluster import from_origin, members
from tests.e2e.test_private import BODY, TOKENS, Origin, origin  # noqa: F401  (a fixture)
from tests.e2e.test_private_names import ask, public_text
from tests.e2e.upstream import get
from tests.supernode.redis_server import RedisServer

SIZE = 13 * MIB + 5
TOKEN = ("--header", "Authorization: Bearer secret")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as made:
        yield made


@pytest.fixture
def key(tmp_path: Path) -> Path:
    made = tmp_path / "cluster-key"
    made.write_text("not the swarm's secret")
    made.chmod(0o600)
    return made


@pytest.fixture
def options(redis: RedisServer, key: Path) -> tuple[str, ...]:
    return "--cluster", redis.url, "--cluster-key-file", str(key)


def tasks(*nodes: Supernode) -> list[set[str]]:
    """Ids of the copies that each supernode has."""
    return [{path.stem for path in (node.home / "download").rglob("*.json")} for node in nodes]


def said(redis: RedisServer) -> str:
    """All keys and values in Redis."""
    found: list[object] = []
    for name in redis.execute("KEYS", "*"):
        # A key that has just expired has type none.
        asked = {b"string": ["GET"], b"set": ["SMEMBERS"], b"zset": ["ZRANGE", "0", "-1"], b"hash": ["HGETALL"], b"none": ["GET"]}
        command, *more = asked[redis.execute("TYPE", name)]
        found += [name, redis.execute(command, name, *more)]
    return repr(found)


def test_a_private_file_is_read_once_and_only_sent_to_hosts_with_credentials(
    stage: Scene, options: tuple[str, ...], redis: RedisServer, capfd: pytest.CaptureFixture[str]
) -> None:
    digest, url = stage.file("f", SIZE), stage.origin() + "/private/f"
    stage.file("g", MIB)
    one, two = nodes = [stage.supernode(*options, "--log-level", "debug", "--access-log", "--revalidate-interval", "1h") for _ in range(2)]
    members(*nodes)
    for host, node in enumerate((one, two, one, two), 2):
        stage.get(url, f"out{host}", *TOKEN, "--notbs", "--pattern", "cdn", host=host, nodes=(node,))
        assert stage.digest(f"out{host}") == digest
    assert from_origin(one, two) == [SIZE, 0]
    assert SIZE <= stage.sent("/private/f") <= SIZE + buffered()
    for header in ((), ("--header", "Authorization: Bearer wrong")):
        for node in nodes:
            assert "credentials" in stage.get(url, "no", *header, "--notbs", host=6, nodes=(node,), status=3)
    assert not (stage.path / "no").exists()
    [here], [there] = tasks(one, two)
    assert here != there, "each supernode names the task with its own key"
    for node, task in ((one, here), (two, there)):
        assert json.loads(ask(node.node, f"/api/v1/cache/{task}", "POST", {"pinned": True})[1])["pinned"]
    stage.get(f"{url.rpartition('/private')[0]}/g", "g", "--notbs", "--pattern", "cdn", nodes=(one,))
    [public] = tasks(one)[0] - {here}
    assert ask(one.node, f"/api/v1/cache/{public}", "POST", {"pinned": True})[0] == 200
    until(lambda: public in said(redis), "the other pin in Redis")
    text = public_text(one) + public_text(two) + said(redis)
    for node in nodes:
        stage.kill(node.process)
    text += "".join(capfd.readouterr())
    assert f'"leader":"{one.node}"' in text.replace(" ", "")
    assert [word for word in (here, there, "secret", "Bearer") if word in text] == []


def test_a_file_that_the_origin_now_refuses_is_sent_by_no_supernode(stage: Scene, options: tuple[str, ...]) -> None:
    """Nor by a supernode that never had the file and could fetch it from the leader without asking the origin."""
    closed = threading.Event()

    class Closing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            opens = not closed.is_set()
            self.send_response(200 if opens else 403)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", str(len(BODY) if opens else 0))
            self.end_headers()
            self.wfile.write(BODY if opens else b"")

        def log_message(self, *_: object) -> None:
            pass

    one, two = nodes = [stage.supernode(*options, "--revalidate-interval", "0.1s") for _ in range(2)]
    members(*nodes)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Closing) as served:
        threading.Thread(target=served.serve_forever, args=(0.05,)).start()
        try:
            url = f"http://127.0.0.1:{served.server_port}/f"
            stage.get(url, "a", *TOKEN, "--notbs", nodes=(one,))
            closed.set()
            time.sleep(0.2)  # longer than the revalidate interval
            for host, node in enumerate((two, one), 3):
                stage.get(url, "b", *TOKEN, "--notbs", host=host, nodes=(node,), status=3)
                assert not (stage.path / "b").exists()
        finally:
            served.shutdown()


class Halved(http.server.BaseHTTPRequestHandler):
    """Sends half of BODY for requests with the token until `over`, then closes; later requests get ranges, or 401 if `refuses`."""

    protocol_version = "HTTP/1.1"
    over = threading.Event()
    refuses = False

    def do_GET(self) -> None:
        over, start = self.over.is_set(), int(re.sub(r"\D.*", "", self.headers.get("Range", "bytes=0-")[6:]))
        if (over and self.refuses) or self.headers.get("Authorization") != "Bearer secret":
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if not over and start:
            self.over.wait(PATIENCE)
            self.close_connection = True
            return
        self.send_response(206 if start else 200)
        self.send_header("ETag", '"1"')
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(BODY[start : None if over else len(BODY) // 2])
        if not over:
            self.over.wait(PATIENCE)
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def halved(refuses: bool) -> Iterator[str]:
    """The URL of a file whose second half is sent, or refused, after `Halved.over` is set."""
    Halved.over.clear()
    Halved.refuses = refuses
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Halved) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/f"
        finally:
            Halved.over.set()
            server.shutdown()
            thread.join()


def a_piece(*nodes: Supernode) -> None:
    for node in nodes:
        until(partial(node.metric, "dfengine_pieces_from_supernode_total"), "a piece at a host")


def test_followers_continue_a_private_file_after_its_leader_is_killed(stage: Scene, options: tuple[str, ...]) -> None:
    first, *others = nodes = [stage.supernode(*options) for _ in range(3)]
    members(*nodes)
    with halved(refuses=False) as url:
        led = stage.start_get(url, "led", *TOKEN, "--pattern", "cdn", nodes=(first,))
        a_piece(first)
        gets = [stage.start_get(url, f"out{n}", *TOKEN, "--pattern", "cdn", "--notbs", host=n, nodes=(node,))
                for n, node in enumerate(others, 3)]  # fmt: skip
        a_piece(*others)
        assert from_origin(*others) == [0, 0]
        stage.kill(led)
        stage.kill(first.process)
        stage.supernodes.remove(first)
        Halved.over.set()
        for n, follows in enumerate(gets, 3):
            stage.end(follows)
            assert (stage.path / f"out{n}").read_bytes() == BODY
    rest = from_origin(*others)
    assert min(rest) == 0
    assert 0 < max(rest) < len(BODY), "bytes that the cluster has are not requested again"


def test_hosts_with_different_tokens_share_one_read_of_the_origin(stage: Scene, options: tuple[str, ...], origin: str) -> None:  # noqa: F811
    """The supernode that receives a token checks it at the origin; the leader checks tokens of the follower's hosts, too."""
    nodes = [stage.supernode(*options, "--revalidate-interval", "1h") for _ in range(2)]
    members(*nodes)
    for n, token in enumerate(TOKENS):
        stage.get(origin, token, "--header", f"Authorization: Bearer {token}", "--private", "share", "--notbs", "--pattern", "cdn",
                  host=n + 2, nodes=(nodes[n % 2],))
        assert (stage.path / token).read_bytes() == BODY
    assert from_origin(*nodes) == [len(BODY), 0]
    assert len(BODY) <= sum(Origin.sent) <= len(BODY) + len(TOKENS) + 1
    for header in ((), ("--header", "Authorization: Bearer bad")):
        for node in nodes:
            assert "credentials" in stage.get(origin, "no", *header, "--private", "share", "--notbs", host=7, nodes=(node,), status=3)


def test_a_token_revoked_in_mid_transfer_fails_downloads_at_all_supernodes(stage: Scene, options: tuple[str, ...]) -> None:
    nodes, gets = [stage.supernode(*options) for _ in range(2)], []
    members(*nodes)
    with halved(refuses=True) as url:
        for host, node in enumerate(nodes, 2):
            gets.append(stage.start_get(url, f"out{host}", *TOKEN, "--notbs", "--pattern", "cdn", host=host, nodes=(node,)))
            a_piece(node)
        assert from_origin(nodes[1]) == [0]
        Halved.over.set()
        for each in gets:
            assert "credentials" in stage.end(each, 3)
    assert not (stage.path / "out2").exists()
    assert not (stage.path / "out3").exists()


def test_a_private_blob_is_read_once_through_proxies(stage: Scene, options: tuple[str, ...]) -> None:
    """A follower compares the blob with its digest, too."""
    nodes = [stage.supernode(*options) for _ in range(2)]
    members(*nodes)
    with Blobs() as registry:
        registry.tokens = {"one", "two"}
        path = registry.keep("a", DATA)
        proxies = [stage.proxy("--registry", registry.url, host=host, nodes=(node,))[1] for host, node in enumerate(nodes, 2)]
        for url, token in zip(proxies, ("one", "two"), strict=True):
            assert get(url, path, Authorization="Bearer bad")[0].status == 401
            assert get(url, path, Authorization=f"Bearer {token}")[1] == DATA
        assert sorted(from_origin(*nodes)) == [0, len(DATA)]
        assert len(DATA) <= registry.sent <= len(DATA) + buffered()
        for url in proxies:
            assert get(url, path)[0].status == 401


def test_without_a_cluster_key_credentials_are_sent_to_the_origin_only(
    stage: Scene, redis: RedisServer, key: Path
) -> None:
    """Every host has the swarm's secret and could pose as a supernode."""
    stage.file("f", SIZE)
    base, secret = stage.origin(), ("--secret-file", str(key))
    nodes = [stage.supernode("--cluster", redis.url, *secret) for _ in range(2)]
    members(*nodes)
    for host, node in enumerate(nodes, 2):
        for path in ("f", "private/f"):
            stage.get(f"{base}/{path}", f"{host}-{path[0]}", *TOKEN * (path != "f"), *secret, "--notbs", "--pattern", "cdn", host=host,
                      nodes=(node,))  # fmt: skip
    assert from_origin(*nodes) == [2 * SIZE, SIZE]
