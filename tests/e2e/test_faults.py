"""Bursts of requests, lost processes and hostile clients against a real supernode."""

from __future__ import annotations

import json
import shutil
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.e2e.readers import Reader
from tests.e2e.scene import MIB, Scene, descriptors, until


def post(node: Any, path: str, message: object, patience: float = 30.0) -> Any:
    """Send a control request; returns its JSON response, whatever its status."""
    scheme = "http" if node.tls is None else "https"
    request = urllib.request.Request(f"{scheme}://{node.node}{path}", json.dumps(message).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=patience, context=node.tls) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return json.loads(error.read())


def registration(url: str, n: int) -> dict[str, Any]:
    return {"rawUrl": url, "taskUrl": url, "cid": f"127.0.0.1-{n}", "ip": "127.0.0.1", "port": 0, "path": "/peer/file/x", "native": 1,
            "hostName": "h", "version": "1", "superNodeIp": "127.0.0.1"}


def ask(url: str, cid: str, **more: Any) -> dict[str, Any]:
    return {"task": "t", "cid": cid, "origin": url, **more}


def test_2000_registrations_for_a_dead_url_cost_its_origin_one_request(stage: Scene) -> None:
    url = stage.origin() + "/missing"
    node = stage.supernode()
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda n: post(node, "/peer/registry", registration(url, n)), range(2000)))
    assert {answer["code"] for answer in answers} == {500}
    until(lambda: stage.requests("/missing"), "nginx's log")
    assert len(stage.requests("/missing")) == 1


def test_origin_permissions_are_limited_and_granted_in_turn(stage: Scene) -> None:
    node = stage.supernode("--origin-limit", "1")
    assert post(node, "/swarm/origin", ask("o:80", "a"))["code"] == 200
    assert post(node, "/swarm/origin", ask("o:80", "b"))["code"] == 602
    assert post(node, "/swarm/origin", ask("p:80", "b"))["code"] == 200, "another origin"
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(post, node, "/swarm/origin", ask("o:80", "b", wait=20))
        assert post(node, "/swarm/origin", ask("o:80", "a", wait=1))["code"] == 200, "renewed"
        post(node, "/swarm/origin", ask("o:80", "a", release=True))
        assert parked.result()["code"] == 200
    assert post(node, "/swarm/origin", ask("o:80", "a"))["code"] == 602


def test_downloads_without_a_supernode_wait_for_permission_to_read_the_origin(stage: Scene) -> None:
    """The supernode remembers the URL as dead; the file exists by now."""
    url = stage.origin() + "/f"
    node = stage.supernode("--origin-limit", "1")
    assert post(node, "/peer/registry", registration(url, 1))["code"] == 500
    digest = stage.file("f", 9_000_000)
    assert post(node, "/swarm/origin", ask(url.split("/")[2], "somebody"))["code"] == 200
    gets = [stage.start_get(url, f"out{host}", host=host, nodes=(node,)) for host in (2, 3)]
    until(lambda: node.metric("dfengine_origin_leases_pending") == 2, "both downloads waiting")
    assert [request["status"] for request in stage.requests("/f")] == [404]
    post(node, "/swarm/origin", ask(url.split("/")[2], "somebody", release=True))
    for host, get in zip((2, 3), gets, strict=True):
        assert stage.end(get)["back_to_source"]
        assert stage.digest(f"out{host}") == digest
    until(lambda: node.metric("dfengine_origin_leases") == 0, "every permission released")


