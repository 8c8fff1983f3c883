"""A client's share of a supernode's connections, downloads and pending requests; exhausting it does not affect other clients."""

from __future__ import annotations

import http.client
import json
import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from dfengine.net.admission import Admission
from dfengine.net.piece_server import DESCRIPTORS
from tests.e2e import scene
from tests.e2e.scene import Scene, Supernode, descriptors, until

ALICE, BOB = "127.0.0.41", "127.0.0.42"
CONNECTIONS, DOWNLOADS, WAITING = 163, 2000, 40
"""One percent of 16384, 200,000 and 4096."""


def line(node: Supernode, address: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", node.port, timeout=20, source_address=(address, 0))


def ask(connection: http.client.HTTPConnection, path: str, message: dict[str, Any]) -> Any:
    connection.request("POST", path, json.dumps(message), {"Content-Type": "application/json"})
    return json.loads(connection.getresponse().read())


@contextmanager
def connections(port: int, address: str, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", port), 20, (address, 0))) for _ in range(count)]


def alive(sock: socket.socket) -> bool:
    """Whether the server responds on this connection."""
    try:
        sock.settimeout(20)
        sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        return sock.recv(100).startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False


@pytest.mark.parametrize("which", ["control", "download"])
def test_connections_beyond_a_clients_share_replace_its_idle_ones(stage: Scene, which: str) -> None:
    node = stage.supernode("--client-share", "1")
    port, each = (node.port, 1) if which == "control" else (int(node.download.rpartition(":")[2]), DESCRIPTORS)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    share = Admission(hard if hard != resource.RLIM_INFINITY else 1 << 20).limit // 100 // each
    with connections(port, ALICE, CONNECTIONS + 5) as hers:
        for sock in hers:
            alive(sock)  # so that each has been accepted
        assert 0 < sum(map(alive, hers)) <= min(CONNECTIONS, share)
        with connections(port, BOB, 1) as his:
            assert alive(his[0])
        next(sock for sock in hers if alive(sock)).close()

        def again() -> bool:
            with connections(port, ALICE, 1) as more:
                return alive(more[0])

        until(again, "a free connection of the client's share")


def registration_message(url: str, n: int) -> dict[str, Any]:
    return {"rawUrl": url, "taskUrl": url, "cid": f"127.0.0.1-{n}", "ip": "127.0.0.1", "port": 0, "path": "/peer/file/x", "native": 1,
            "hostName": "h", "version": "1", "superNodeIp": "127.0.0.1"}


def test_downloads_beyond_a_clients_share_are_refused(stage: Scene) -> None:
    stage.file("f", 1000)
    url = stage.origin() + "/f"
    node = stage.supernode("--client-share", "1", "--revalidate-interval", "1h")
    hers, his = line(node, ALICE), line(node, BOB)
    answers = [ask(hers, "/peer/registry", registration_message(url, n)) for n in range(DOWNLOADS + 1)]
    assert {answer["code"] for answer in answers[:-1]} == {200}
    assert f"{DOWNLOADS} downloads of {ALICE}" in answers[-1]["message"]
    assert ask(hers, "/peer/registry", registration_message(url, 7))["code"] == 200, "a registered download may register again"
    assert ask(his, "/peer/registry", registration_message(url, DOWNLOADS))["code"] == 200
    task = answers[0]["data"]["taskId"]
    hers.request("GET", f"/peer/service/down?taskId={task}&cid=127.0.0.1-3")
    hers.getresponse().read()
    assert ask(hers, "/peer/registry", registration_message(url, DOWNLOADS + 1))["code"] == 200
    hers.request("DELETE", f"/tasks/{task}")
    hers.getresponse().read()
    assert ask(hers, "/peer/registry", registration_message(url, DOWNLOADS + 2))["code"] == 200, "removing the task releases its downloads"
    hers.close()
    his.close()


def test_requests_for_an_origin_lease_beyond_a_clients_share_are_not_queued(stage: Scene) -> None:
    node = stage.supernode("--client-share", "1", "--origin-limit", "1")
    wish = {"task": "t", "cid": "c", "origin": "files.example:80", "wait": 30}
    his = line(node, BOB)
    assert ask(his, "/swarm/origin", wish)["code"] == 200
    waiting = [line(node, ALICE) for _ in range(WAITING)]
    for n, one in enumerate(waiting):
        one.request("POST", "/swarm/origin", json.dumps(wish | {"cid": f"a{n}"}))
    until(lambda: node.metric("dfengine_origin_leases_pending") == WAITING, "a full share of pending requests")
    extra = line(node, ALICE)
    assert ask(extra, "/swarm/origin", wish | {"cid": "more"})["code"] == 602
    assert node.metric("dfengine_origin_leases_pending") == WAITING, "the request beyond the share does not wait"
    other = line(node, BOB)
    other.request("POST", "/swarm/origin", json.dumps(wish | {"cid": "other"}))
    until(lambda: node.metric("dfengine_origin_leases_pending") == WAITING + 1, "the pending request of another client")
    waiting[7].close()
    until(lambda: node.metric("dfengine_origin_leases_pending") == WAITING, "the removal of a closed request")
    extra.request("POST", "/swarm/origin", json.dumps(wish | {"cid": "more"}))
    until(lambda: node.metric("dfengine_origin_leases_pending") == WAITING + 1, "a pending request in its place")
    for one in (*waiting, extra, other, his):
        one.close()


def test_one_address_may_hold_ten_thousand_connections_by_default(stage: Scene) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        node = stage.supernode()
        with connections(node.port, ALICE, 10_000) as hers:
            for sock in hers:  # reset on close: ports in TIME_WAIT would slow down the next run
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            until(lambda: len(descriptors(node.process.pid)) > 10_000, "all connections to be accepted")
            assert alive(hers[0])
            assert alive(hers[-1])
            with connections(node.port, BOB, 1) as his:
                assert alive(his[0])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


FEW = 400
"""Descriptor limit of a supernode that has few."""


@pytest.fixture
def poor(stage: Scene) -> Iterator[Supernode]:
    command, scene.DFENGINE = scene.DFENGINE, ["prlimit", f"--nofile={FEW}:{FEW}", *scene.DFENGINE]
    try:
        yield stage.supernode("--client-share", "60")
    finally:
        scene.DFENGINE = command


def test_idle_connections_leave_descriptors_for_downloads_of_other_clients(stage: Scene, poor: Supernode) -> None:
    """Half of 400 are for connections: three clients that open as many as they can do not block a fourth."""
    digest = stage.file("f", 9 << 20)
    url = stage.origin() + "/f"
    with ExitStack() as stack:
        for address in (ALICE, BOB, "127.0.0.43"):
            for port in (poor.port, int(poor.download.rpartition(":")[2])):
                stack.enter_context(connections(port, address, 150))
        until(lambda: len(descriptors(poor.process.pid)) > FEW // 2, "the idle connections")
        stage.get(url, "out", "--notbs", nodes=(poor,))
        assert stage.digest("out") == digest
        assert len(descriptors(poor.process.pid)) < FEW - 50
