"""`python -m tests.chaos --runs N --seed S`: N runs from seed S on, a line for each and a total; exits with 1 if a run failed.

`--trouble KIND` draws only this kind, `--links` only faults on links and processes; the same seeds then give other runs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import left
from tests.chaos.run import KINDS, run
from tests.chaos.scenario import TROUBLES, Scenario
from tests.chaos.world import world


def main() -> int:
    """Return 1 if a run failed or left something behind."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--trouble", choices=TROUBLES, action="append")
    only.add_argument("--links", action="store_true")
    given = parser.parse_args()
    troubles = () if given.links else tuple(given.trouble or TROUBLES)
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    wrong, codes, slowest, began = dict.fromkeys((*KINDS, "failed"), 0), dict[int, int](), 0.0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dfchaos-", dir=folder) as path, world(Path(path)) as made:
        for seed in range(given.seed, given.seed + given.runs):
            outcome = run(made, Scenario.of(seed, troubles))
            print(outcome, flush=True)
            if outcome.kind:
                wrong[outcome.kind] += 1
            codes[outcome.code] = codes.get(outcome.code, 0) + 1
            slowest = max(slowest, outcome.seconds)
        rest = left.at_the_end(made)
        sockets = made.sockets()
    if rest:
        print(rest)
        wrong["left behind"] += 1
    ends = ", ".join(f"{count} with exit {code}" for code, count in sorted(codes.items()))
    print(f"total: {given.runs} runs in {time.monotonic() - began:.0f} s; {', '.join(f'{count} {kind}' for kind, count in wrong.items())}; "
          f"{ends}; the slowest took {slowest:.1f} s; the supernode has {sockets} sockets")
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
