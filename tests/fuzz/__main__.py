"""`python -m tests.fuzz --inputs N --seed S`: N inputs divided among all parsers, a line for each and a total; exits with 1 after a crash.

`--sanitize address,undefined` uses extension modules built with gcc's sanitizers (`sanitized.py`), about eight times as slow.
`--only WORD`: parsers whose name contains it.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import sys

from tests.fuzz import sanitized
from tests.fuzz.mutate import mutated
from tests.fuzz.parsers import PARSERS, corpus

HANG = 60
"""Seconds that one batch may take before the stack is printed and the process ends."""
BATCH = 1000


def main() -> int:
    """Return 1 if a parser crashed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--sanitize", default="", metavar="KINDS")
    given = parser.parse_args()
    if given.sanitize:
        again = ["-m", "tests.fuzz", "--inputs", str(given.inputs), "--seed", str(given.seed), "--only", given.only]
        return sanitized.run(given.sanitize, again)
    parsers = {name: parse for name, parse in PARSERS.items() if given.only in name}
    crashes, each = 0, -(-given.inputs // max(1, len(parsers)))
    for name, parse in parsers.items():
        chance, inputs, wrong = random.Random(f"{name}-{given.seed}"), corpus(name), 0
        for n in range(each):
            if n % BATCH == 0:
                faulthandler.dump_traceback_later(HANG, exit=True)
            data = mutated(inputs, chance)
            try:
                parse(data)
            except Exception as error:
                wrong += 1
                if wrong <= 3:
                    print(f"{name}: {error!r} for {data!r}", flush=True)
        faulthandler.cancel_dump_traceback_later()
        print(f"{name}: {each} inputs, {wrong} crashes", flush=True)
        crashes += wrong
    print(f"total: {each * len(parsers)} inputs, {crashes} crashes, 0 hangs")
    return min(crashes, 1)


if __name__ == "__main__":
    sys.exit(main())
