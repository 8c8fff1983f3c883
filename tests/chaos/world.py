"""Origin, supernode and peers with a proxy on every link between them.

Addresses do it: a supernode is told to others by the address that its client calls it by, with its own download port. So a
proxy on 127.0.0.9 with the same two ports stands before it. The origin's URL names 127.0.0.8, and a download of another host
is registered once more under the address of a proxy before its peer server.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.proxy import Fault, Proxy
from tests.e2e import scene
from tests.e2e.scene import Scene, descriptors, until

SHORT = [sys.executable, "-m", "tests.chaos.short"]
ROOT = str(Path(__file__).resolve().parents[2])
LINKS = ("control", "download", "peer", "origin")
SIZES = {"tiny": 1, "piece": (4 << 20) - 5, "two": 5_000_000, "four": 13_000_000}
FOLDERS = ("", "noranges/", "chunked/")


class World:
    """Use `world(path)`. `links` are the proxies by name; `files` the sha256 of each file at the origin."""

    def __init__(self, stage: Scene) -> None:
        self.stage = stage
        self.files = {name: stage.file(name, size) for name, size in SIZES.items()}
        self.origin = stage.origin()
        port = int(self.origin.rpartition(":")[2])
        self.node = stage.supernode("--revalidate-interval", "1h", "--fail-access-interval", "0", "--task-expire-time", "0")
        download = int(self.node.download.rpartition(":")[2])
        self.links = {
            "control": Proxy(("127.0.0.9", self.node.port), ("127.0.0.1", self.node.port)),
            "download": Proxy(("127.0.0.9", download), ("127.0.0.1", download)),
            "origin": Proxy(("127.0.0.8", port), ("127.0.0.1", port)),
            "peer": _on_a_peers_port(),
        }
        self._peers: list[tuple[str, str]] = []

    def url(self, folder: str, name: str, run: str) -> str:
        """A task of its own for each run; the origin takes no notice of the query."""
        return f"http://127.0.0.8:{self.origin.rpartition(':')[2]}/{folder}{name}?{run}"

    def arm(self, faults: dict[str, tuple[Fault, ...]]) -> None:
        """Faults by link; every connection of before is cut."""
        for name, proxy in self.links.items():
            proxy.arm(*faults.get(name, ()))

    def start(self, url: str, output: Path | str, *options: str, host: int = 3) -> subprocess.Popen[bytes]:
        """`get` of host 127.0.0.<host> through the proxy before the supernode."""
        home = self.stage.path / f"home-{host}"
        self.stage.homes.add(home)
        command = [*SHORT, "get", url, "-o", str(output), "--ip", f"127.0.0.{host}", "--home", str(home), "--minrate", "4M", *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)

    @property
    def through(self) -> tuple[str, ...]:
        """The option that names the supernode behind its proxy."""
        return "-n", f"127.0.0.9:{self.node.port}"

    def seed(self, url: str, run: str) -> None:
        """Host 2 downloads `url` whole and serves it, known to the swarm as a peer behind the proxy `peer` alone."""
        output = self.stage.path / f"seed-{run}"
        process = self.start(url, output, "-n", f"127.0.0.1:{self.node.port}", "--quiet", host=2)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()
        output.unlink()
        peers = self.stage.path / "home-2"
        entries = [json.loads(path.read_bytes()) for path in (peers / "tasks").iterdir()]
        lock = json.loads((peers / "peer.lock").read_text())
        task = self.task(url)
        entry = next(entry for entry in entries if entry["task"] == task)
        self.links["peer"].target = (lock["ip"], lock["port"])
        urllib.request.urlopen(f"http://{self.node.node}/peer/service/down?taskId={task}&cid={entry['cid']}").close()
        ip, port = self.links["peer"].address
        cid = f"{ip}-behind-{run}"
        about = {"rawUrl": url, "taskUrl": url, "cid": cid, "ip": ip, "port": port, "path": f"/peer/file/{entry['name']}", "native": 1,
                 "hostName": "h", "version": "1", "pattern": "p2p", "superNodeIp": "127.0.0.1"}
        data = self.post("/peer/registry", about)["data"]
        count = -(-data["fileLength"] // (data["pieceSize"] - 5)) if data["fileLength"] >= 0 else 0
        held = [[0, count]] if count else []
        self.post("/swarm/pull", {"task": task, "cid": cid, "held": held, "want": 0})
        self._peers.append((task, cid))

    def task(self, url: str) -> str:
        """Its id."""
        from dfengine.task import task_id

        return task_id(url, "", "")

    def post(self, path: str, message: object) -> Any:
        """A control request past the proxy."""
        body, kind = json.dumps(message).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{self.node.node}{path}", body, kind)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    def forget(self) -> None:
        """The peers behind the proxy leave, and nothing of the last run is under way any more."""
        for task, cid in self._peers:
            urllib.request.urlopen(f"http://{self.node.node}/peer/service/down?taskId={task}&cid={cid}").close()
        self._peers.clear()
        self.arm({})

    def restart(self, empty: bool = False) -> None:
        """SIGKILL the supernode and start it again on the same ports, with its cache or without."""
        old = self.node
        self.stage.kill(old.process)
        self.stage.supernodes.remove(old)
        home = None if empty else old.home
        self.node = self.stage.supernode(
            "--revalidate-interval", "1h", "--fail-access-interval", "0", "--task-expire-time", "0",
            home=home, port=old.port, download_port=int(old.download.rpartition(":")[2]),
        )
        self._peers.clear()

    def settled(self) -> None:
        """No lease, no parked pull, no connection is left, and the supernode has no more open than a fresh one and its tasks."""
        self.forget()
        until(lambda: self.node.metric("dfengine_leases") == 0, "every lease given back", 30.0)
        until(lambda: not any(proxy.open for proxy in self.links.values()), "every connection closed", 20.0)

    def sockets(self) -> int:
        """Sockets that the supernode has open."""
        return len([name for name in descriptors(self.node.process.pid) if "socket" in name])

    def close(self) -> None:
        """The proxies end; the scene does the rest, and checks."""
        for proxy in self.links.values():
            proxy.close()


def _on_a_peers_port() -> Proxy:
    """A proxy on a port that a peer may have."""
    for port in range(20000, 64000, 97):
        try:
            return Proxy(("127.0.0.7", port), ("127.0.0.1", 1))
        except OSError:
            continue
    raise AssertionError("no port is free")


@contextmanager
def world(path: Path) -> Iterator[World]:
    """A world below `path`, ended and checked for leaks at the end."""
    before = scene.DFENGINE
    scene.DFENGINE = SHORT
    try:
        with scene.scene(path) as stage:
            made = World(stage)
            try:
                yield made
                made.settled()
            finally:
                made.close()
    finally:
        scene.DFENGINE = before


def settle(seconds: float) -> None:
    """For what has no event to wait for: the moment at which a process is hit."""
    time.sleep(seconds)


def listening(address: tuple[str, int]) -> bool:
    """Somebody accepts there."""
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0
