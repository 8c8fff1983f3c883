"""Three supernodes of one cluster, each with its own hosts, that distribute a new file while one of them, or Redis, fails.

    [origin]--.               .--[node 0]--.
              bridge (hub)----+--[node 1]   +-- hosts, in turn: each uses the others' supernodes only when its own is gone
    [redis]---'               '--[node 2]--'

Each is a network namespace (bench/hosts.py); the links of the origin, the supernodes and the hosts are shaped. The file is new to all of
them, and the origin's link limits it, so that more than half of it is not fetched yet when the fault begins. The origin's bytes are counted
at its port of the bridge, with all headers, and include bytes into connections that were lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.hosts import Hosts
from bench.stage import DFENGINE, MIB, stop_peer
from bench.swarm import await_nginx, nginx, start_peer

NODES = 3
OWN = 999_999
"""Weight of a host's own supernode; the others have weight 1."""
PAUSE = 30.0
DEADLINE = 240.0
"""Seconds after which a host counts as failed."""


@dataclass
class Outcome:
    """Result for one file: seconds until the last host had it; hosts without it; hosts with wrong bytes; bytes of the origin over F."""

    last: float
    failed: int
    wrong: int
    origin: float
    messages: list[str] = field(default_factory=list)


class Cluster:
    """Use as a context. hosts: number. rate, origin_rate: Mbit/s of the links. options: further flags of the supernodes."""

    def __init__(self, hosts: int, rate: int, origin_rate: int, options: list[str]) -> None:
        self.nodes = [f"node{n}" for n in range(NODES)]
        self.hosts = [f"h{n}" for n in range(hosts)]
        self.net = Hosts(["origin", "redis", *self.nodes, *self.hosts], [origin_rate, 0, *[rate] * (NODES + hosts)])
        self.path = Path(tempfile.mkdtemp(prefix="dffleet-", dir="/dev/shm"))
        self._key = self.path / "key"
        self._options = options
        self.rate, self.slow = rate, ""
        """slow: the supernode whose link has another rate."""
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._files = 0

    def __enter__(self) -> Self:
        # Servers have sessions of their own, so a benchmark that is interrupted must end them itself.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        (self.path / "www").mkdir()
        self._key.write_text(secrets.token_hex())
        self._key.chmod(0o600)
        with contextlib.ExitStack() as stack:
            stack.push(self)
            self.net.__enter__()
            for host in self.hosts:
                start_peer(self.net, host, self.path / f"home-{host}")
            stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        for host in self.hosts:
            stop_peer(self.path / f"home-{host}")
        self.net.__exit__(kind, error, trace)
        shutil.rmtree(self.path, ignore_errors=True)

    # SERVERS

    def start(self) -> None:
        """Start an origin, an empty Redis, and supernodes of one cluster without copies."""
        for left in [*self.path.glob("node*"), self.path / "nginx.pid"]:
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
        redis = self.net.address("redis")
        self._start("origin", nginx(self.path, self.net.address("origin")))
        self._start("redis", ["redis-server", "--bind", redis, "--protected-mode", "no", "--save", "", "--dir", str(self.path)])
        for node in self.nodes:
            ip = self.net.address(node)
            self._start(node, [*DFENGINE, "supernode", "--host", ip, "--advertise-ip", ip, "--home-dir", str(self.path / node),
                               "--cluster", f"redis://{redis}", "--cluster-key-file", str(self._key), *self._options])  # fmt: skip
        for node in self.nodes:
            said = self._running[node].stdout
            assert said is not None
            if not said.readline().startswith(b"ready"):
                raise RuntimeError(f"{node} does not start")
        await_nginx(self.path)
        end = time.monotonic() + 20
        while any(self.metric(node, "dfengine_cluster_members") != NODES - 1 for node in self.nodes):
            if time.monotonic() > end:
                raise RuntimeError("the supernodes do not find each other")
            time.sleep(0.1)

    def _start(self, name: str, command: list[str]) -> None:
        out = subprocess.PIPE if name in self.nodes else subprocess.DEVNULL
        errors = (self.path / f"{name}.log").open("wb")
        self._running[name] = subprocess.Popen(self.net.command(name, command), stdout=out, stderr=errors, start_new_session=True)
        errors.close()

    def metric(self, node: str, name: str) -> float:
        """A supernode's metric, summed over its labels."""
        text = self.net.run(node, ["curl", "-s", "--noproxy", "*", f"http://{self.net.address(node)}:8002/metrics"])
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name)

    def leader(self) -> str:
        """The supernode that reads the origin."""
        return max(self.nodes, key=lambda node: self.metric(node, "dfengine_origin_bytes_total"))

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a server."""
        self._running[name].send_signal(number)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Schedule an action during the distribution of the file."""
        self._later.append((time.monotonic() + seconds, action))

    def stop(self) -> None:
        """End all servers."""
        self._later.clear()
        for process in self._running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self._running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._running.clear()

    # ONE FILE

    def distribute(self, size: int, fault: Callable[[Cluster], None], *, before: bool = False) -> Outcome:
        """Send a new file of `size` bytes to all hosts. The fault begins when the origin has sent 0.4 of it; before: before hosts ask."""
        self.start()
        url, digest = self._file(size)
        since = self.net.carried()["origin"][0]
        if before:
            fault(self)
        first, struck = time.monotonic(), before
        gets = {host: self._get(host, url) for host in self.hosts}
        codes: dict[str, int] = {}
        last = 0.0
        while len(codes) < len(gets):
            now = time.monotonic() - first
            for host, process in gets.items():
                if host not in codes and process.poll() is not None:
                    codes[host], last = process.returncode, now
            if not struck and self.net.carried()["origin"][0] - since > 0.4 * size:
                struck = True
                fault(self)
            while self._later and self._later[0][0] <= time.monotonic():
                self._later.pop(0)[1]()
            if now > DEADLINE:
                for host, process in gets.items():
                    if host not in codes:
                        process.kill()
                        codes[host] = process.wait()
            time.sleep(0.02)
        sent = self.net.carried()["origin"][0] - since
        self.net.mend()
        if self.slow:
            self.net.shape(self.slow, self.rate)
            self.slow = ""
        self.stop()
        return self._judged(size, digest, codes, last, sent)

    def _judged(self, size: int, digest: str, codes: dict[str, int], last: float, sent: int) -> Outcome:
        outcome = Outcome(last, 0, 0, sent / size)
        for host, code in codes.items():
            out = self.path / f"out-{host}"
            if code:
                outcome.failed += 1
                outcome.messages.append(f"{host} ended with {code}: {(self.path / f'{host}.errors').read_text()[-300:]}")
            else:
                with out.open("rb") as file:
                    outcome.wrong += hashlib.file_digest(file, "sha256").hexdigest() != digest
            out.unlink(missing_ok=True)
        return outcome

    def _file(self, size: int) -> tuple[str, str]:
        """URL and sha256 of the file."""
        for old in (self.path / "www").iterdir():
            old.unlink()
        self._files += 1
        path, block, whole = self.path / "www" / f"file-{self._files}", os.urandom(MIB), hashlib.sha256()
        with path.open("wb") as out:
            for left in range(size, 0, -MIB):
                part = (left.to_bytes(8, "big") + block[8:])[:left]
                out.write(part)
                whole.update(part)
        return f"http://{self.net.address('origin')}/{path.name}", whole.hexdigest()

    def _get(self, host: str, url: str) -> subprocess.Popen[bytes]:
        own = self.hosts.index(host) % NODES
        nodes = [word for n, node in enumerate(self.nodes)
                 for word in ("-n", f"{self.net.address(node)}:8002={OWN if n == own else 1}")]  # fmt: skip
        words = [*DFENGINE, "get", url, "-o", str(self.path / f"out-{host}"), *nodes, "--ip", self.net.address(host),
                 "--home", str(self.path / f"home-{host}"), "--quiet"]  # fmt: skip
        with (self.path / f"{host}.errors").open("wb") as errors:
            return subprocess.Popen(self.net.command(host, words), stdout=errors, stderr=errors, start_new_session=True)


