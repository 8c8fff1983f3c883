"""The hostile client's process: `python -m tests.siege.enemy NAME` with its parameters on stdin as a JSON object.

It prints `begun` once its attack runs, and continues until its stdin ends. It has the lowest priority, because a real hostile client
has its own machine and takes no CPU time from the swarm.
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
"""Address of the enemy; honest downloads have others."""


@dataclass
class Enemy:
    """control, download: the supernode's ports. url: the honest downloads' file. secret: file of the swarm's secret, "" without."""

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
        """Print once that the attack runs."""
        if not self.has_begun:
            self.has_begun = True
            print("begun", flush=True)

    def connect(self, port: int = 0, timeout: float = 20.0) -> socket.socket:
        """Connect to the control port or another. Raises OSError."""
        sock = socket.create_connection(("127.0.0.1", port or self.control), timeout, (ADDRESS, 0))
        # Closed with a reset: ports in TIME_WAIT would prevent the next attack from connecting.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        return sock

    def line(self) -> http.client.HTTPConnection:
        """An HTTP connection to the control port."""
        return http.client.HTTPConnection("127.0.0.1", self.control, timeout=40, source_address=(ADDRESS, 0))

    def ask(self, line: http.client.HTTPConnection, path: str, message: object) -> Any:
        """Send a control request and return its JSON response, None on failure. Reconnects automatically."""
        try:
            line.request("POST", path, message if isinstance(message, bytes) else json.dumps(message).encode())
            return json.loads(line.getresponse().read() or b"null")
        except (OSError, ValueError, http.client.HTTPException):
            line.close()
            return None

    def registration(self, url: str = "", **more: Any) -> dict[str, Any]:
        """The registration message of a new download."""
        self._count += 1
        url = url or self.url
        return {"rawUrl": url, "taskUrl": url, "cid": f"{ADDRESS}-{os.getpid()}-{self._count}", "ip": ADDRESS, "port": 0,
                "path": "/peer/file/x", "native": 1, "hostName": "h", "version": "1", "superNodeIp": "127.0.0.1", **more}

    def register(self, line: http.client.HTTPConnection, url: str = "", **more: Any) -> tuple[str, str, Any]:
        """Register a download. Returns (task, CID, the response's data); the task is "" if it was refused."""
        about = self.registration(url, **more)
        answer = self.ask(line, "/peer/registry", about) or {}
        data = answer.get("data") or {}
        return data.get("taskId", ""), about["cid"], data

    def repeat(self, act: Callable[[], object], threads: int = 1) -> None:
        """Repeat `act` until the siege is over; failures are ignored."""

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
    """A server of the enemy. answer: responds to a request; it may block, as each connection has a thread."""

    def __init__(self, answer: Callable[[socket.socket], object]) -> None:
        self._answer = answer
        self._listener = socket.create_server((ADDRESS, 0), backlog=1024)
        self.asked = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Base URL of its files."""
        return f"http://{ADDRESS}:{self._listener.getsockname()[1]}"

    @property
    def port(self) -> int:
        """The port on which it listens."""
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
    """Run the attack named on the command line."""
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
    # Its threads and connections end with the process.
    os._exit(0)


if __name__ == "__main__":
    main()
