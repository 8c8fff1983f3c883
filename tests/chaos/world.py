"""Origin, supernode and peers with a proxy on every link between them.

Addresses do it: a supernode is told to others by the address that its client calls it by, with its own download port. So a
proxy on 127.0.0.9 with the same two ports stands before it. The origin's URL names 127.0.0.8, and a download of another host
is registered once more under the address of a proxy before its peer server.
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
    """What must not be, in words."""


OPTIONS = ("--revalidate-interval", "1h", "--fail-access-interval", "0", "--task-expire-time", "0")


class World:
    """Use `world(path)`. `links` are the proxies by name; `files` the sha256 of each file at the origin.

    patience: every deadline is so many times as long. Beside other programs processes are late that do not hang.
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
        """A task of its own for each call; the origin takes no notice of the query."""
        self._count += 1
        return f"http://127.0.0.8:{self.origin.rpartition(':')[2]}/{folder}{name}?{run}-{self._count}"

    def arm(self, faults: dict[str, tuple[Fault, ...]]) -> None:
        """Faults by link; every connection of before is cut."""
        for name, proxy in self.links.items():
            proxy.arm(*faults.get(name, ()))

    def start(
        self, url: str, output: Path | str, *options: str, host: int = 3, home: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """`get` of host 127.0.0.<host>; a `home` of the caller's own is the caller's to end."""
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
        """A host downloads `url` whole, past every proxy, and serves it until `forget`; the output. Raises Wrong when it fails."""
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
        """Host 2 downloads `url` whole and serves it, known to the swarm as a peer behind the proxy `peer` alone; the output.

        A supernode with a full disk refuses the registration: the file comes from its origin then, and there is no peer.
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

        unknown: pieces that it has where the supernode does not know how many there are.
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
        """The supernode's file of it."""
        task = self.task(url)
        return self.node.home / "download" / task[:3] / task

    def task(self, url: str) -> str:
        """Its id."""
        from dfengine.task import task_id

        return task_id(url, "", "")

    def post(self, path: str, message: object, host: str = "127.0.0.1") -> Any:
        """A control request of `host`, past the proxy."""
        with self._line(host) as line:
            line.request("POST", path, json.dumps(message), {"Content-Type": "application/json"})
            return json.loads(line.getresponse().read())

    def _line(self, host: str) -> contextlib.closing[http.client.HTTPConnection]:
        return contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=20, source_address=(host, 0)))

    def _leave(self, task: str, cid: str, host: str) -> None:
        """As its own client: nobody else's word counts. Who has been forgotten is gone as well."""
        with self._line(host) as line:
            line.request("GET", f"/peer/service/down?taskId={task}&cid={cid}")
            line.getresponse().read()

    def forget(self) -> None:
        """The peers behind the proxy leave, and nothing of the last run is under way any more."""
        for peer in self._peers:
            self._leave(*peer)
        self._peers.clear()
        for output in self._outputs:
            output.unlink(missing_ok=True)
        self._outputs.clear()
        self.arm({})

    def restart(self, empty: bool = False) -> None:
        """SIGKILL the supernode and start it again on the same ports, with its cache or without."""
        self.stage.kill(self.node.process)
        self.begin(home=self.stage.path / f"emptied-{self.node.process.pid}" if empty else None)

    def stop(self, seconds: float) -> None:
        """SIGTERM. Raises Wrong when the supernode is not over within `seconds` of patience, or ends with a failure."""
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
        """Start the supernode, which has ended, again on the same ports, with the home it had or another one."""
        old = self.node
        self.stage.supernodes.remove(old)
        download = int(old.download.rpartition(":")[2])
        self.node = self.stage.supernode(*OPTIONS, *options, home=home or old.home, port=old.port, download_port=download)
        self._peers.clear()

    def alive(self) -> None:
        """Whatever a run that went wrong left of it, there is a supernode."""
        if self.node.process.poll() is not None:
            self.begin()

    def settled(self) -> None:
        """No lease, no parked pull, no connection is left, and the supernode has no more open than a fresh one and its tasks."""
        self.forget()
        until(lambda: self.node.metric("dfengine_pieces_in_flight") == 0, "every lease given back", 30.0 * self.patience)
        until(lambda: not any(proxy.open for proxy in self.links.values()), "every connection closed", 20.0 * self.patience)

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
def world(path: Path, patience: float = 1.0) -> Iterator[World]:
    """A world below `path`, ended and checked for leaks at the end."""
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
    """For what has no event to wait for: the moment at which a process is hit."""
    time.sleep(seconds)


def listening(address: tuple[str, int]) -> bool:
    """Somebody accepts there."""
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0
