"""Attacks by volume: requests, connections, responses that are not read."""

from __future__ import annotations

import json
import os
import socket
from base64 import b64encode
from typing import Any

from tests.fuzz import border
from tests.siege.attack import Attacks
from tests.siege.enemy import Enemy, Origin

ATTACKS = Attacks()
FEW = 4096
"""Descriptor limit of a supernode with few descriptors."""


def _unread(enemy: Enemy, request: bytes, count: int = 0, port: int = 0) -> None:
    """Send a request `count` times in one write, or for 250 KB, and read nothing."""
    sock = enemy.connect(port, 5.0)
    with sock:
        sock.sendall(request * (count or (250_000 // len(request))))


@ATTACKS.add("pipeline")
def pipeline(enemy: Enemy) -> None:
    """250 KB of pipelined requests for metrics in one write, unread responses, 600 registered downloads."""
    line = enemy.line()
    for _ in range(600):
        enemy.register(line)
    enemy.repeat(lambda: _unread(enemy, b"GET /metrics HTTP/1.1\r\n\r\n"), 8)


@ATTACKS.add("labels")
def labels(enemy: Enemy) -> None:
    """20,000 downloads, each with another callsystem, and scrapes."""
    line = enemy.line()
    for n in range(20_000):
        enemy.register(line, callSystem=f"system-{n}")
    enemy.repeat(lambda: _unread(enemy, b"GET /metrics HTTP/1.1\r\n\r\n", 100), 2)


@ATTACKS.add("many-connections")
def many_connections(enemy: Enemy) -> None:
    """4,000 connections that each send one request after another."""
    body = json.dumps({"url": "x"}).encode()
    requests = border.get(b"/peers"), border.get(b"/_ping"), border.post("/api/v1/preheats", body)
    enemy.kept += [enemy.connect() for _ in range(4000)]
    for sock in enemy.kept:
        sock.setblocking(False)

    def round_() -> None:
        for n, sock in enumerate(enemy.kept):
            try:
                sock.recv(1 << 16)
            except BlockingIOError:
                pass
            except OSError:
                sock.close()
                sock = enemy.kept[n] = enemy.connect()
                sock.setblocking(False)
            sock.send(requests[n % 3])

    enemy.repeat(round_)


@ATTACKS.add("piece-pipeline")
def piece_pipeline(enemy: Enemy) -> None:
    """250 KB of pipelined requests for pieces at the download port, unread responses."""
    task, _, _ = enemy.register(enemy.line())
    request = f"GET /download/{task[:3]}/{task} HTTP/1.1\r\nRange: bytes=0-4194303\r\n\r\n".encode()
    enemy.repeat(lambda: _unread(enemy, request, port=enemy.download), 8)


@ATTACKS.add("slow-readers")
def slow_readers(enemy: Enemy) -> None:
    """1,000 connections that each request a piece and read none of it."""
    task, _, _ = enemy.register(enemy.line())
    request = f"GET /download/{task[:3]}/{task} HTTP/1.1\r\nRange: bytes=0-4194303\r\n\r\n".encode()

    def one() -> None:
        if len(enemy.kept) >= 1000:
            enemy.begun()
            enemy.over.wait(0.1)
            return
        sock = enemy.connect(enemy.download)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(request)
        enemy.kept.append(sock)

    while len(enemy.kept) < 1000 and not enemy.over.is_set():
        one()
    enemy.repeat(one)


@ATTACKS.add("idle-connections", descriptors=FEW)
def idle_connections(enemy: Enemy) -> None:
    """As many idle connections as possible, at both ports of a supernode with 4,096 descriptors."""

    def more() -> None:
        for _ in range(100):
            enemy.kept.append(enemy.connect(enemy.download if len(enemy.kept) % 2 else 0, 2.0))
        if len(enemy.kept) > 2 * FEW:
            for sock in enemy.kept[:FEW]:
                sock.close()
            del enemy.kept[:FEW]

    while len(enemy.kept) < FEW and not enemy.over.is_set():
        more()
    enemy.repeat(more)


@ATTACKS.add("sessions", secret=True)
def sessions(enemy: Enemy) -> None:
    """A client with the secret that opens a signed session for each request."""
    from dfengine.net.secret import HEADER, SERVER_NAME, Signer, name_in, read_secret

    secret, line = read_secret(enemy.secret), enemy.line()
    line.request("GET", SERVER_NAME)
    answer = line.getresponse()
    name = name_in(answer.status, answer.read())

    def burst() -> None:
        requests = []
        for _ in range(2000):
            signed = Signer(secret, name).sign("POST", "/peer/heartbeat", b"{}")
            requests.append(border.post("/peer/heartbeat", b"{}", f"{HEADER}: {signed}\r\n"))
        with enemy.connect() as sock:
            sock.sendall(b"".join(requests))
            answers = b""
            while answers.count(b"HTTP/1.1 ") < len(requests) and (more := sock.recv(1 << 18)):
                answers += more
            if b"HTTP/1.1 503" in answers:
                enemy.begun()

    while not enemy.over.is_set() and not enemy.has_begun:
        burst()
    enemy.repeat(burst)


def _authority(n: int) -> str:
    """Certificates of 700 KB."""
    return b64encode(b"-----BEGIN CERTIFICATE-----\n" + b"%08d" % n * 87_500 + b"\n-----END CERTIFICATE-----\n").decode()


@ATTACKS.add("certificates", bound=96)
def certificates(enemy: Enemy) -> None:
    """300 registrations with a megabyte of certificates each."""
    line, count = enemy.line(), 0

    def one() -> None:
        nonlocal count
        count += 1
        enemy.register(line, f"{enemy.url}&certificates={count}", rootCAs=[_authority(count)], insecure=True)
        if count >= 300:
            enemy.begun()

    while count < 300 and not enemy.over.is_set():
        one()
    enemy.repeat(one)


@ATTACKS.add("endless-certificates")
def endless_certificates(enemy: Enemy) -> None:
    """Certificates that begin 24,000 times and never end."""
    line = enemy.line()
    texts = [b64encode(b"-----BEGIN CERTIFICATE-----\n" * 24_000).decode()]
    enemy.repeat(lambda: enemy.register(line, rootCAs=texts))


@ATTACKS.add("slow-heads", bound=96)
def slow_heads(enemy: Enemy) -> None:
    """240 registrations of a megabyte that wait for an origin that does not respond."""
    origin = Origin(lambda sock: enemy.over.wait())
    bodies = [json.dumps(enemy.registration(f"{origin.url}/{n}", rootCAs=[_authority(n)], insecure=True)).encode() for n in range(240)]

    def one() -> None:
        body = bodies[len(enemy.kept) % len(bodies)]
        sock = enemy.connect()
        enemy.kept.append(sock)
        sock.sendall(border.post("/peer/registry", body))

    while len(enemy.kept) < 240 and not enemy.over.is_set():
        one()
    enemy.begun()

    def again() -> None:
        enemy.over.wait(0.1)
        enemy.kept.pop(0).close()
        one()

    enemy.repeat(again)


@ATTACKS.add("unfinished-requests", bound=96)
def unfinished_requests(enemy: Enemy) -> None:
    """1,000 requests of a megabyte whose last bytes are never sent."""
    part = b"POST /peer/registry HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + bytes(999_000)

    def one() -> None:
        sock = enemy.connect(timeout=2.0)
        enemy.kept.append(sock)
        if len(enemy.kept) > 1000:
            enemy.begun()
            enemy.kept.pop(0).close()
        sock.sendall(part)

    enemy.repeat(one, 4)


@ATTACKS.add("heavy-pulls")
def heavy_pulls(enemy: Enemy) -> None:
    """Pulls with the maximum number of reports of every kind."""
    line = enemy.line()
    task, cid, _ = enemy.register(line)
    kinds: tuple[dict[str, Any], ...] = (
        {"failed": [[0, "x", "slow"]] * 16_000}, {"failed": [[0, "x", "digest"]] * 40_000}, {"done": [[0, ""]] * 99_000},
        {"ending": [0] * 16_000}, {"evicted": [[0, 1]] * 16_000}, {"held": [[0, 1]] * 60_000}, {"una": 1 << 30}, {"want": 1 << 30},
    )  # fmt: skip
    bodies = [json.dumps({"task": task, "cid": cid, **kind}).encode() for kind in kinds]
    enemy.repeat(lambda: enemy.ask(line, "/swarm/pull", enemy.random.choice(bodies)))


@ATTACKS.add("dead-urls", bound=96)
def dead_urls(enemy: Enemy) -> None:
    """Tasks of URLs that do not exist at the origin, as fast as they are accepted."""
    origin = Origin(lambda sock: sock.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
    lines = [enemy.line() for _ in range(4)]

    def one() -> None:
        line = lines.pop()
        enemy.register(line, f"{origin.url}/{os.urandom(8).hex()}?{'x' * 1000}")
        lines.append(line)

    enemy.repeat(one, 4)


@ATTACKS.add("small-files", descriptors=FEW)
def small_files(enemy: Enemy) -> None:
    """2,038 files of one byte, each a task, at a supernode with 4,096 descriptors."""
    origin = Origin(lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"))
    line, count = enemy.line(), 0

    def one() -> None:
        nonlocal count
        count += 1
        enemy.register(line, f"{origin.url}/{count}")

    while count < 2038 and not enemy.over.is_set():
        one()
    enemy.repeat(one)
