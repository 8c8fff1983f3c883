"""Pulls of three supernodes in one cluster, each as busy as the single supernode of the comparison.

    python -m bench.fleet --pulls 200000 [--repeats N]

The supernodes are those of bench.scheduler, each with 1,000 peers and a load generator of its own with always 16 pulls in flight. All
supernodes share the first core, all load generators the second. So CPU time per pull shows the cost that membership, and a shared core,
have for a busy supernode. Distributing tasks over more supernodes makes each of them less busy instead (bench/cluster_tasks.py). Pulls per
second are meaningful on an idle machine only: three times one supernode's share is what three would reach on cores of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.decide import name
from bench.scheduler import HERE, MIN_PIECES, TASK, WARM
from bench.stage import machine, median, own_namespace, table
from tests.supernode.redis_server import RedisServer

PEERS, PIECES, CONNECTIONS = 1000, 4000, 16


def measure(folder: Path, count: int, pulls: int, options: list[str]) -> tuple[float, float]:
    """With `count` supernodes: pulls per second of all together, CPU microseconds per pull."""
    servers, loads = [], []
    try:
        for n in range(count):
            home = folder / f"home-{n}"
            home.mkdir()
            words = ["taskset", "-c", "0", sys.executable, "-m", "bench.scheduler", "--serve", "real", "--home", str(home)]
            words += ["--peers", str(PEERS), "--pieces", str(PIECES), *options]
            servers.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True))
        ports = [server.stdout.readline().strip() for server in servers]  # type: ignore[union-attr]  # they are pipes
        time.sleep(WARM)
        for port in ports:
            words = ["taskset", "-c", "1", str(folder / "pulls"), "127.0.0.1", port, str(CONNECTIONS), TASK, str(folder / "cids")]
            words.append(str(pulls))
            loads.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True))
        said: list[list[str]] = [load.communicate(timeout=300)[0].split() for load in loads]
        cpu = 0.0
        for server in servers:
            server.stdin.close()  # type: ignore[union-attr]
            cpu += float(server.stdout.readline())  # type: ignore[union-attr]
    finally:
        for process in (*servers, *loads):
            process.kill()
            process.wait(20)
        for home in folder.glob("home-*"):
            shutil.rmtree(home)
    answered, pieces = (sum(int(out[n]) for out in said) for n in range(2))
    if pieces < MIN_PIECES * answered:
        raise RuntimeError(f"{pieces} pieces in {answered} pulls: the swarms do not give what is measured")
    return answered / max(float(out[2]) for out in said), cpu / answered * 1e6


def compare(pulls: int, repeats: int) -> None:
    """Print the table."""
    where = own_namespace()
    with tempfile.TemporaryDirectory() as path, RedisServer(Path(path, "redis")) as redis:
        folder, key = Path(path), Path(path, "key")
        key.write_text(os.urandom(32).hex())
        key.chmod(0o600)
        compiler = shutil.which("cc") or "gcc"
        subprocess.run([compiler, "-O2", "-D_GNU_SOURCE", "-o", str(folder / "pulls"), str(HERE / "pulls.c")], check=True)
        (folder / "cids").write_text("".join(f"{name(i)}\n" for i in range(PEERS)))
        cluster = ["--redis", redis.url, "--key", str(key)]
        runs: dict[tuple[int, str], list[Any]] = {(1, "no"): [], (3, "no"): [], (3, "yes"): []}
        for _ in range(repeats):
            for (count, joined), found in runs.items():
                found.append(measure(folder, count, pulls, cluster if joined == "yes" else []))
                print(f"{count}, cluster {joined}: {found[-1][0]:,.0f} pulls/s, {found[-1][1]:.1f} us, load {os.getloadavg()[0]:.1f}",
                      flush=True)  # fmt: skip
        print("\n" + machine(where) + "\n")
        rows = [
            [f"{count}", joined, *(f"{median(run[n] for run in found):,.{n}f}" for n in range(2))]
            for (count, joined), found in runs.items()
        ]
        print(table(["supernodes on one core", "cluster", "pulls/s", "CPU us a pull"], rows))
        for joined in ("no", "yes"):
            pairs = list(zip(runs[1, "no"], runs[3, joined], strict=True))
            print(f"three / one, cluster {joined}: pulls/s {median(three[0] / one[0] for one, three in pairs):.2f}, "
                  f"CPU a pull {median(three[1] / one[1] for one, three in pairs):.2f}")  # fmt: skip
