"""Clients that request more than they read, or more at once than there is time for: only they wait."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dfengine.net import control_server
from dfengine.net.http import Response
from tests.e2e.scene import MIB, Scene, Supernode, until
from tests.e2e.test_faults import registration

ALICE, BOB = "127.0.0.51", "127.0.0.52"


def connect(node: Supernode, address: str = ALICE) -> socket.socket:
    return socket.create_connection(("127.0.0.1", node.port), 20, (address, 0))


def resident(node: Supernode) -> int:
    """The supernode's resident memory in bytes."""
    lines = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:"))


def answered(node: Supernode, address: str) -> bool:
    """Whether a request from `address` is answered."""
    with connect(node, address) as sock:
        sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: s\r\n\r\n")
        return sock.recv(100).startswith(b"HTTP/1.1 200")


def statuses(sock: socket.socket, count: int) -> list[int]:
    """Statuses of the next responses, read to their ends."""
    found = []
    file = sock.makefile("rb")
    for _ in range(count):
        found.append(int(file.readline().split()[1]))
        length = 0
        while (line := file.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        assert len(file.read(length)) == length
    return found


async def first(reader: asyncio.StreamReader) -> bytes:
    """The first bytes of a response; none of a connection that was cut."""
    with contextlib.suppress(ConnectionError):
        return await reader.read(12)
    return b""


async def ended(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def test_responses_are_built_only_when_the_client_reads_them(stage: Scene) -> None:
    """No response is lost, and their order is that of the requests."""
    node = stage.supernode()
    before = resident(node)
    count, kinds = 3000, (b"/metrics", b"/missing", b"/_ping")
    with connect(node) as sock:
        sock.sendall(b"".join(b"GET %b HTTP/1.1\r\n\r\n" % kinds[n % 3] for n in range(count)))
        assert answered(node, BOB)
        made = node.metric("dragonfly_supernode_http_requests_total")
        assert answered(node, BOB)
        assert resident(node) - before < 16 * MIB
        assert made < count, "the socket's buffers hold no more"
        assert statuses(sock, count) == [200, 404, 200] * (count // 3)


def test_a_client_that_never_reads_is_disconnected() -> None:
    async def play() -> None:
        server = control_server.ControlServer(asyncio.get_running_loop(), lambda request: Response(200, bytes(MIB)), stall_seconds=0.2)
        await server.start("127.0.0.1", 0)
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1)
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * 100)
        while not server.connections:
            await asyncio.sleep(0.01)
        while server.connections:
            await asyncio.sleep(0.01)
        assert server.requests < 100
        assert len(server.memory) == 0, "the memory used for it is released"
        server.close()
        await ended(writer)

    asyncio.run(asyncio.wait_for(play(), 30))


def test_incomplete_requests_are_limited_to_a_share_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "MEMORY", 4 * MIB)

    async def play() -> None:
        server = control_server.ControlServer(asyncio.get_running_loop(), lambda request: Response(200), share=50)
        admitted: list[object] = []
        admit = server.admit

        def told(connection: Any) -> bool:
            if admit(connection):
                admitted.append(connection)
                return True
            return False

        monkeypatch.setattr(server, "admit", told)
        await server.start("127.0.0.1", 0)
        lines = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(6)]
        for _, writer in lines:
            writer.write(b"POST / HTTP/1.1\r\nContent-Length: 800000\r\n\r\n" + bytes(600_000))
        while len(server.connections) > 3 or len(admitted) < 6:
            await asyncio.sleep(0.01)
        assert len(server.connections) == 3, "connections within the share remain"
        answers = []
        for reader, writer in lines:
            writer.write(bytes(200_000))
            answers.append(await first(reader))
        assert sorted(answers) == [b""] * 3 + [b"HTTP/1.1 200"] * 3
        assert len(server.memory) == 0
        server.close()
        for _, writer in lines:
            await ended(writer)

    asyncio.run(asyncio.wait_for(play(), 30))


def test_pending_responses_are_limited_per_connection(stage: Scene) -> None:
    """Further requests are not refused: they wait in the socket, and are handled once earlier ones are answered."""
    stage.file("f", 1000)
    url, node = stage.origin() + "/f", stage.supernode()
    line = http.client.HTTPConnection("127.0.0.1", node.port, timeout=20, source_address=(ALICE, 0))
    tasks = []
    for n in range(70):
        line.request("POST", "/peer/registry", json.dumps(registration(url, n)))
        tasks.append(json.loads(line.getresponse().read())["data"]["taskId"])
    line.close()

    def pull(n: int, **more: Any) -> bytes:
        body = json.dumps({"task": tasks[n], "cid": f"127.0.0.1-{n}", "done": [[0, ""]], **more}).encode()
        return b"POST /swarm/origin HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    with connect(node) as sock:
        wish = {"origin": "o.example:80", "wait": 30}
        keep = node.metric("dfengine_origin_leases_pending")
        assert keep == 0
        sock.sendall(b"".join(pull(n, **wish) for n in range(70)))
        # 12 of one client receive leases and are answered; 52 of the first 64 that are not answered wait, the rest is not read.
        until(lambda: node.metric("dfengine_origin_leases_pending") >= 50, "the most pending leases")
        assert answered(node, BOB)
        assert node.metric("dfengine_origin_leases_pending") <= 64


