"""`python -m tests.origins.random --count 10000 --seed 1 [--jobs N]`: random origins by `get`, every fourth by a supernode.

Prints faults and the figure; ends with 1 on any fault.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.origins.run import Supernode

LONGEST = 90.0
"""Seconds after which a run counts as hung: more than twice its own timeout."""

THROUGH = 4
"""One run in so many uses a supernode."""


@dataclass
class Figure:
    """Results of all runs."""

    runs: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    hangs: int = 0
    slowest: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, seed: int, node: str, outcome: dict[str, object] | None) -> None:
        """Add an outcome; None: the run hung."""
        with self.lock:
            self.runs += 1
            if outcome is None:
                self.hangs += 1
                self.wrong.append(f"seed {seed}{' by a supernode' if node else ''}: HANG")
                return
            self.codes[int(str(outcome["code"]))] += 1
            self.slowest = max(self.slowest, float(str(outcome["seconds"])))
            if outcome["wrong"]:
                self.wrong.append(f"seed {seed}{' by a supernode' if node else ''}: {outcome['wrong']}")

    def __str__(self) -> str:
        failures = ", ".join(f"{count} with exit {code}" for code, count in sorted(self.codes.items()) if code)
        files = sum("WRONG FILE" in each for each in self.wrong)
        return (f"total: {self.runs} random origins, {self.codes[0]} with exit 0; {failures or 'no failure'}; {files} wrong files, "
                f"{self.hangs} hangs, {len(self.wrong) - files - self.hangs} other faults; the slowest took {self.slowest:.1f} s")


class Worker:
    """A process that runs seeds. After a hang it is killed and replaced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return subprocess.Popen(
            [sys.executable, "-m", "tests.origins.soak", "--folder", str(self._folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=kept,
        )

    def run(self, seed: int, node: str) -> dict[str, object] | None:
        """Return the outcome of a seed, None if it hung or the process died of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{seed} {node}\n".encode())
        self._process.stdin.flush()
        if select.select([self._process.stdout], [], [], LONGEST)[0] and (line := self._process.stdout.readline()):
            found: dict[str, object] = json.loads(line)
            return found
        self.close()
        self._process = self._start()
        return None

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            self._process.wait(3.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def soak(count: int, seed: int, jobs: int, more: Iterable[int] = ()) -> Figure:
    """Run `count` seeds from `seed` on, and `more`, in `jobs` processes."""
    figure = Figure()
    seeds: queue.SimpleQueue[int] = queue.SimpleQueue()
    for each in (*more, *range(seed, seed + count)):
        seeds.put(each)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with tempfile.TemporaryDirectory(prefix="dfrandom-", dir=memory) as folder, Supernode(Path(folder) / "supernode", kept) as supernode:

        def work() -> None:
            worker = Worker(Path(folder))
            try:
                while True:
                    each = seeds.get_nowait()
                    node = supernode.node if each % THROUGH == 0 else ""
                    figure.add(each, node, worker.run(each, node))
            except queue.Empty:
                pass
            finally:
                worker.close()

        threads = [threading.Thread(target=work) for _ in range(jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return figure


def main() -> int:
    """Return 1 on any fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.origins.random")
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=8)
    given = parser.parse_args()
    began = time.monotonic()
    figure = soak(given.count, given.seed, given.jobs)
    for each in figure.wrong[:200]:
        print(each)
    print(f"{figure}; {time.monotonic() - began:.0f} s")
    return min(len(figure.wrong), 1)


if __name__ == "__main__":
    sys.exit(main())
