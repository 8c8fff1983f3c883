"""No client can make downloads or the supernode send requests to a server that never joined the swarm."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dfengine.net.dialer import Dialer
from dfengine.supernode.reachability import is_peer
from dfengine.task import PEER_PORTS
from tests.e2e.scene import Scene, until
from tests.e2e.standin import LegacyPeer
from tests.e2e.test_faults import post, registration
from tests.e2e.test_hostile_supernode import DIGEST, Hostile, offers, registered


@contextmanager
def unrelated_server(host: str = "127.0.0.1") -> Iterator[tuple[int, list[bytes]]]:
    """An unrelated server on a peer's port: the port, and the bytes that each connection sent. It echoes each request with status 200."""
    heard: list[bytes] = []
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for port in range(22000, PEER_PORTS.stop, 127):
            try:
                listener.bind((host, port))
                break
            except OSError:
                continue
        listener.listen(64)

        def serve() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                with line:
                    line.settimeout(5)
                    try:
                        asked = line.recv(1 << 16)
                        heard.append(asked)
                        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(asked), asked))
                    except OSError:
                        heard.append(b"")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield port, heard
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


PATHS = ["/peer/file/../../admin/delete?all=1", "/admin", "/peer/file/%2e%2e", "/peer/file/a/b", "/peer/file/", "/download/000/x"]


@pytest.mark.parametrize("native", [0, 1])
def test_registrations_with_a_path_outside_of_peer_file_are_refused(stage: Scene, native: int) -> None:
    stage.file("f", 1000)
    url = stage.origin() + "/f"
    node = stage.supernode()
    for n, path in enumerate(PATHS):
        answer = post(node, "/peer/registry", registration(url, n) | {"path": path, "port": 15001, "native": native})
        assert answer["code"] == 500
        assert "invalid value" in answer["message"] or "empty value" in answer["message"]
    assert not stage.requests("/f"), "a refused registration sends no request to the origin"
    assert post(node, "/peer/registry", registration(url, 99) | {"path": "/peer/file/a b?c", "native": native})["code"] == 200


@pytest.mark.parametrize("path", PATHS)
def test_a_download_ignores_offers_with_a_path_outside_of_peer_file(stage: Scene, path: str) -> None:
    with unrelated_server() as (port, heard):
        pull = offers([0, DIGEST, [["cid", "127.0.0.1", port, path]]])
        with Hostile(registered(), pull) as node:
            stage.get("http://files.invalid/f", "out", "-n", f"127.0.0.1:{node.port}", "--notbs", "--timeout", "20", status=3)
        assert heard == []


@pytest.mark.parametrize("path", PATHS)
def test_a_download_ignores_such_paths_from_a_1x_supernode(stage: Scene, path: str) -> None:
    size = 4 << 20
    with unrelated_server() as (port, heard):
        piece = {"range": f"0-{size - 1}", "pieceNum": 0, "pieceSize": size, "pieceMd5": "0" * 32 + ":9", "cid": "c", "peerIp": "127.0.0.1",
                 "peerPort": port, "path": path, "downLink": 0}  # fmt: skip

        class Old(Hostile):
            def answer(self, request: Any, body: bytes) -> None:
                self._pull = json.dumps({"code": 601, "data": [piece]}).encode()
                if request.path.startswith("/peer/task"):
                    request.path = "/swarm/pull"
                super().answer(request, body)

        with Old(registered(native=0)) as node:
            stage.get("http://files.invalid/f", "out", "-n", f"127.0.0.1:{node.port}", "--notbs", "--timeout", "20", status=3)
            until(lambda: node.count("^/peer/task|/swarm/pull"), "a pull")
        assert heard == []


def register_claiming_all(node: Any, url: str, n: int, **about: Any) -> tuple[str, str]:
    """Register a download from 127.0.0.1 that claims all pieces; return its task and CID."""
    about = registration(url, n) | about
    answer = post(node, "/peer/registry", about)
    assert answer["code"] == 200, answer
    task = answer["data"]["taskId"]
    post(node, "/swarm/pull", {"task": task, "cid": about["cid"], "held": [[0, 1]], "want": 0})
    return task, about["cid"]


def sources(node: Any, url: str, n: int, task: str) -> list[str]:
    """CIDs of the sources offered for the first piece to a new download at 127.0.0.1 that serves no pieces."""
    asker = registration(url, n)
    assert post(node, "/peer/registry", asker)["code"] == 200
    pulled = post(node, "/swarm/pull", {"task": task, "cid": asker["cid"], "want": 1, "wait": 5})
    node.get(f"/peer/service/down?taskId={task}&cid={asker['cid']}")
    return [source[0] for _, _, named in pulled.get("offers") or () for source in named]