def authority(n: int = 0) -> str:
    """A megabyte of certificates in the form of a registration, different for each n."""
    from base64 import b64encode

    return b64encode(b"-----BEGIN CERTIFICATE-----\n" + b"%08d" % n * 90_000 + b"\n-----END CERTIFICATE-----\n").decode()


def register(node: Supernode, address: str, message: dict[str, Any]) -> Any:
    line = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60, source_address=(address, 0))
    line.request("POST", "/peer/registry", json.dumps(message))
    answer = json.loads(line.getresponse().read())
    line.close()
    return answer


def test_certificates_of_many_registrations_are_stored_once(stage: Scene) -> None:
    stage.file("f", 1000)
    url, node = stage.origin() + "/f", stage.supernode("--revalidate-interval", "1h")
    pem, before = authority(), resident(node)
    for n in range(100):
        message = registration(f"{url}?{n}", n) | {"insecure": True, "rootCAs": [pem]}
        assert register(node, ALICE, message)["code"] in (200, 500)
    assert resident(node) - before < 48 * MIB


def test_different_certificates_are_limited_to_a_clients_share(stage: Scene) -> None:
    """Also those of downloads that wait for an origin's head; another client is not affected."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/f"
        node = stage.supernode("--client-share", "10")
        before = resident(node)
        with ExitStack() as stack:
            lines = [stack.enter_context(connect(node)) for _ in range(60)]
            for n, sock in enumerate(lines):
                body = json.dumps(registration(f"{url}?{n}", n) | {"insecure": True, "rootCAs": [authority(n)]}).encode()
                sock.sendall(b"POST /peer/registry HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                sock.setblocking(False)
            answers: dict[int, bytes] = {}

            def answered() -> int:
                for n, sock in enumerate(lines):
                    with contextlib.suppress(BlockingIOError):
                        answers[n] = answers.get(n, b"") + sock.recv(1000)
                return sum(b"bytes of registrations of" in answer for answer in answers.values())

            until(lambda: answered() >= 60 - 18, "refusals of all but the 18 that a tenth of 128 MiB holds")
            assert resident(node) - before < 64 * MIB
            stage.file("f", 1000)
            assert register(node, BOB, registration(stage.origin() + "/f", 1))["code"] == 200


HEAVY: dict[str, Any] = {
    "certificates that never end": {"rootCAs": ["LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==" * 24_000]},
    "many certificates": {"rootCAs": ["LQ=="] * 120_000},
    "a long name": {"taskUrl": "http://127.0.0.1:1/f?" + "a=1&" * 200_000},
    "a long sign": {"identifier": "x" * 900_000},
}


@pytest.mark.parametrize("what", HEAVY)
def test_no_registration_takes_long_to_parse(stage: Scene, what: str) -> None:
    """The bound is generous: a fault would take minutes."""
    node = stage.supernode()
    register(node, ALICE, registration("http://127.0.0.1:1/f", 1) | {"pattern": "none"})
    assert register(node, ALICE, registration("http://127.0.0.1:1/f", 1) | HEAVY[what])["code"] == 500
    assert node.metric("dfengine_loop_blocked_max_cpu_seconds") < 1.0


def test_pipelined_piece_requests_are_answered_in_order_and_do_not_delay_others(stage: Scene) -> None:
    """Half a megabyte of requests, whose responses are not read until another client was served."""
    digest = stage.file("f", 9 << 20)
    url, node = stage.origin() + "/f", stage.supernode("--revalidate-interval", "1h")
    stage.get(url, "out", nodes=(node,))
    task = register(node, BOB, registration(url, 1))["data"]["taskId"]
    port, before = int(node.download.rpartition(":")[2]), resident(node)
    wrong, right = (b"GET /download/%b/%b HTTP/1.1\r\nRange: bytes=%b\r\n\r\n" % (task[:3].encode(), task.encode(), given)
                    for given in (b"5-4", b"0-4194303"))
    with socket.create_connection(("127.0.0.1", port), 20, (ALICE, 0)) as sock, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(sock.sendall, (wrong * 999 + right) * 4)
        stage.get(url, "other", "--notbs", host=3, nodes=(node,))
        assert stage.digest("other") == digest
        assert resident(node) - before < 16 * MIB
        assert statuses(sock, 4000) == ([400] * 999 + [206]) * 4
        sending.result(20)


def test_unread_pieces_do_not_fill_the_kernels_socket_memory(stage: Scene) -> None:
    """All connections of the host share it; some MiB for each connection that reads nothing would exhaust it."""
    stage.file("f", 9 << 20)
    url, node = stage.origin() + "/f", stage.supernode("--revalidate-interval", "1h")
    stage.get(url, "out", nodes=(node,))
    task = register(node, BOB, registration(url, 1))["data"]["taskId"]
    request = f"GET /download/{task[:3]}/{task} HTTP/1.1\r\nRange: bytes=0-4194303\r\n\r\n".encode()
    begun = node.metric("dfengine_sent_bytes_total")
    with ExitStack() as stack:
        for _ in range(400):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.bind((ALICE, 0))
            sock.connect(("127.0.0.1", int(node.download.rpartition(":")[2])))
            sock.sendall(request)
            assert sock.recv(1), "the response has begun"
        seen = [0.0]

        def still() -> bool:
            seen.append(node.metric("dfengine_sent_bytes_total"))
            return seen[-1] == seen[-2]

        until(still, "the end of sending")
        assert seen[-1] - begun < 500 * MIB, "64 connections hold some MiB, the others less and less"
