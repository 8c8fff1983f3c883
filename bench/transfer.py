"""Whole downloads to tmpfs compared with curl and aria2c from nginx: warm, from a peer, four at once, cold, with a digest.

    python -m bench.transfer [--size MIB] [--repeats N] [--json FILE]

Every contender is a whole process in its own session. CPU counts the client; "all" includes its servers (nginx, or the
supernode and peer servers). All costs are included: the median over all repeats, after one round that is not counted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.stage import (
    DFENGINE,
    GB,
    MIB,
    Run,
    Stage,
    cpu_of,
    interleaved,
    machine,
    median,
    own_namespace,
    peer_pid,
    rss_of,
    run,
    spread,
    stop_peer,
    table,
)  # fmt: skip

AT_ONCE = 4


class Bench:
    """One stage, its servers, and the contenders as methods; each returns the Run of its client with its servers' CPU added."""

    def __init__(self, stage: Stage, size: int) -> None:
        self.stage, self.size = stage, size
        path = stage.file("big", size)
        with path.open("rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.url = stage.origin() + "/big"
        self.node, self.supernode = stage.supernode()
        self.fed, self.feeder = stage.supernode()
        self.keeper = stage.home()
        # A peer with the whole file, at a second supernode, so that the first one has no peers.
        self._get(self.fed, 9, "kept", "--expiretime", "1h", "--alivetime", "1h", home=self.keeper)
        self.cold_cpu: list[float] = []
        self.peer_rss = self.supernode_rss = 0

    def _out(self, name: str) -> str:
        path = self.stage.path / name
        path.unlink(missing_ok=True)
        return str(path)

    def command(self, node: str, host: int, name: str, home: Path, *options: str) -> list[str]:
        """A download as a command line; the old output file is removed."""
        place = ["--ip", f"127.0.0.{host}", "--home", str(home)]
        return [*DFENGINE, "get", self.url, "-o", self._out(name), "-n", node, *place, "--quiet", *options]

    def _get(self, node: str, host: int, name: str, *options: str, home: Path | None = None, servers: tuple[int, ...] = ()) -> Run:
        place = home or self.stage.home()
        before = sum(map(cpu_of, servers))
        result = run(self.command(node, host, name, place, *options))
        served = sum(map(cpu_of, servers)) - before
        if home is None:
            served += self._end(place)
        return replace(result, served=served)

    def _end(self, home: Path) -> float:
        """CPU seconds of the peer server that a download started."""
        pid = peer_pid(home)
        used = cpu_of(pid) if pid else 0.0
        if used:
            self.peer_rss = max(self.peer_rss, rss_of(pid))
        stop_peer(home)
        shutil.rmtree(home, ignore_errors=True)
        return used

    def _from_nginx(self, *command: str) -> Run:
        before = cpu_of(self.stage.origin_pid)
        result = run(command)
        return replace(result, served=cpu_of(self.stage.origin_pid) - before)

    def curl(self) -> Run:
        return self._from_nginx("curl", "-s", "-o", self._out("out"), self.url)

    def aria2(self) -> Run:
        self._out("out")
        where = ["-d", str(self.stage.path), "-o", "out"]
        return self._from_nginx("aria2c", "-q", "-x4", "-s4", "--file-allocation=none", *where, self.url)

    def alone(self) -> Run:
        return self._from_nginx(*DFENGINE, "get", self.url, "-o", self._out("out"), "--quiet")

    def warm(self, *options: str) -> Run:
        return self._get(self.node, 2, "out", *options, servers=(self.supernode.pid,))

    def one_peer(self) -> Run:
        return self._get(self.fed, 3, "out", servers=(self.feeder.pid, peer_pid(self.keeper)))

    def cold(self) -> Run:
        node, process = self.stage.supernode()
        self.supernode_rss = max(self.supernode_rss, rss_of(process.pid))
        start = cpu_of(process.pid)
        result = self._get(node, 4, "out", servers=(process.pid, self.stage.origin_pid))
        self.cold_cpu.append(cpu_of(process.pid) - start)
        process.terminate()
        process.wait(20)
        self.stage.forget(process)
        return result

    def _together(self, commands: list[list[str]]) -> float:
        begun = time.perf_counter()
        running = [subprocess.Popen(one, stdout=subprocess.DEVNULL, start_new_session=True) for one in commands]
        if sum(one.wait(300) for one in running):
            raise RuntimeError("one of those at once failed")
        return time.perf_counter() - begun

    def four_curls(self) -> Run:
        wall = self._together([["curl", "-s", "-o", self._out(f"out{n}"), self.url] for n in range(AT_ONCE)])
        self._clear()
        return Run(wall, 0.0, 0, "")

    def four_gets(self) -> Run:
        homes = [self.stage.home() for _ in range(AT_ONCE)]
        wall = self._together([self.command(self.node, 10 + n, f"out{n}", home) for n, home in enumerate(homes)])
        for home in homes:
            self._end(home)
        self._clear()
        return Run(wall, 0.0, 0, "")

    def _clear(self) -> None:
        for n in range(AT_ONCE):
            self._out(f"out{n}")

    def shares(self, node: str) -> dict[str, int]:
        """Sources of the bytes of one more download."""
        return dict(json.loads(self._get(node, 5, "out", "--json").out.splitlines()[-1])["from"])


def main() -> None:
    """Print the tables; with --json also write the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", default="", help="Write ratios for bench.plot to this file.")
    arguments = parser.parse_args()
    namespace = own_namespace()
    size = arguments.size * MIB
    with Stage() as stage:
        bench = Bench(stage, size)
        contenders: dict[str, Callable[[], Run]] = {"curl": bench.curl}
        if shutil.which("aria2c"):
            contenders["aria2c -x4 -s4"] = bench.aria2
        contenders |= {
            "get alone from nginx": bench.alone,
            "get, warm supernode": bench.warm,
            "get, one peer": bench.one_peer,
            "get --digest sha256": lambda: bench.warm("--digest", f"sha256:{bench.sha256}"),
            "get, cold supernode": bench.cold,
            "four curls, sum": bench.four_curls,
            "four gets, sum": bench.four_gets,
        }
        print(machine(namespace))
        runs = interleaved(contenders, arguments.repeats)
        walls = {name: median([one.wall for one in results]) for name, results in runs.items()}
        print(f"{arguments.size} MiB to tmpfs, {arguments.repeats} repeats, median (range)\n")
        rows = []
        for name, results in runs.items():
            many = AT_ONCE if "four" in name else 1
            alone = many == 1
            rows.append([
                name, spread([many * size / one.wall / MIB for one in results]), f"{many * walls['curl'] / walls[name]:.2f}",
                spread([one.cpu / (size / GB) for one in results]) if alone else "",
                f"{median([(one.cpu + one.served) / (size / GB) for one in results]):.2f}" if alone else "",
                f"{max(one.rss for one in results) / MIB:.0f}" if alone else "",
                f"{median([one.written / size for one in results]):.3f}" if alone else "",
            ])  # fmt: skip
        print(table(["", "MiB/s", "x curl", "client CPU s/GB", "all CPU s/GB", "RSS MiB", "written / size"], rows))
        warm = walls["get, warm supernode"]
        ratios = {
            "warm / curl": walls["curl"] / warm,
            **({"warm / aria2c": walls["aria2c -x4 -s4"] / warm} if "aria2c -x4 -s4" in walls else {}),
            "alone / curl": walls["curl"] / walls["get alone from nginx"],
            "one peer / warm": warm / walls["get, one peer"],
            "four gets / four curls": walls["four curls, sum"] / walls["four gets, sum"],
            "cold / warm": warm / walls["get, cold supernode"],
            "sha256 time / warm time": walls["get --digest sha256"] / warm,
        }
        print()
        print(table(["ratio", "here"], [[name, f"{value:.2f}"] for name, value in ratios.items()]))
        print(f"\nsupernode CPU of a cold transfer: {spread([cpu / (size / GB) for cpu in bench.cold_cpu[1:]])} s/GB")
        print(f"RSS: supernode idle {bench.supernode_rss / MIB:.0f} MiB, peer server {bench.peer_rss / MIB:.0f} MiB")
        print(f"bytes from, warm: {bench.shares(bench.node)}; with one peer: {bench.shares(bench.fed)}")
        stop_peer(bench.keeper)
        if arguments.json:
            Path(arguments.json).write_text(json.dumps({
                "machine": machine(namespace),
                "speeds": {name: (AT_ONCE if "four" in name else 1) * size / wall / MIB for name, wall in walls.items()},
                "cpu": {name: median([(one.cpu + one.served) / (size / GB) for one in results])
                        for name, results in runs.items() if "four" not in name},
            }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