def test_an_address_without_a_proven_peer_server_is_not_offered_as_a_source(stage: Scene) -> None:
    """Complaints do not make the supernode fetch from it either: the only request it sends asks whether a peer server listens there."""
    stage.file("f", 1000)
    url = stage.origin() + "/f"
    node = stage.supernode()
    with unrelated_server("127.0.0.5") as (port, heard):
        task, cid = register_claiming_all(node, url, 1, ip="127.0.0.5", port=port)
        until(lambda: heard, "the supernode's check of the address")
        assert all(named.startswith("cdnnode:") for named in sources(node, url, 2, task))
        for n in range(10, 16):
            _, accuser = register_claiming_all(node, url, n)
            post(node, "/swarm/pull", {"task": task, "cid": accuser, "failed": [[0, cid, "digest"], [0, cid, "gone"]], "want": 0})
        stage.end(stage.start_get(url, "out", "--notbs", host=3, nodes=(node,)))
        assert all(asked.startswith(b"GET /check/") or not asked for asked in heard)
        assert node.metric("dfengine_unproved_peers") >= 1
        node.get(f"/peer/service/down?taskId={task}&cid={cid}")
        until(lambda: node.metric("dfengine_unproved_peers") == 0, "the end of the checks after the download has left")


def test_a_peer_server_at_another_address_is_proven_once_and_then_offered(stage: Scene) -> None:
    stage.file("f", 1000)
    url = stage.origin() + "/f"
    node = stage.supernode()
    with LegacyPeer("127.0.0.5", 0) as peer:
        task, cid = register_claiming_all(node, url, 1, ip="127.0.0.5", port=peer.port)
        until(lambda: node.metric("dfengine_unproved_peers") == 0, "the proof of the peer server")
        assert cid in sources(node, url, 2, task)
        asked = peer.count("^/check/")
        register_claiming_all(node, url, 3, ip="127.0.0.5", port=peer.port)
        assert (asked, peer.count("^/check/")) == (1, 1), "the proof is remembered"


def test_a_peer_server_that_starts_later_is_offered_once_it_responds(stage: Scene) -> None:
    stage.file("f", 1000)
    url = stage.origin() + "/f"
    node = stage.supernode()
    with LegacyPeer("127.0.0.5", 0) as peer:
        port = peer.port
    task, cid = register_claiming_all(node, url, 1, ip="127.0.0.5", port=port)
    assert cid not in sources(node, url, 2, task)
    with LegacyPeer("127.0.0.5", port):
        until(lambda: node.metric("dfengine_unproved_peers") == 0, "a repeated check")
        assert cid in sources(node, url, 3, task)


def test_the_address_that_a_client_registers_from_needs_no_check(stage: Scene) -> None:
    stage.file("f", 1000)
    url = stage.origin() + "/f"
    node = stage.supernode("--origin-deny", "10.0.0.0/8")
    task, cid = register_claiming_all(node, url, 1, port=22299)
    assert cid in sources(node, url, 2, task)
    assert node.metric("dfengine_unproved_peers") == 0


@pytest.mark.parametrize("ip", ["127.0.0.5", "169.254.169.254", "::ffff:127.0.0.5", "224.0.0.1", "0.0.0.0"])
def test_denied_addresses_are_neither_checked_nor_offered(stage: Scene, ip: str) -> None:
    stage.file("f", 1000)
    url = stage.origin() + "/f"
    node = stage.supernode("--origin-deny", "127.0.0.5")
    with unrelated_server("127.0.0.5") as (port, heard):
        task, cid = register_claiming_all(node, url, 1, ip=ip, port=port)
        assert cid not in sources(node, url, 2, task)
        assert node.metric("dfengine_unproved_peers") == 0, "no check is pending"
        assert not heard


def test_a_swarm_with_a_secret_accepts_only_peer_servers_that_prove_it(stage: Scene) -> None:
    """A peer server with the secret passes the check; a 1.x peer, which answers all other requests, does not."""
    secret = stage.path / "secret"
    secret.touch(0o600)
    secret.write_text("s" * 32)
    stage.file("f", 1000)
    url = stage.origin() + "/f"
    node = stage.supernode("--secret-file", str(secret))
    stage.get(url, "a", "--notbs", "--secret-file", str(secret), nodes=(node,))
    until(lambda: node.metric("dfengine_unproved_peers") == 0, "the proof of the peer server")
    second = stage.get(url, "b", "--notbs", "--secret-file", str(secret), host=3, nodes=(node,))
    assert second["from"]["peers"] == 1000
    lock = json.loads((stage.path / "home-2" / "peer.lock").read_text())
    dialer = Dialer((str(secret),))
    assert is_peer(dialer, lock["ip"], lock["port"], set())
    other = stage.path / "other"
    other.touch(0o600)
    other.write_text("t" * 32)
    assert not is_peer(Dialer((str(other),)), lock["ip"], lock["port"], set()), "a peer server with another secret is refused"
    with LegacyPeer("127.0.0.5", 0) as peer:
        assert not is_peer(dialer, "127.0.0.5", peer.port, set())
        assert is_peer(Dialer(), "127.0.0.5", peer.port, set())
        assert peer.count("^/swarm/proof/") == 1
