"""Attacks by false claims: lengths, pieces, addresses, numbers."""

from __future__ import annotations

import http.client
import itertools
import socket
from collections import deque
from collections.abc import Callable

from dfengine._piece import Geometry
from tests.fuzz import border
from tests.siege.attack import Attacks
from tests.siege.enemy import ADDRESS, Enemy, Origin

ATTACKS = Attacks()
TIB = 1 << 40
VICTIM = ("127.0.0.99", 20_001)
"""Address of a server outside the swarm."""



def _announcing(length: int, enemy: Enemy) -> Origin:
    """An origin that announces this length and sends only a piece."""

    def answer(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + bytes(5 << 20))
        enemy.over.wait(5)

    return Origin(answer)


@ATTACKS.add("huge-file", "--max-length", "16T")
def huge_file(enemy: Enemy) -> None:
    """Files of 8 TiB for which no disk has room."""
    origin, line, count = _announcing(8 * TIB, enemy), enemy.line(), itertools.count()
    enemy.repeat(lambda: enemy.register(line, f"{origin.url}/{next(count)}"))


@ATTACKS.add("huge-tables", "--max-length", "16T", bound=32)
def huge_tables(enemy: Enemy) -> None:
    """Files of 15 TiB: downloads that claim pieces at their ends, and streams that acknowledge all pieces."""
    origin, line, count = _announcing(15 * TIB, enemy), enemy.line(), itertools.count()

    def one() -> None:
        stream = {"streamMode": True, "windowSize": 1 << 16}
        task, cid, data = enemy.register(line, f"{origin.url}/{next(count) % 20}", **(stream if next(count) % 2 else {}))
        if task:
            pieces = data["fileLength"] // (data["pieceSize"] - 5)
            for more in ({"held": [[0, pieces]]}, {"held": [[pieces - 1, pieces]]}, {"una": pieces, "end": pieces, "want": 4}):
                enemy.ask(line, "/swarm/pull", {"task": task, "cid": cid, **more})

    enemy.repeat(one)


@ATTACKS.add("wrong-length")
def wrong_length(enemy: Enemy) -> None:
    """Registrations of the honest downloads' file with another length."""
    line = enemy.line()
    enemy.register(line)
    count = itertools.count(1)
    enemy.repeat(lambda: enemy.register(line, fileLength=next(count)))


@ATTACKS.add("mute-claims")
def mute_claims(enemy: Enemy) -> None:
    """64 downloads that claim every piece at ports that do not respond."""
    mutes = []
    for port in itertools.count(20_000, 7):
        try:
            mutes.append(socket.create_server((ADDRESS, port), backlog=1))
        except OSError:
            continue
        if len(mutes) == 64:
            break
    enemy.kept += mutes
    line = enemy.line()

    def claim() -> None:
        for mute in mutes:
            task, cid, data = enemy.register(line, port=mute.getsockname()[1])
            if task:
                pieces = -(-data["fileLength"] // (data["pieceSize"] - 5))
                enemy.ask(line, "/swarm/pull", {"task": task, "cid": cid, "held": [[0, pieces]]})
        enemy.begun()
        enemy.over.wait(2)

    enemy.repeat(claim)


@ATTACKS.add("false-complaints")
def false_complaints(enemy: Enemy) -> None:
    """Complaints about every piece of the supernode and of all other sources."""
    line = enemy.line()
    task, cid, data = enemy.register(line)
    pieces = -(-data["fileLength"] // (data["pieceSize"] - 5))

    def complain() -> None:
        failed = [[n, source, why] for n in range(pieces) for source in ("cdnnode:127.0.0.1~x", "") for why in ("digest", "gone")]
        enemy.ask(line, "/swarm/pull", {"task": task, "cid": cid, "failed": failed * 20, "want": 4})

    enemy.repeat(complain)


@ATTACKS.add("broken-numbers")
def broken_numbers(enemy: Enemy) -> None:
    """Every field of a pull and of a registration with hostile values."""
    line = enemy.line()
    task, cid, _ = enemy.register(line)
    pull = {"task": task, "cid": cid, "done": [[0, ""]], "failed": [[0, "", "gone"]], "held": [[0, 1]], "want": 0, "una": 0, "end": -1}
    made = [("/swarm/pull", body) for _, body in border.bodies(pull) if b'"wait"' not in body]
    made += [("/peer/registry", body) for _, body in border.bodies(enemy.registration())]

    def one() -> None:
        path, body = enemy.random.choice(made)
        enemy.ask(line, path, body)

    enemy.repeat(one)


@ATTACKS.add("reflection")
def reflection(enemy: Enemy) -> None:
    """Downloads with the address and path of a victim that never joined."""
    line = enemy.line()
    paths = ("/peer/file/../../admin/delete?all=1", "/admin", "/peer/file/x", "/peer/file/%2e%2e/x")

    def one() -> None:
        for n, path in enumerate(paths):
            task, cid, data = enemy.register(line, ip=VICTIM[0], port=VICTIM[1], path=path, hostName=f"h{n}")
            if task:
                pieces = -(-data["fileLength"] // (data["pieceSize"] - 5))
                enemy.ask(line, "/swarm/pull", {"task": task, "cid": cid, "held": [[0, pieces]]})
        enemy.over.wait(0.2)

    enemy.repeat(one)


def _take(enemy: Enemy, request: bool) -> Callable[[], None]:
    """Register another download per call and pull all its slots; 400 of them stay. request: also request the pieces but read nothing."""
    kept = deque[http.client.HTTPConnection]()

    def one() -> None:
        line = enemy.line()
        kept.append(line)
        task, cid, data = enemy.register(line)
        answer = enemy.ask(line, "/swarm/pull", {"task": task, "cid": cid, "want": 64, "wait": 0.2}) or {}
        for n, *_ in answer.get("offers", []) if request else ():
            start, end = Geometry(data["fileLength"]).range(n)
            sock = enemy.connect(enemy.download)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(border.get(f"/download/{task[:3]}/{task}".encode(), b"Range: bytes=%d-%d\r\n" % (start, end)))
            enemy.kept.append(sock)
        if len(kept) > 400:
            kept.popleft().close()

    return one


@ATTACKS.add("idle-downloads")
def idle_downloads(enemy: Enemy) -> None:
    """Downloads that pull all pieces they may have, request none of them and stay connected."""
    enemy.repeat(_take(enemy, False), 4)


@ATTACKS.add("frozen-downloads")
def frozen_downloads(enemy: Enemy) -> None:
    """Downloads that request their assigned pieces and then read nothing, as a stopped process does."""
    enemy.repeat(_take(enemy, True), 4)
