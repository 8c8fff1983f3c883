"""What the same tasks cost one supernode, and three with one Redis: CPU time of the supernodes for each pull, and the time that it takes.

Each of HOSTS hosts downloads all tasks, by one `get --input-file`; each task is of the supernode that its id selects. These have the
files. Everything is on loopback, so the throughput is that of the machine's cores and says nothing of three machines.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

from bench.stage import DFENGINE, MIB, Stage, cpu_of, machine, median, own_namespace, stop_peer, table
from tests.supernode.redis_server import RedisServer

HOSTS = 4
SIZE = 4 * MIB
"""Bytes of a task: all files of all hosts are on a tmpfs."""


def metric(node: str, name: str) -> float:
    """Of a supernode, summed over its labels."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{node}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == name)


class Tasks:
    """`count` files below the origin of the stage."""

    def __init__(self, stage: Stage, count: int) -> None:
        self.stage = stage
        base = stage.origin()
        self.list = stage.path / "urls"
        self.digests = {}
        for n in range(count):
            with stage.file(f"task-{n}", SIZE).open("rb") as file:
                self.digests[f"task-{n}"] = hashlib.file_digest(file, "sha256").hexdigest()
        self.list.write_text("".join(f"{base}/{name}\n" for name in self.digests))

    def start(self, host: int, nodes: list[str], *options: str) -> tuple[subprocess.Popen[bytes], Path, Path]:
        """A host's downloads: the process, where its files go, its home."""
        out, home = self.stage.path / f"out-{host}", self.stage.home()
        out.mkdir()
        words = [*DFENGINE, "get", "--input-file", str(self.list), "-j", "8", "-P", str(out), "--ip", f"127.0.1.{host + 1}",
                 "--home", str(home), "--quiet", *options]  # fmt: skip
        for node in nodes:
            words += ["-n", node]
        return subprocess.Popen(words, start_new_session=True), out, home

    def end(self, process: subprocess.Popen[bytes], out: Path, home: Path) -> None:
        """Raises RuntimeError if a file is missing or wrong."""
        if process.wait(600):
            raise RuntimeError(f"a host ended with {process.returncode}")
        for name, digest in self.digests.items():
            with (out / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    raise RuntimeError(f"{out / name} is wrong")
        stop_peer(home)
        shutil.rmtree(out)
        shutil.rmtree(home, ignore_errors=True)

    def measure(self, count: int, redis: str, key: Path) -> tuple[float, float, float]:
        """By so many supernodes: seconds, pulls, CPU seconds of the supernodes."""
        options = ["--cluster", redis, "--cluster-key-file", str(key)] if count > 1 else []
        started = [self.stage.supernode(*options) for _ in range(count)]
        nodes = [node for node, _ in started]
        self.end(*self.start(0, nodes, "--pattern", "cdn"))
        pulls = sum(metric(node, "dfengine_pulls_total") for node in nodes)
        cpu, begun = sum(cpu_of(process.pid) for _, process in started), time.perf_counter()
        hosts = [self.start(host, nodes) for host in range(1, HOSTS + 1)]
        for process, _, _ in hosts:
            process.wait(600)
        wall = time.perf_counter() - begun
        cpu = sum(cpu_of(process.pid) for _, process in started) - cpu
        pulls = sum(metric(node, "dfengine_pulls_total") for node in nodes) - pulls
        for host in hosts:
            self.end(*host)
        for _, process in started:
            process.terminate()
            process.wait(20)
            self.stage.forget(process)
        for home in self.stage.path.glob("supernode-*"):
            shutil.rmtree(home, ignore_errors=True)
        return wall, pulls, cpu


def compare(tasks: int, repeats: int) -> None:
    """Print the table."""
    where = own_namespace()
    with Stage() as stage, RedisServer(stage.path / "redis") as redis:
        key = stage.path / "key"
        key.write_text(os.urandom(32).hex())
        key.chmod(0o600)
        made = Tasks(stage, tasks)
        runs: dict[int, list[tuple[float, float, float]]] = {1: [], 3: []}
        for _ in range(repeats):
            for count, found in runs.items():
                found.append(made.measure(count, redis.url, key))
                wall, pulls, cpu = found[-1]
                print(f"{count}: {wall:.1f} s, {pulls:.0f} pulls, CPU {cpu:.2f} s, load {os.getloadavg()[0]:.1f}", flush=True)
        print("\n" + machine(where))
        print(f"{tasks} tasks of {SIZE / MIB:.0f} MiB to each of {HOSTS} hosts, medians of {repeats}\n")
        print(table(["supernodes", "s", "GB/s", "pulls", "CPU us a pull", "CPU ms a download"],
                    [row(count, tasks * HOSTS, found) for count, found in runs.items()]))  # fmt: skip
        pairs = list(zip(runs[1], runs[3], strict=True))
        print(f"\nthree / one: CPU a pull {median(three[2] / three[1] / (one[2] / one[1]) for one, three in pairs):.2f}, "
              f"a download {median(three[2] / one[2] for one, three in pairs):.2f}")  # fmt: skip


def row(count: int, downloads: int, found: list[tuple[float, float, float]]) -> list[str]:
    """Of so many supernodes."""
    wall, pulls, cpu = (median(run[n] for run in found) for n in range(3))
    each = median(cpu / pulls for _, pulls, cpu in found) * 1e6
    speed = downloads * SIZE / 1e9 / wall
    return [f"{count}", f"{wall:.1f}", f"{speed:.2f}", f"{pulls:.0f}", f"{each:.0f}", f"{cpu / downloads * 1e3:.2f}"]
