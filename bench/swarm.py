"""One file to N hosts at once through shaped links, against the theoretical bound and against curl through the same link.

    python -m bench.swarm [--hosts 4,8,16] [--rate MBIT] [--size MIB] [--scene together|spread|mixed|killed] [--cold]

Bound, N receivers of equal capacity c and a source of c, F bytes in M pieces: T* = (F/c)(1 + floor(log2 N)/M) (Mundinger, Weber, Weiss);
c is what one curl gets through the same link in the same run. CPU is that of all processes together.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from math import floor, log2
from pathlib import Path

from bench.hosts import Hosts
from bench.stage import DFENGINE, GB, MIB, NGINX, machine, stop_peer, table
from dfengine._piece import Geometry

SCENES = ("together", "spread", "mixed", "killed")


@dataclass
class Host:
    """One receiver. start: seconds after the first; rate: Mbit/s; kill: seconds after the first, 0 = never."""

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
    """An origin over `path`/www."""
    (path / "nginx.conf").write_text(
        f"""daemon off; worker_processes 1; pid {path}/nginx.pid; error_log {path}/error.log; user root;
        events {{ worker_connections 512; }}
        http {{ access_log {path}/access.log; sendfile on; server {{ listen {address}:80; root {path}/www; }} }}"""
    )
    return [NGINX, "-p", str(path), "-c", str(path / "nginx.conf")]


def link_rate(net: Hosts, path: Path, sender: str, receiver: str) -> float:
    """Bytes per second of one curl from `sender` to `receiver`."""
    server = subprocess.Popen(net.command(sender, nginx(path, net.address(sender))))
    try:
        time.sleep(0.3)
        url = f"http://{net.address(sender)}/probe"
        return float(net.run(receiver, ["curl", "-s", "-o", "/dev/null", "-w", "%{speed_download}", url]))
    finally:
        server.terminate()
        server.wait()


def distribute(net: Hosts, path: Path, hosts: list[Host], size: int, digest: str, cold: bool, options: list[str]) -> dict[str, float]:
    """One run: fills in each host's seconds; sent bytes of supernode and origin, CPU seconds, share of time its uplink was busy."""
    begun_cpu = cpu()
    servers = [subprocess.Popen(net.command("origin", nginx(path, net.address("origin"))))]
    node = net.address("node")
    supernode = [*DFENGINE, "supernode", "--host", node, "--advertise-ip", node, "--home-dir", str(path / "supernode"), *options]
    servers.append(subprocess.Popen(net.command("node", supernode), stdout=subprocess.PIPE))
    assert servers[1].stdout is not None
    servers[1].stdout.readline()
    url = f"http://{net.address('origin')}/file"

    def get(name: str, out: str) -> list[str]:
        home = str(path / f"home-{name}")
        words = [*DFENGINE, "get", url, "-o", str(path / out), "-n", node, "--ip", net.address(name), "--home", home, "--quiet", "--json"]
        return net.command(name, words)

    try:
        if not cold:
            subprocess.run([*get("node", "warm"), "-p", "cdn"], check=True, stdout=subprocess.DEVNULL)
        before, origin_before = net.sent("node"), net.sent("origin")
        first = time.monotonic()
        running: dict[str, subprocess.Popen[bytes]] = {}
        waiting = sorted(hosts, key=lambda host: host.start)
        timeline = [(0.0, before)]
        while waiting or running:
            now = time.monotonic() - first
            if now - timeline[-1][0] > 0.5:
                timeline.append((now, net.sent("node")))
            while waiting and waiting[0].start <= now:
                host = waiting.pop(0)
                with (path / f"{host.name}.json").open("wb") as out:
                    running[host.name] = subprocess.Popen(get(host.name, host.name), stdout=out, start_new_session=True)
            for host in hosts:
                process = running.get(host.name)
                if process is None:
                    continue
                if host.kill and now >= host.kill:
                    process.kill()
                    stop_peer(path / f"home-{host.name}")
                if process.poll() is not None:
                    host.seconds = 0.0 if host.kill else time.monotonic() - first - host.start
                    del running[host.name]
            if now > 300:
                raise RuntimeError("not finished within 300 seconds")
            time.sleep(0.005)
        sent = net.sent("node") - before, net.sent("origin") - origin_before
        for host in hosts:
            if not host.kill and hashlib.file_digest((path / host.name).open("rb"), "sha256").hexdigest() != digest:
                raise RuntimeError(f"{host.name} has another file")
    finally:
        for host in hosts:
            stop_peer(path / f"home-{host.name}")
        time.sleep(0.5)
        for server in reversed(servers):
            server.terminate()
            server.wait()
    peers = sum(json.loads((path / f"{host.name}.json").read_text() or "{}").get("from", {}).get("peers", 0) for host in hosts)
    # Until it has sent the file once its uplink should never rest.
    seeded = next((at for at, total in timeline if total - before >= size), timeline[-1][0])
    return {"seeded": seeded, "supernode": sent[0] / size, "origin": sent[1] / size, "cpu": cpu() - begun_cpu, "peers": peers / size}


def cpu() -> float:
    """Seconds of this process's finished children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(count: int, rate: int, size: int, scene: str, cold: bool, seed: int, options: list[str]) -> list[str]:
    """One row."""
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
            found = distribute(net, path, hosts, size, digest, cold, options)
        bounds = {host.name: size / (c * host.rate / rate) * (1 + floor(log2(count)) / pieces) for host in hosts}
        ratios = sorted(host.seconds / bounds[host.name] for host in hosts if not host.kill)
        gigabytes = count * size / GB
        return [
            f"{count}", f"{rate}", f"{c / 1e6:.1f}", f"{ratios[-1]:.2f}", f"{ratios[len(ratios) // 2]:.2f}", f"{found['supernode']:.2f}",
            f"{found['seeded'] / (size / c):.2f}",
            f"{found['origin']:.2f}", f"{found['peers'] / count:.2f}", f"{found['cpu'] / gigabytes:.1f}",
        ]  # fmt: skip
    finally:
        shutil.rmtree(path, ignore_errors=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", default="4,8,16")
    parser.add_argument("--rate", type=int, default=200, help="Mbit/s each way")
    parser.add_argument("--size", type=int, default=256, help="MiB")
    parser.add_argument("--scene", choices=SCENES, default="together")
    parser.add_argument("--cold", action="store_true", help="the supernode has not fetched the file yet")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--options", default="", help="further flags of the supernode")
    arguments = parser.parse_args()
    print(machine("a namespace per host, reno"))
    print(f"{arguments.size} MiB, {arguments.scene}, {'cold' if arguments.cold else 'warm'} supernode\n")
    rows = []
    for count in map(int, arguments.hosts.split(",")):
        for lap in range(arguments.repeats):
            seed, options = arguments.seed + lap, arguments.options.split()
            rows.append(measure(count, arguments.rate, arguments.size * MIB, arguments.scene, arguments.cold, seed, options))
            print(rows[-1], flush=True)
    head = ["hosts", "Mbit/s", "c MB/s", "last / T*", "median / T*", "supernode sent / F", "once after / (F/c)", "origin sent / F",
            "from peers / F", "CPU s/GB"]  # fmt: skip
    print("\n" + table(head, rows))


if __name__ == "__main__":
    main()
