"""Cost of the same tasks for one supernode, and for three with one Redis: CPU time of the supernodes per pull, and the elapsed time.

One supernode in a cluster, and three without one, show which part the cluster costs. Wake-ups of the supernodes' main threads show how many
requests each wake-up handles: with a third of the requests each, three supernodes wake up more often for fewer requests at a time.

Each of HOSTS hosts downloads all tasks by one `get --input-file`; each task belongs to the supernode that its id selects. The supernodes
have the files. All of it is on loopback, so the throughput is limited by this machine's cores and does not apply to three machines; see
bench/cluster_pulls.py for supernodes that are each as busy as the single one.
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
    """A supernode's metric, summed over its labels."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{node}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def wakes(pid: int) -> int:
    """Number of times that a process's main thread has waited so far."""
    return int(Path(f"/proc/{pid}/task/{pid}/status").read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0])


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
        """Start a host's downloads; return the process, the directory of its files, its home."""
        out, home = self.stage.path / f"out-{host}", self.stage.home()
        out.mkdir()
        words = [*DFENGINE, "get", "--input-file", str(self.list), "-j", "8", "-P", str(out), "--ip", f"127.0.1.{host + 1}",
                 "--home", str(home), "--quiet", *options]  # fmt: skip
        for node in nodes:
            words += ["-n", node]
        return subprocess.Popen(words, start_new_session=True), out, home

    def end(self, process: subprocess.Popen[bytes], out: Path, home: Path) -> None:
        """Wait for a host. Raises RuntimeError if a file is missing or wrong."""
        if process.wait(600):
            raise RuntimeError(f"a host ended with {process.returncode}")
        for name, digest in self.digests.items():
            with (out / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    raise RuntimeError(f"{out / name} is wrong")
        stop_peer(home)
        shutil.rmtree(out)
        shutil.rmtree(home, ignore_errors=True)

    def measure(self, count: int, options: list[str]) -> tuple[float, float, float, float]:
        """With `count` supernodes: seconds, pulls, CPU seconds of the supernodes, wake-ups of their main threads."""
        started = [self.stage.supernode(*options) for _ in range(count)]
        nodes = [node for node, _ in started]
        self.end(*self.start(0, nodes, "--pattern", "cdn"))
        pulls = sum(metric(node, "dfengine_pulls_total") for node in nodes)
        woken = sum(wakes(process.pid) for _, process in started)
        cpu, begun = sum(cpu_of(process.pid) for _, process in started), time.perf_counter()
        hosts = [self.start(host, nodes) for host in range(1, HOSTS + 1)]
        for process, _, _ in hosts:
            process.wait(600)
        wall = time.perf_counter() - begun
        cpu = sum(cpu_of(process.pid) for _, process in started) - cpu
        woken = sum(wakes(process.pid) for _, process in started) - woken
        pulls = sum(metric(node, "dfengine_pulls_total") for node in nodes) - pulls
        for host in hosts:
            self.end(*host)
        for _, process in started:
            process.terminate()
            process.wait(20)
            self.stage.forget(process)
        for home in self.stage.path.glob("supernode-*"):
            shutil.rmtree(home, ignore_errors=True)
        return wall, pulls, cpu, woken


def compare(tasks: int, repeats: int) -> None:
    """Print the table."""
    where = own_namespace()
    with Stage() as stage, RedisServer(stage.path / "redis") as redis:
        key = stage.path / "key"
        key.write_text(os.urandom(32).hex())
        key.chmod(0o600)
        made = Tasks(stage, tasks)
        cluster = ["--cluster", redis.url, "--cluster-key-file", str(key)]
        runs: dict[tuple[int, str], list[tuple[float, float, float, float]]] = {
            (1, "no"): [], (3, "yes"): [], (1, "yes"): [], (3, "no"): [],
        }  # fmt: skip
        for _ in range(repeats):
            for (count, joined), found in runs.items():
                found.append(made.measure(count, cluster if joined == "yes" else []))
                wall, pulls, cpu, woken = found[-1]
                print(f"{count}, cluster {joined}: {wall:.1f} s, {pulls:.0f} pulls, CPU {cpu:.2f} s, {woken:.0f} wake-ups, "
                      f"load {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip
        print("\n" + machine(where))
        print(f"{tasks} tasks of {SIZE / MIB:.0f} MiB to each of {HOSTS} hosts, medians of {repeats}\n")
        print(table(["supernodes", "cluster", "s", "GB/s", "pulls", "CPU us a pull", "CPU ms a download", "wake-ups"],
                    [row(count, joined, tasks * HOSTS, found) for (count, joined), found in runs.items()]))  # fmt: skip
        pairs = list(zip(runs[1, "no"], runs[3, "yes"], strict=True))
        print(f"\nthree / one: CPU a pull {median(three[2] / three[1] / (one[2] / one[1]) for one, three in pairs):.2f}, "
              f"a download {median(three[2] / one[2] for one, three in pairs):.2f}")  # fmt: skip


def row(count: int, joined: str, downloads: int, found: list[tuple[float, float, float, float]]) -> list[str]:
    """The table's row for `count` supernodes."""
    wall, pulls, cpu, woken = (median(run[n] for run in found) for n in range(4))
    each = median(run[2] / run[1] for run in found) * 1e6
    speed = downloads * SIZE / 1e9 / wall
    return [
        f"{count}", joined, f"{wall:.1f}", f"{speed:.2f}", f"{pulls:.0f}", f"{each:.0f}", f"{cpu / downloads * 1e3:.2f}", f"{woken:.0f}",
    ]  # fmt: skip
