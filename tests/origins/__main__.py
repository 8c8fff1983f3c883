"""`python -m tests.origins [--jobs N] [--ways alone,supernode,resumed] [NAME...]`: run all behaviours or some.

Prints a line and the faults of each. Ends with 1 on any fault. NAME may be a prefix of names.
"""

from __future__ import annotations

import argparse
import itertools
import os
import queue
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.origins.behaviour import Behaviour
from tests.origins.behaviours import ALL
from tests.origins.judge import KINDS
from tests.origins.oracle import Answer, ask
from tests.origins.run import WAYS, Outcome, Supernode, run, ways


class Pool:
    """Supernodes that behaviours share, one per job: each URL is a fresh one. After a hang, the supernode is replaced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._free: queue.SimpleQueue[Supernode] = queue.SimpleQueue()
        self._all: list[Supernode] = []
        self._numbers = itertools.count()

    def run(self, behaviour: Behaviour, way: str, folder: Path, oracle: tuple[Answer, ...]) -> Outcome:
        """As `run.run`."""
        if way != "supernode" or behaviour.env:
            return run(behaviour, way, folder, oracle=oracle)
        try:
            node = self._free.get_nowait()
        except queue.Empty:
            node = self._start()
        outcome = run(behaviour, way, folder, node.node, oracle)
        if not outcome.wrong.startswith("HANG"):
            self._free.put(node)
        return outcome

    def _start(self) -> Supernode:
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        node = Supernode(self._folder / f"supernode-{next(self._numbers)}", kept)
        self._all.append(node)
        return node

    def close(self) -> None:
        """End the supernodes."""
        for node in self._all:
            node.__exit__()


def main() -> int:
    """Return 1 on any fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.origins")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("names", nargs="*", metavar="NAME")
    given = parser.parse_args()
    wanted = given.ways.split(",")
    chosen = [each for each in ALL if not given.names or any(each.name.startswith(name) for name in given.names)]
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="dforigins-", dir=folder) as path:
        pool = Pool(Path(path))

        def all_ways(behaviour: Behaviour) -> list[Outcome]:
            mine = [way for way in ways(behaviour) if way in wanted]
            rounds = (behaviour.headers, behaviour.then) if behaviour.then else (behaviour.headers,)
            oracle = tuple(ask(behaviour, Path(path) / behaviour.name, headers) for headers in rounds) if mine else ()
            found = []
            for way in mine:
                found.append(pool.run(behaviour, way, Path(path) / behaviour.name / way, oracle))
                print(found[-1], flush=True)
            return found

        try:
            with ThreadPoolExecutor(given.jobs) as executor:
                outcomes = [outcome for found in executor.map(all_ways, chosen) for outcome in found]
        finally:
            pool.close()
    wrong = Counter(outcome.wrong.partition(":")[0] for outcome in outcomes if outcome.wrong)
    slowest = max(outcomes, key=lambda outcome: outcome.seconds, default=None)
    print(f"total: {len(chosen)} behaviours, {len(outcomes)} runs, {sum(wrong.values())} wrong"
          + "".join(f"; {wrong[kind]} {kind} ({what})" for kind, what in KINDS.items() if wrong[kind])
          + (f"; the slowest was {slowest.name} {slowest.way}, {slowest.seconds:.1f} s" if slowest else ""))
    return min(sum(wrong.values()), 1)


if __name__ == "__main__":
    sys.exit(main())
