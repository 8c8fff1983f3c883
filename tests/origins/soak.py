"""Runs of random origins in one process: the origin in threads, the download by `dfengine.get`; one line of JSON on stdout per run."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.origins.random_origins import Origin
from tests.origins.server import Server

RETRY = 2
"""Tries after a failure: fewer than usual, since a third of these origins never recover."""


RUNS = 2
"""Runs of one download. After a failure the second run resumes the first one's pieces, at an origin that may have changed."""

TIMEOUT = 40.0
"""Seconds of one download."""


def once(seed: int, folder: Path, node: str) -> dict[str, object]:
    """Run once and return the outcome."""
    import dfengine
    from dfengine.errors import DfengineError

    origin = Origin.of(seed)
    output = folder / f"out-{seed}"
    said, code = "", 0
    began = time.monotonic()
    with Server(origin.script(), origin.versions) as server:
        for _ in range(RUNS):
            try:
                said, code = "", 0
                dfengine.get(
                    f"http://{server.address}/{seed}/file", str(output), nodes=[node] if node else None, pattern="cdn",
                    home=str(folder / "home"), ip="127.0.0.2", retry=RETRY, timeout=TIMEOUT, notbs=bool(node) and seed % 8 == 0,
                )
                break
            except DfengineError as error:
                said, code = str(error), error.exit_code
            except Exception as error:
                said, code = f"{type(error).__name__}: {error}", 1
            if output.exists():
                break
        failures = server.failures
    data = output.read_bytes() if output.exists() else None
    wrong = ""
    if failures:
        wrong = f"the script failed: {failures[0]}"
    elif code == 0 and data not in origin.versions:
        wrong = "WRONG FILE: none" if data is None else f"WRONG FILE: {len(data)} bytes of {[len(each) for each in origin.versions]}"
    elif code and data is not None:
        wrong = f"exit {code} and an output"
    elif code in (1, 2):
        wrong = f"exit {code}: {said}"
    for path in folder.glob(f"*out-{seed}*"):
        path.unlink()
    return {"seed": seed, "code": code, "wrong": wrong, "seconds": round(time.monotonic() - began, 3), "said": said[:200]}


def main() -> None:
    """Read seeds from stdin, one a line with or without a supernode behind it; write an outcome each to stdout."""
    parser = argparse.ArgumentParser(prog="python -m tests.origins.soak")
    parser.add_argument("--folder", required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for line in sys.stdin:
            seed, _, node = line.strip().partition(" ")
            print(json.dumps(once(int(seed), Path(folder), node)), flush=True)


if __name__ == "__main__":
    main()