# FAULTS


def nothing(cluster: Cluster) -> None:
    """No fault."""


def kill_leader(cluster: Cluster) -> None:
    """kill -9 of the supernode that reads the origin."""
    cluster.signal(cluster.leader(), signal.SIGKILL)


def stop_leader(cluster: Cluster) -> None:
    """SIGSTOP of the leader, for good."""
    cluster.signal(cluster.leader(), signal.SIGSTOP)


def slow_leader(cluster: Cluster) -> None:
    """The leader's link has a tenth of its rate from now on."""
    leader = cluster.leader()
    cluster.net.shape(leader, max(1, cluster.rate // 10))
    cluster.slow = leader


def kill_redis(cluster: Cluster) -> None:
    """kill -9 of Redis."""
    cluster.signal("redis", signal.SIGKILL)


def kill_both(cluster: Cluster) -> None:
    """kill -9 of the leader and of Redis."""
    leader = cluster.leader()
    kill_redis(cluster)
    cluster.signal(leader, signal.SIGKILL)


def pause_redis(cluster: Cluster) -> None:
    """SIGSTOP of Redis, for PAUSE seconds."""
    cluster.signal("redis", signal.SIGSTOP)
    cluster.later(PAUSE, lambda: cluster.signal("redis", signal.SIGCONT))


def cut_leader_from_redis(cluster: Cluster) -> None:
    """Drop all packets between the leader and Redis."""
    cluster.net.cut(cluster.leader(), ["redis"])


def cut_leader_from_nodes(cluster: Cluster) -> None:
    """Drop all packets between the leader and the other supernodes; all still reach Redis and their hosts."""
    leader = cluster.leader()
    cluster.net.cut(leader, [node for node in cluster.nodes if node != leader])


def cut_follower_from_nodes(cluster: Cluster) -> None:
    """Drop all packets between a follower and the other supernodes."""
    leader = cluster.leader()
    follower = next(node for node in cluster.nodes if node != leader)
    cluster.net.cut(follower, [node for node in cluster.nodes if node != follower])


FAULTS: dict[str, tuple[str, Callable[[Cluster], None], bool]] = {
    "leader": ("leader killed", kill_leader, False),
    "stopped": ("leader stopped (SIGSTOP)", stop_leader, False),
    "slow": ("leader at a tenth of its link's rate", slow_leader, False),
    "redis": ("Redis killed", kill_redis, False),
    "both": ("leader and Redis killed", kill_both, False),
    "cut-redis": ("leader cut off from Redis", cut_leader_from_redis, False),
    "cut-follower": ("a follower cut off from the other supernodes", cut_follower_from_nodes, False),
    "cut-leader": ("leader cut off from the other supernodes", cut_leader_from_nodes, False),
    "paused": (f"Redis paused for {PAUSE:.0f} s", pause_redis, False),
    "paused-before": (f"Redis paused for {PAUSE:.0f} s, before the file is known", pause_redis, True),
    "redis-before": ("Redis killed before the file is known", kill_redis, True),
}
"""Name -> description, function, and whether the fault begins before any host requests the file."""
