"""`python -m tests.chaos --runs N --seed S`: N runs from seed S on, a line each and a total; ends with 1 when one went wrong."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import run
from tests.chaos.world import world


def main() -> int:
    """Runs that went wrong, at most 1 of them as an exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    wrong, codes, slowest = 0, dict[int, int](), 0.0
    with tempfile.TemporaryDirectory(prefix="dfchaos-", dir=folder) as path, world(Path(path)) as made:
        for seed in range(given.seed, given.seed + given.runs):
            outcome = run(made, seed)
            print(outcome, flush=True)
            wrong += bool(outcome.wrong)
            codes[outcome.code] = codes.get(outcome.code, 0) + 1
            slowest = max(slowest, outcome.seconds)
        made.settled()
        sockets = made.sockets()
    ends = ", ".join(f"{count} with exit {code}" for code, count in sorted(codes.items()))
    print(f"total: {given.runs} runs, {wrong} wrong; {ends}; the slowest took {slowest:.1f} s; "
          f"no lease, process or connection is left, the supernode has {sockets} sockets")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
