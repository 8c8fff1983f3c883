"""Origin, supernode and peers with a proxy on every link between them.

Addresses direct traffic to the proxies. Clients reach a supernode at the address of their node list, with its own download port,
so a proxy on 127.0.0.9 with the same two ports is in front of it. The origin's URL names 127.0.0.8, and a download of another
host is registered again under the address of a proxy in front of its peer server.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
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


class Wrong(Exception):
    """A violated condition; the text describes it."""


OPTIONS = ("--revalidate-interval", "1h", "--fail-access-interval", "0", "--task-expire-time", "0")


class World:
    """Use `world(path)`. `links` are the proxies by name; `files` the sha256 of each file at the origin.

    patience: factor of every deadline, because beside other programs processes may be late without hanging.
    """

    def __init__(self, stage: Scene, patience: float = 1.0) -> None:
        self.stage, self.patience = stage, patience
        self.files = {name: stage.file(name, size) for name, size in SIZES.items()}
        self.origin = stage.origin()
        port = int(self.origin.rpartition(":")[2])
        self.node = stage.supernode(*OPTIONS)
        download = int(self.node.download.rpartition(":")[2])
        self.links = {
            "control": Proxy(("127.0.0.9", self.node.port), ("127.0.0.1", self.node.port)),
            "download": Proxy(("127.0.0.9", download), ("127.0.0.1", download)),
            "origin": Proxy(("127.0.0.8", port), ("127.0.0.1", port)),
            "peer": _on_a_peers_port(),
        }
        self._peers: list[tuple[str, str, str]] = []
        self._outputs: list[Path] = []
        self._count = 0

    def url(self, folder: str, name: str, run: str) -> str:
        """A URL with a separate task for each call; the origin ignores the query."""
        self._count += 1
        return f"http://127.0.0.8:{self.origin.rpartition(':')[2]}/{folder}{name}?{run}-{self._count}"

    def arm(self, faults: dict[str, tuple[Fault, ...]]) -> None:
        """Set the faults by link; existing connections are closed."""
        for name, proxy in self.links.items():
            proxy.arm(*faults.get(name, ()))

    def start(
        self, url: str, output: Path | str, *options: str, host: int = 3, home: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start `get` on host 127.0.0.<host>. The caller ends the peer server of a `home` that it passes."""
        if home is None:
            home = self.stage.path / f"home-{host}"
            self.stage.homes.add(home)
        command = [*SHORT, "get", url, "-o", str(output), "--ip", f"127.0.0.{host}", "--home", str(home), "--minrate", "4M", *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)

    @property
    def through(self) -> tuple[str, ...]:
        """The option that names the supernode behind its proxy."""
        return "-n", f"127.0.0.9:{self.node.port}"

    def fetch(self, url: str, host: int = 2) -> Path:
        """A host downloads `url` around the proxies and serves it until `forget`. Returns the output. Raises Wrong on failure."""
        self._count += 1
        output = self.stage.path / f"fetched-{self._count}"
        self._outputs.append(output)
        process = self.start(url, output, "-n", f"127.0.0.1:{self.node.port}", "--quiet", host=host)
        try:
            _, err = process.communicate(timeout=60 * self.patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Wrong("late: a download through no proxy") from None
        if process.returncode:
            raise Wrong(f"a download through no proxy: exit {process.returncode}: {err.decode()}")
        return output

    def seed(self, url: str, run: str) -> Path:
        """Host 2 downloads `url` and serves it; the swarm knows it only as a peer behind the proxy `peer`. Returns the output.

        A supernode with a full disk refuses the registration: then the file is read from its origin, and no peer serves it.
        """
        output = self.fetch(url)
        peers = self.stage.path / "home-2"
        inode = output.stat().st_ino
        entries = (json.loads(path.read_bytes()) for path in (peers / "tasks").iterdir())
        entry = next((entry for entry in entries if entry["inode"] == inode), None)
        if entry is None:
            return output
        lock = json.loads((peers / "peer.lock").read_text())
        self.links["peer"].target = (lock["ip"], lock["port"])
        self._leave(self.task(url), entry["cid"], "127.0.0.2")
        address = self.links["peer"].address
        self.claim(url, f"{address[0]}-behind-{run}", address, entry["name"])
        return output

    def claim(self, url: str, cid: str, address: tuple[str, int], name: str, unknown: int = 0) -> None:
        """Register a download that has all pieces and serves them at `address` under `name`; it leaves by `forget`.

        unknown: number of pieces that it has if the supernode does not know the length.
        """
        ip, port = address
        about = {"rawUrl": url, "taskUrl": url, "cid": cid, "ip": ip, "port": port, "path": f"/peer/file/{name}", "native": 1,
                 "hostName": "h", "version": "1", "pattern": "p2p", "superNodeIp": "127.0.0.1"}
        data = self.post("/peer/registry", about, ip)["data"]
        count = -(-data["fileLength"] // (data["pieceSize"] - 5)) if data["fileLength"] >= 0 else unknown
        held = [[0, count]] if count else []
        self.post("/swarm/pull", {"task": data["taskId"], "cid": cid, "held": held, "want": 0}, ip)
        self._peers.append((data["taskId"], cid, ip))

    def copy(self, url: str) -> Path:
        """Path of the supernode's copy of a URL."""
        task = self.task(url)
        return self.node.home / "download" / task[:3] / task

    def task(self, url: str) -> str:
        """Task id of a URL."""
        from dfengine.task import task_id

        return task_id(url, "", "")

    def post(self, path: str, message: object, host: str = "127.0.0.1") -> Any:
        """Send a control request from `host` around the proxy."""
        with self._line(host) as line:
            line.request("POST", path, json.dumps(message), {"Content-Type": "application/json"})
            return json.loads(line.getresponse().read())

    def _line(self, host: str) -> contextlib.closing[http.client.HTTPConnection]:
        return contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=20, source_address=(host, 0)))

    def _leave(self, task: str, cid: str, host: str) -> None:
        """Leave from the download's own address, because others are refused. A download that expired has left too."""
        with self._line(host) as line:
            line.request("GET", f"/peer/service/down?taskId={task}&cid={cid}")
            line.getresponse().read()

    def forget(self) -> None:
        """Let the peers behind the proxy leave, delete their outputs and close the proxies' connections."""
        for peer in self._peers:
            self._leave(*peer)
        self._peers.clear()
        for output in self._outputs:
            output.unlink(missing_ok=True)
        self._outputs.clear()
        self.arm({})

    def restart(self, empty: bool = False) -> None:
        """Kill the supernode with SIGKILL and restart it on the same ports, with its cache or without."""
        self.stage.kill(self.node.process)
        self.begin(home=self.stage.path / f"emptied-{self.node.process.pid}" if empty else None)

    def stop(self, seconds: float) -> None:
        """Send SIGTERM. Raises Wrong if the supernode does not end within `seconds` times patience, or fails."""
        process, seconds = self.node.process, seconds * self.patience
        process.terminate()
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stage.kill(process)
            raise Wrong(f"late: the supernode is not over {seconds:.0f} s after SIGTERM") from None
        if code:
            raise Wrong(f"the supernode ends with {code} after SIGTERM")

    def begin(self, *options: str, home: Path | None = None) -> None:
        """Restart the ended supernode on the same ports, with its previous home or another."""
        old = self.node
        self.stage.supernodes.remove(old)
        download = int(old.download.rpartition(":")[2])
        self.node = self.stage.supernode(*OPTIONS, *options, home=home or old.home, port=old.port, download_port=download)
        self._peers.clear()

    def alive(self) -> None:
        """Start the supernode if a failed run left none."""
        if self.node.process.poll() is not None:
            self.begin()

    def settled(self) -> None:
        """Wait until no lease and no proxied connection is left."""
        self.forget()
        until(lambda: self.node.metric("dfengine_pieces_in_flight") == 0, "the return of every lease", 30.0 * self.patience)
        until(lambda: not any(proxy.open for proxy in self.links.values()), "the end of every connection", 20.0 * self.patience)

    def sockets(self) -> int:
        """Number of the supernode's open sockets."""
        return len([name for name in descriptors(self.node.process.pid) if "socket" in name])

    def close(self) -> None:
        """Close the proxies; the scene ends and checks the rest."""
        for proxy in self.links.values():
            proxy.close()


def _on_a_peers_port() -> Proxy:
    """A proxy on a port that a peer server may use."""
    for port in range(20000, 64000, 97):
        try:
            return Proxy(("127.0.0.7", port), ("127.0.0.1", 1))
        except OSError:
            continue
    raise AssertionError("no port is free")


@contextmanager
def world(path: Path, patience: float = 1.0) -> Iterator[World]:
    """A world below `path`, which is closed and checked for leaks at the end."""
    before = scene.DFENGINE
    scene.DFENGINE = SHORT
    try:
        with scene.scene(path) as stage:
            made = World(stage, patience)
            try:
                yield made
                made.settled()
            finally:
                made.close()
    finally:
        scene.DFENGINE = before


def settle(seconds: float) -> None:
    """Wait for a moment that no event marks."""
    time.sleep(seconds)


def listening(address: tuple[str, int]) -> bool:
    """Whether a process accepts connections at `address`."""
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0
