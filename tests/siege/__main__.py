"""`python -m tests.siege [--attack NAME ...] [--seed S]`: a line for each attack; exits with 1 if a goal was missed."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.siege.field import ATTACKS, MAX_GROWN, MAX_HELD, MAX_SLOWER, field


def main() -> int:
    """Return 1 if an attack caused a failure or missed a goal."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.siege", formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"{name:22} {attack.what}" for name, attack in ATTACKS.items()),
    )
    parser.add_argument("--attack", action="append", choices=list(ATTACKS), help="one of the attacks below; may be repeated; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=24, help="MiB of the file that the ten download")
    given = parser.parse_args()
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    wrong = missed = 0
    names = given.attack or list(ATTACKS)
    for name in names:
        with tempfile.TemporaryDirectory(prefix="dfsiege-", dir=folder) as path, field(Path(path), given.size << 20) as made:
            outcome = made.siege(name, given.seed)
            print(outcome, flush=True)
            wrong += bool(outcome.wrong)
            missed += bool(outcome.missed)
    print(f"total: {len(names)} attacks, {wrong} went wrong, {missed} missed a goal: {MAX_SLOWER}x as long, the loop held for "
          f"{MAX_HELD * 1e3:.0f} ms, {MAX_GROWN >> 20} MiB beyond a client's share")
    return min(wrong + missed, 1)


if __name__ == "__main__":
    sys.exit(main())
