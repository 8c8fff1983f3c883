"""One file to N hosts at once through shaped links, compared with the theoretical bound and with curl through the same link.

    python -m bench.swarm [--hosts 4,8,16] [--rate MBIT] [--size MIB] [--scene together|spread|mixed|killed] [--cold] [--ready]
        [--repeats N] [--json FILE]

Bound, N receivers of equal capacity c and a source of c, F bytes in M pieces: T* = (F/c)(1 + floor(log2 N)/M) (Mundinger, Weber, Weiss);
c is the rate of one curl through the same link in the same run. A slower host has a bound of its own with its c. CPU is of all
processes together, each counted when it has ended: downloads, peer servers, supernode, origin.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from math import floor, log2
from pathlib import Path

from bench.hosts import Hosts
from bench.stage import DFENGINE, GB, MIB, NGINX, machine, median, stop_peer, table
from dfengine._piece import Geometry

HEADROOM = 64 * MIB
"""Bytes by which the ballast is smaller than the data that is still to be written."""

SCENES = ("together", "spread", "mixed", "killed")


@dataclass
class Host:
    """One receiver. start: seconds after the first one; rate: Mbit/s; kill: seconds after the first one, 0: never."""

    name: str
    start: float
    rate: int
    kill: float = 0.0
    seconds: float = 0.0


def cast(scene: str, count: int, rate: int, bound: float, seed: int) -> list[Host]:
    """The receivers of a scene."""
    dice = random.Random(seed)
    hosts = [Host(f"h{n}", 0.0, rate) for n in range(count)]
    for n, host in enumerate(hosts):
        if scene == "spread":
            host.start = bound / 2 * n / count
        elif scene == "mixed" and n % 2:
            host.rate = rate // 4
    if scene == "killed":
        for host in dice.sample(hosts, count // 4):
            host.kill = dice.uniform(0.1, 0.9) * bound
    return hosts


def nginx(path: Path, address: str) -> list[str]:
    """Configure an origin over `path`/www; return its command."""
    (path / "nginx.conf").write_text(
        f"""daemon off; worker_processes 1; pid {path}/nginx.pid; error_log {path}/error.log; user root;
        events {{ worker_connections 512; }}
        http {{ access_log {path}/access.log; sendfile on; server {{ listen {address}:80; root {path}/www; }} }}"""
    )
    return [NGINX, "-p", str(path), "-c", str(path / "nginx.conf")]


def await_nginx(path: Path) -> None:
    """Wait until nginx listens: then it has written its pid."""
    end = time.monotonic() + 10
    while not (path / "nginx.pid").exists():
        if time.monotonic() > end:
            raise RuntimeError("nginx does not start")
        time.sleep(0.01)


def link_rate(net: Hosts, path: Path, sender: str, receiver: str) -> float:
    """Bytes per second of one curl from `sender` to `receiver`."""
    server = subprocess.Popen(net.command(sender, nginx(path, net.address(sender))))
    try:
        await_nginx(path)
        url = f"http://{net.address(sender)}/probe"
        return float(net.run(receiver, ["curl", "-s", "-o", "/dev/null", "-w", "%{speed_download}", url]))
    finally:
        server.terminate()
        server.wait()


class Account:
    """CPU seconds by role of processes that have ended.

    Peer servers outlive the download that started them, and become this process's children.
    """

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        self.seconds: dict[str, float] = {}

    def ended(self, process: subprocess.Popen[bytes], role: str, wait: bool = False) -> bool:
        """Whether the process has ended. Raises RuntimeError if it failed."""
        pid, status, usage = os.wait4(process.pid, 0 if wait else os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            self._add(role, usage.ru_utime + usage.ru_stime)
        return pid != 0

    def rest(self, role: str, spared: int) -> None:
        """Wait for all other children except the process `spared`, and count them for the role."""
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            if int(child) != spared:
                usage = os.wait4(int(child), 0)[2]
                self._add(role, usage.ru_utime + usage.ru_stime)

    def _add(self, role: str, seconds: float) -> None:
        self.seconds[role] = self.seconds.get(role, 0.0) + seconds


class Ballast:
    """Keeps the used bytes of the tmpfs at `path` constant, `size` above those before, while others write as many bytes.

    On a host that reclaims free memory from virtual machines, the first touch of a page costs ten times the write itself.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._file = (path / "ballast").open("wb")
        block = b"\1" * MIB
        for _ in range(size // MIB):
            self._file.write(block)
        self._file.flush()
        self._size, self._used = size, self._in_use()

    def _in_use(self) -> int:
        counts = os.statvfs(self._path)
        return (counts.f_blocks - counts.f_bfree) * counts.f_frsize

    def adjust(self) -> None:
        """Release as much as others have written since, and a little more."""
        self._size = max(0, self._size - max(0, self._in_use() + HEADROOM - self._used))
        self._file.truncate(self._size)

    def close(self) -> None:
        """Release all pages."""
        self._file.truncate(0)
        self._file.close()


@dataclass
class Found:
    """Results of one run. Bytes by their sender over F; seeded: seconds until the supernode had sent F; cpu: seconds by role.

    busy: share of all cores. ratios: each host's time over its own bound by name, ascending. timeline: seconds since the start, and bytes
    that each host's link has sent and received until then.
    """

    seeded: float
    supernode: float
    origin: float
    peers: float
    cpu: dict[str, float]
    busy: float
    timeline: list[tuple[float, dict[str, tuple[int, int]]]]
    ratios: dict[str, float] = field(default_factory=dict)


def distribute(
    net: Hosts, path: Path, hosts: list[Host], rate: int, size: int, digest: str, options: list[str], *, cold: bool, ready: bool
) -> Found:
    """One run: sets each host's seconds. Raises RuntimeError if a host that was not killed does not have the file within 300 s.

    rate: Mbit/s of the supernode. cold: it does not have the file. ready: each host's peer server is running.
    """
    account = Account()
    node = net.address("node")
    supernode = [*DFENGINE, "supernode", "--host", node, "--advertise-ip", node, "--home-dir", str(path / "supernode"), *options]
    servers = {
        "origin": subprocess.Popen(net.command("origin", nginx(path, net.address("origin")))),
        "supernode": subprocess.Popen(net.command("node", supernode), stdout=subprocess.PIPE),
    }
    said = servers["supernode"].stdout
    assert said is not None
    said.readline()
    await_nginx(path)
    url = f"http://{net.address('origin')}/file"

    def get(name: str, out: str) -> list[str]:
        home = str(path / f"home-{name}")
        words = [*DFENGINE, "get", url, "-o", str(path / out), "-n", node, "--ip", net.address(name), "--home", home, "--quiet", "--json"]
        return net.command(name, words)

    running: dict[str, subprocess.Popen[bytes]] = {}
    ballast = Ballast(path, size * (len(hosts) + cold))
    try:
        if not cold:
            net.shape("node", 0)
            subprocess.run([*get("node", "warm"), "-p", "cdn"], check=True, stdout=subprocess.DEVNULL)
            (path / "warm").unlink()
            net.shape("node", rate)
        if ready:
            for host in hosts:
                start_peer(net, host.name, path / f"home-{host.name}")
        before, busy_before = net.carried(), busy()
        first = time.monotonic()
        waiting = sorted(hosts, key=lambda host: host.start)
        timeline = [(0.0, before)]
        while waiting or running:
            ballast.adjust()
            now = time.monotonic() - first
            if now - timeline[-1][0] > 0.25:
                timeline.append((now, net.carried()))
            while waiting and waiting[0].start <= now:
                host = waiting.pop(0)
                with (path / f"{host.name}.json").open("wb") as out:
                    running[host.name] = subprocess.Popen(get(host.name, host.name), stdout=out, start_new_session=True)
            for host in [host for host in hosts if host.name in running]:
                process = running[host.name]
                if host.kill and now >= host.kill:
                    os.kill(process.pid, signal.SIGKILL)  # Popen.kill would wait for it, and its CPU time would be lost
                    stop_peer(path / f"home-{host.name}")
                if account.ended(process, "get"):
                    host.seconds = 0.0 if host.kill else time.monotonic() - first - host.start
                    del running[host.name]
                    if process.returncode and not host.kill:
                        raise RuntimeError(f"{host.name} ended with {process.returncode}")
            if now > 300:
                raise RuntimeError("not finished within 300 seconds")
            time.sleep(0.005)
        timeline.append((time.monotonic() - first, net.carried()))
        used, passed = (then - since for then, since in zip(busy(), busy_before, strict=True))
        for host in hosts:
            if not host.kill and hashlib.file_digest((path / host.name).open("rb"), "sha256").hexdigest() != digest:
                raise RuntimeError(f"{host.name} has another file")
    finally:
        ballast.close()
        for process in running.values():
            os.kill(process.pid, signal.SIGKILL)
            account.ended(process, "get", wait=True)
        for host in hosts:
            stop_peer(path / f"home-{host.name}")
        for role, server in servers.items():
            os.kill(server.pid, signal.SIGTERM)
            account.ended(server, role, wait=True)
        said.close()
        account.rest("peer server", net.watch.pid)
    peers = sum(json.loads((path / f"{host.name}.json").read_text() or "{}").get("from", {}).get("peers", 0) for host in hosts)
    # Until the supernode has sent the file once, its uplink should never be idle.
    sent = {name: count - before[name][0] for name, (count, _) in timeline[-1][1].items()}
    seeded = next((at for at, counts in timeline if counts["node"][0] - before["node"][0] >= size), timeline[-1][0])
    return Found(seeded, sent["node"] / size, sent["origin"] / size, peers / size, account.seconds, used / passed, timeline)


def start_peer(net: Hosts, name: str, home: Path) -> None:
    """Start a host's peer server; return when it is ready."""
    words = [*DFENGINE, "peer", "--home", str(home), "--ip", net.address(name)]
    command = ["setsid", "--fork", *net.command(name, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as launcher:
        assert launcher.stdout is not None
        if not launcher.stdout.readline().startswith(b"ready"):
            raise RuntimeError(f"{name}'s peer server does not start")


def busy() -> tuple[int, int]:
    """Busy and total ticks of all cores since the start."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def measure(
    count: int, rate: int, size: int, scene: str, seed: int, options: list[str], *, cold: bool = False, ready: bool = False
) -> tuple[list[float], Found]:
    """One run: (c in bytes per second, last and median host over its own bound, seeded over F/c, peers/count, CPU s/GB, share of cores)."""
    path = Path(tempfile.mkdtemp(prefix="dfswarm-", dir="/dev/shm"))
    try:
        (path / "www").mkdir()
        block = os.urandom(MIB)
        with (path / "www" / "file").open("wb") as out:
            for n in range(size // MIB):
                out.write(n.to_bytes(8, "big") + block[8:])
        with (path / "www" / "probe").open("wb") as out:
            out.truncate(32 * MIB)
        with (path / "www" / "file").open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        pieces = Geometry(size).count
        hosts = cast(scene, count, rate, size * 8 / (rate * 1e6), seed)
        names = ["origin", "node", *(host.name for host in hosts)]
        with Hosts(names, [0, rate, *(host.rate for host in hosts)]) as net:
            c = link_rate(net, path, "node", hosts[0].name)
            found = distribute(net, path, hosts, rate, size, digest, options, cold=cold, ready=ready)
        bounds = {host.name: size / (c * host.rate / rate) * (1 + floor(log2(count)) / pieces) for host in hosts}
        over = {f"{host.name} at {host.rate}": host.seconds / bounds[host.name] for host in hosts if not host.kill}
        found.ratios = dict(sorted(over.items(), key=lambda item: item[1]))
        ratios = list(found.ratios.values())
        gigabytes = len(ratios) * size / GB
        numbers = [
            c / 1e6, ratios[-1], ratios[len(ratios) // 2], found.supernode, found.seeded / (size / c), found.origin, found.peers / count,
            sum(found.cpu.values()) / gigabytes, found.busy,
        ]  # fmt: skip
        return numbers, found
    finally:
        shutil.rmtree(path, ignore_errors=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", default="4,8,16")
    parser.add_argument("--rate", type=int, default=200, help="Mbit/s each way")
    parser.add_argument("--size", type=int, default=256, help="MiB")
    parser.add_argument("--scene", choices=SCENES, default="together")
    parser.add_argument("--cold", action="store_true", help="the supernode has not fetched the file yet")
    parser.add_argument("--ready", action="store_true", help="each host's peer server runs already")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write each run's ratios there, for bench.scale")
    parser.add_argument("--options", default="", help="further flags of the supernode")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench.swarm makes network namespaces: run it as root")
    print(machine("a namespace per host, reno"))
    how = f"{'cold' if arguments.cold else 'warm'} supernode, {'peer servers up, ' if arguments.ready else ''}"
    print(f"{arguments.size} MiB, {arguments.scene}, {how}median (worst) of {arguments.repeats}\n")
    rows, runs = [], []
    for count in map(int, arguments.hosts.split(",")):
        laps = []
        for lap in range(arguments.repeats):
            seed, options = arguments.seed + lap, arguments.options.split()
            numbers, found = measure(
                count, arguments.rate, arguments.size * MIB, arguments.scene, seed, options, cold=arguments.cold, ready=arguments.ready
            )
            laps.append(numbers)
            runs.append({"hosts": count, "rate": arguments.rate, "ratios": list(found.ratios.values()), "supernode": found.supernode})
            roles = ", ".join(f"{role} {seconds:.2f}" for role, seconds in found.cpu.items())
            print(f"{count} hosts: {' '.join(f'{number:.3g}' for number in numbers)}; CPU s: {roles}", flush=True)
            print("   ", ", ".join(f"{name} {ratio:.2f}" for name, ratio in found.ratios.items()), flush=True)
        columns = list(zip(*laps, strict=True))
        rows.append([f"{count}", f"{arguments.rate}", *(f"{median(column):.3g} ({max(column):.3g})" for column in columns)])
    head = ["hosts", "Mbit/s", "c MB/s", "last / own bound", "median / own bound", "supernode sent / F", "once after / (F/c)",
            "origin sent / F", "from peers / (N F)", "CPU s/GB", "of all cores"]  # fmt: skip
    print("\n" + table(head, rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(runs))


if __name__ == "__main__":
    main()
