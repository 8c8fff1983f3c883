"""Liars against a real supernode: a peer that sends wrong bytes is isolated from all others, an honest peer accused by liars is not."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from dfengine._piece import Geometry
from dfengine.net.tls import server
from tests.e2e.certificates import Authority
from tests.e2e.scene import Scene, until
from tests.e2e.test_faults import post, registration

LENGTH = 9 << 20


@contextmanager
def serving(
    content: bytes, flip: bool, gone: bool = False, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[int, list[int]]]:
    """A peer server of one file, written from docs/protocol.md: its port, and the requested pieces. flip: one bit of each is wrong."""
    asked: list[int] = []
    geometry = Geometry(len(content))

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())  # type: ignore[union-attr]
            n = geometry.number(first, last)
            asked.append(n)
            offset, length = geometry.content(n)
            part = bytearray(content[offset : offset + length])
            part[length // 2] ^= flip
            body = b"" if gone else geometry.head(n) + bytes(part) + b"\x7f"
            self.send_response(404 if gone else 206)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    for port in range(21000, 60000, 131):
        try:
            listener = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
            break
        except OSError:
            continue
    listener.daemon_threads = True
    if tls is not None:
        listener.socket = tls.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield listener.server_port, asked
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def register_download(node: Any, url: str, n: int, port: int = 0, held: bool = False) -> tuple[str, str]:
    """(task, CID) of a download that the test registers; held: it claims all pieces."""
    about = registration(url, n) | {"port": port}
    answer = post(node, "/peer/registry", about)
    assert answer["code"] == 200, answer
    task = answer["data"]["taskId"]
    if held:
        post(node, "/swarm/pull", {"task": task, "cid": about["cid"], "held": [[0, 3]], "want": 0})
    return task, about["cid"]


def complain(node: Any, task: str, cid: str, of: str, why: str) -> bool:
    """Pull, and report one piece of source `of` as failed for the reason `why`; False if no piece was offered from `of`."""
    pulled = post(node, "/swarm/pull", {"task": task, "cid": cid, "want": 3})
    for piece, _, sources in pulled.get("offers") or ():
        if of in [source[0] for source in sources]:
            post(node, "/swarm/pull", {"task": task, "cid": cid, "failed": [[piece, of, why]], "want": 0})
            return True
    return False


def test_a_peer_that_sends_wrong_bytes_is_isolated_after_one_verified_complaint(stage: Scene) -> None:
    sha = stage.file("f.bin", LENGTH)
    url = stage.origin() + "/f.bin"
    content = (stage.www / "f.bin").read_bytes()
    node = stage.supernode("--revalidate-interval", "1h", "--supernode-limit", "1")
    with serving(content, flip=True) as (port, asked):
        stage.get(url, "a", "--notbs", "--pattern", "cdn", host=2, nodes=(node,))
        register_download(node, url, 1, port, held=True)
        hosts = iter(range(5, 30))

        def isolated() -> bool:
            """Whether the peer is isolated after another download, which may use other sources on a busy machine."""
            stage.get(url, "b", "--notbs", host=next(hosts), nodes=(node,))
            return node.metric("dfengine_isolated_peers") == 1

        until(isolated, "the peer's isolation")
        before = len(asked)
        assert before >= 2, "requests of the receiver and of the supernode"
        stage.get(url, "c", "--notbs", host=4, nodes=(node,))
        assert len(asked) == before
    assert {stage.digest(name) for name in "abc"} == {sha}


def test_the_supernode_verifies_complaints_by_tls_in_a_swarm_with_tls(stage: Scene) -> None:
    authority = Authority(stage.path)
    sha = stage.file("f.bin", LENGTH)
    url = stage.origin() + "/f.bin"
    options = authority.options("supernode", "IP:127.0.0.1")
    node = stage.supernode(*options, "--revalidate-interval", "1h", "--supernode-limit", "1", tls=authority.context("test"))
    hosts = {host: authority.options(f"host-{host}") for host in (2, 3)}
    context = server(*authority.issue("liar"), authority.ca)
    with serving((stage.www / "f.bin").read_bytes(), flip=True, tls=context) as (port, asked):
        stage.get(url, "a", *hosts[2], "--notbs", "--pattern", "cdn", host=2, nodes=(node,))
        register_download(node, url, 1, port, held=True)
        stage.get(url, "b", *hosts[3], "--notbs", host=3, nodes=(node,))
        until(lambda: node.metric("dfengine_isolated_peers") == 1, "the peer's isolation")
        assert len(asked) >= 2, "requests of the receiver and of the supernode"
    assert stage.digest("b") == sha


def test_a_source_that_accepts_connections_and_sends_nothing_is_given_up_early(stage: Scene) -> None:
    """A source without alternatives has ten seconds; the whole download has nine."""
    sha = stage.file("f.bin", LENGTH)
    url = stage.origin() + "/f.bin"
    node = stage.supernode("--revalidate-interval", "1h", "--supernode-limit", "1")
    with socket.socket() as silent:
        for port in range(21000, 60000, 131):
            with contextlib.suppress(OSError):
                silent.bind(("127.0.0.1", port))
                break
        silent.listen(64)
        stage.get(url, "a", "--notbs", "--pattern", "cdn", host=2, nodes=(node,))
        task, cid = register_download(node, url, 1, port, held=True)
        stage.get(url, "b", "--notbs", "--timeout", "9", "--pattern", "p2p", host=3, nodes=(node,))
        silent.setblocking(False)
        silent.accept()[0].close()
        deregister(node, task, cid)
    assert stage.digest("a") == stage.digest("b") == sha


def test_false_complaints_do_not_isolate_an_honest_peer(stage: Scene) -> None:
    stage.file("f.bin", LENGTH)
    url = stage.origin() + "/f.bin"
    content = (stage.www / "f.bin").read_bytes()
    node = stage.supernode("--revalidate-interval", "1h", "--supernode-limit", "1")
    with serving(content, flip=False) as (port, asked):
        stage.get(url, "a", "--notbs", "--pattern", "cdn", host=2, nodes=(node,))
        task, honest = register_download(node, url, 1, port, held=True)
        liars = itertools.count(2)

        def lied(seen: int) -> bool:
            """Whether a new complaint made the supernode request a piece; it verifies one complaint at a time."""
            _, cid = register_download(node, url, next(liars))
            assert complain(node, task, cid, honest, "digest")
            post(node, "/swarm/pull", {"task": task, "cid": cid, "failed": [[n, honest, "other"] for n in range(3)], "want": 0})
            deregister(node, task, cid)
            return len(asked) > seen

        for _ in range(6):
            seen = len(asked)
            until(partial(lied, seen), "the supernode's request for a piece")
            assert node.metric("dfengine_isolated_peers") == 0
        deregister(node, task, honest)


def deregister(node: Any, task: str, cid: str) -> None:
    """Deregister a download of the test, whether the supernode still knows it or not."""
    try:
        urllib.request.urlopen(f"http://{node.node}/peer/service/down?taskId={task}&cid={cid}").close()
    except urllib.error.HTTPError as error:
        error.close()


def test_a_peer_that_claims_missing_pieces_is_isolated(stage: Scene) -> None:
    stage.file("f.bin", LENGTH)
    url = stage.origin() + "/f.bin"
    content = (stage.www / "f.bin").read_bytes()
    node = stage.supernode("--revalidate-interval", "1h", "--supernode-limit", "1")
    with serving(content, flip=False, gone=True) as (port, asked):
        stage.get(url, "a", "--notbs", "--pattern", "cdn", host=2, nodes=(node,))
        task, boaster = register_download(node, url, 1, port, held=True)
        for n in range(2, 6):
            _, cid = register_download(node, url, n)
            assert complain(node, task, cid, boaster, "gone")
            deregister(node, task, cid)
        until(lambda: node.metric("dfengine_isolated_peers") == 1, "the peer's isolation")
        assert len(asked) == 1, "only the supernode requested a piece"
        deregister(node, task, boaster)
    assert json.loads(node.get(f"/tasks/{task}"))


def test_registrations_with_the_task_url_of_another_file_are_refused(stage: Scene) -> None:
    good, evil = stage.file("good.bin", 1 << 20), stage.file("evil.bin", 1 << 20)
    origin = stage.origin()
    node = stage.supernode()
    for raw in ("/evil.bin", "/evil.bin?x=1", "/good.bin/../evil.bin"):
        about = registration(origin + raw, 1) | {"taskUrl": origin + "/good.bin"}
        answer = post(node, "/peer/registry", about)
        assert answer["code"] == 500
        assert "task url" in answer["message"]
    assert not stage.requests(), "nothing was fetched"
    stage.get(origin + "/good.bin?token=1", "a", "--filter", "token", "--notbs", nodes=(node,))
    stage.get(origin + "/good.bin", "b", "--notbs", host=3, nodes=(node,))
    assert stage.digest("a") == stage.digest("b") == good != evil
    assert stage.sent("/good.bin") == 1 << 20
