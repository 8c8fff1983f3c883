"""The hostile client's process: `python -m tests.siege.enemy NAME` with what it knows on its stdin, a JSON object.

It says `begun` once its attack is under way, and goes on until its stdin ends. It has the lowest priority: a real one has a machine of its
own, and what its machine does is no harm.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import resource
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ADDRESS = "127.0.0.66"
"""Where the enemy is; honest downloads are elsewhere."""


@dataclass
class Enemy:
    """control, download: the supernode's ports. url: what the ten will download. secret: the swarm's, "" without."""

    control: int
    download: int
    url: str
    secret: str = ""
    seed: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    kept: list[socket.socket] = field(default_factory=list)
    """Sockets that stay open."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.has_begun = False
        self._count = 0

    def begun(self) -> None:
        """The attack is under way; said once."""
        if not self.has_begun:
            self.has_begun = True
            print("begun", flush=True)

    def connect(self, port: int = 0, timeout: float = 20.0) -> socket.socket:
        """A connection to the control port, or another. Raises OSError."""
        sock = socket.create_connection(("127.0.0.1", port or self.control), timeout, (ADDRESS, 0))
        # Closed by a reset: ports in TIME_WAIT would keep the next attack from connecting.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        return sock

    def line(self) -> http.client.HTTPConnection:
        """To the control port."""
        return http.client.HTTPConnection("127.0.0.1", self.control, timeout=40, source_address=(ADDRESS, 0))

    def ask(self, line: http.client.HTTPConnection, path: str, message: object) -> Any:
        """A control request's JSON answer, None where there was none. Reconnects by itself."""
        try:
            line.request("POST", path, message if isinstance(message, bytes) else json.dumps(message).encode())
            return json.loads(line.getresponse().read() or b"null")
        except (OSError, ValueError, http.client.HTTPException):
            line.close()
            return None

    def registration(self, url: str = "", **more: Any) -> dict[str, Any]:
        """Of a new download."""
        self._count += 1
        url = url or self.url
        return {"rawUrl": url, "taskUrl": url, "cid": f"{ADDRESS}-{os.getpid()}-{self._count}", "ip": ADDRESS, "port": 0,
                "path": "/peer/file/x", "native": 1, "hostName": "h", "version": "1", "superNodeIp": "127.0.0.1", **more}

    def register(self, line: http.client.HTTPConnection, url: str = "", **more: Any) -> tuple[str, str, Any]:
        """(task, CID, the answer's data); the task "" where it was refused."""
        about = self.registration(url, **more)
        answer = self.ask(line, "/peer/registry", about) or {}
        data = answer.get("data") or {}
        return data.get("taskId", ""), about["cid"], data

    def go_on(self, act: Callable[[], object], threads: int = 1) -> None:
        """Over and over until the siege is over; what fails is tried again."""

        def work() -> None:
            while not self.over.is_set():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    act()
                self.begun()

        made = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
        for thread in made:
            thread.start()
        self.over.wait()


class Origin:
    """A server of the enemy's own. answer: what follows each request's head; it may wait, the connection is its own."""

    def __init__(self, answer: Callable[[socket.socket], object]) -> None:
        self._answer = answer
        self._listener = socket.create_server((ADDRESS, 0), backlog=1024)
        self.asked = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Of its files."""
        return f"http://{ADDRESS}:{self._listener.getsockname()[1]}"

    @property
    def port(self) -> int:
        """It listens there."""
        return int(self._listener.getsockname()[1])

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            self.asked += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.recv(65536)
            self._answer(sock)


def main() -> None:
    """See above."""
    from tests.siege import claims, floods, trees

    os.nice(19)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    enemy = Enemy(**json.loads(sys.stdin.readline()))
    attack = (floods.ATTACKS | claims.ATTACKS | trees.ATTACKS)[sys.argv[1]]
    thread = threading.Thread(target=attack.run, args=(enemy,), daemon=True)
    thread.start()
    sys.stdin.read()
    enemy.over.set()
    # Whatever its threads do ends with the process, and its connections, too.
    os._exit(0)


if __name__ == "__main__":
    main()