def test_a_supernode_is_lost_while_the_origin_states_neither_length_nor_version(stage: Scene) -> None:
    """Only the supernode knew the length. The pieces on disk are compared with the bytes that the origin sends, and are kept."""
    size = 48 * MIB + 5
    digest = stage.file("f", size)
    url, node = stage.origin() + "/chunked/f", stage.supernode()
    slow = ("--locallimit", "5M")
    get = stage.start_get(url, "out", *slow, host=3, nodes=(node,))
    stream = stage.start_stream(url, *slow, host=4, nodes=(node,))
    reader = Reader(stage, url, node, limit=5 * MIB)
    reader.opened()

    def part() -> int:
        return max((path.stat().st_size for path in stage.path.glob(".out.*.part")), default=0)

    until(lambda: part() == size and node.metric("dfengine_sent_bytes_total") > size // 2, "the length known to every download")
    stage.kill(node.process)
    assert reader.read()["sha256"] == digest
    reader.end()
    delivered, told = stage.drain(stream)
    assert delivered == digest
    assert told["from"]["origin"] > 0
    found = stage.end(get)
    assert stage.digest("out") == digest
    assert found["from"]["origin"] < size, "pieces of the supernode were kept"


def test_leases_of_a_killed_download_are_released(stage: Scene) -> None:
    """Otherwise they would expire after 64 s."""
    stage.file("f", 40 << 20)
    url = stage.origin() + "/f"
    node = stage.supernode("--revalidate-interval", "1h")
    get = stage.start_get(url, "out", "-s", "1M", nodes=(node,))
    until(lambda: node.metric("dfengine_pieces_in_flight") > 0, "a leased piece")
    stage.kill(get)
    until(lambda: node.metric("dfengine_pieces_in_flight") == 0, "its leases released", 30.0)
    assert node.metric("dragonfly_supernode_dfgettasks") == 1, "its received pieces may still be served"


def test_a_parked_pull_whose_connection_closed_is_assigned_no_piece(stage: Scene) -> None:
    """The pull waits for a piece when its connection is cut."""
    stage.file("f", 12 * MIB)
    node = stage.supernode()
    about = registration(stage.origin(slow="4m") + "/slow/f", 1)
    task = post(node, "/peer/registry", about)["data"]["taskId"]
    pull = json.dumps({"task": task, "cid": about["cid"], "want": 2, "wait": 20}).encode()
    with socket.create_connection(("127.0.0.1", node.port)) as sock:
        sock.sendall(b"POST /swarm/pull HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n" % len(pull) + pull)
        until(lambda: node.metric("dfengine_parked_pulls") == 1, "a parked pull")
    until(lambda: node.metric("dfengine_origin_bytes_total") == 12 * MIB, "every piece at the supernode")
    assert node.metric("dfengine_parked_pulls") == node.metric("dfengine_pieces_in_flight") == 0


def test_idle_connections_cost_little_memory_and_slow_heads_are_cut(stage: Scene) -> None:
    node = stage.supernode()
    before = memory(node.process.pid)
    count = 1500
    ports = [node.port, int(node.download.rpartition(":")[2])]
    idle = [socket.create_connection(("127.0.0.1", ports[n % 2])) for n in range(count)]
    until(lambda: len(descriptors(node.process.pid)) >= count, "all accepted")
    grown = memory(node.process.pid) - before
    assert grown * 10_000 / count < 500 << 20
    # Half a head, then a byte from time to time: the head's deadline does not restart with each byte.
    slow = [socket.create_connection(("127.0.0.1", port)) for port in ports]
    for sock in slow:
        sock.sendall(b"GET /_ping HTTP/1.1\r\nX: ")
    end = time.monotonic() + 30.0
    for sock in slow:
        sock.settimeout(0.5)
        while time.monotonic() < end and not ended(sock):
            pass
        assert ended(sock)
    for sock in (*idle, *slow):
        sock.close()
    until(lambda: len(descriptors(node.process.pid)) < 100, "all closed")


def ended(sock: socket.socket) -> bool:
    """Send one more byte of a head; whether the other side has closed."""
    try:
        sock.sendall(b"x")
        return sock.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def memory(pid: int) -> int:
    """Resident bytes."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_a_wrong_expected_length_fails_only_its_own_registration(stage: Scene) -> None:
    stage.file("f", 9_000_000)
    url = stage.origin() + "/f"
    node = stage.supernode()
    refused = post(node, "/peer/registry", {**registration(url, 1), "fileLength": 5})
    assert (refused["code"], "9000000 bytes, 5 were expected" in refused["message"]) == (500, True)
    assert post(node, "/peer/registry", registration(url, 2))["code"] == 200


def test_a_supernode_whose_copies_were_deleted_fetches_them_again(stage: Scene) -> None:
    digest = stage.file("gone", 3 * MIB)
    url = stage.origin() + "/gone"
    node = stage.supernode("--task-expire-time", "1ms", "--peer-gc-delay", "1s")
    stage.get(url, "first", "--pattern", "cdn", nodes=(node,))
    shutil.rmtree(node.home)
    assert node.metric("dfengine_disk_free_bytes") == 0
    assert node.metric("dfengine_disk_free_bytes") > 0
    # At its next check of the disk the supernode removes the task.
    until(lambda: node.metric("dragonfly_supernode_tasks") == 0, "the task removed")
    stage.get(url, "second", "--pattern", "cdn", "--notbs", nodes=(node,))
    assert stage.digest("second") == digest
