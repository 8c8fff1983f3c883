"""Bytes that the origin sends when eight peers start together: the goal is one file, for any number of peers.

    python -m bench.origin [--size MIB] [--peers N]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time

from bench.stage import DFENGINE, MIB, Stage, machine, own_namespace, table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="MiB")
    parser.add_argument("--peers", type=int, default=8)
    arguments = parser.parse_args()
    namespace = own_namespace()
    size = arguments.size * MIB
    rows = []
    with Stage() as stage:
        base = stage.origin()
        for lap in range(5):
            stage.file(f"big{lap}", size)
            before = stage.origin_bytes()
            node, process = stage.supernode()
            begun = time.perf_counter()
            gets = [
                subprocess.Popen(
                    [*DFENGINE, "get", f"{base}/big{lap}", "-o", str(stage.path / f"out-{n}"), "-n", node, "--ip", f"127.0.1.{n + 1}",
                     "--home", str(stage.home()), "--json"],
                    stdout=subprocess.PIPE, start_new_session=True,
                )
                for n in range(arguments.peers)
            ]
            results = [json.loads(get.communicate(timeout=300)[0]) for get in gets]
            wall = time.perf_counter() - begun
            shares = {kind: sum(result["from"][kind] for result in results) / size for kind in ("peers", "supernode", "origin")}
            rows.append([
                str(lap + 1), f"{(stage.origin_bytes() - before) / size:.3f}", f"{shares['supernode']:.2f}",
                f"{shares['peers']:.2f}", f"{shares['origin']:.2f}", f"{wall:.2f}",
            ])
            process.terminate()
        print(machine(namespace))
        print(f"{arguments.peers} peers start together, {arguments.size} MiB, cold supernode; bytes over the file's size\n")
        print(table(["run", "origin sent", "peers got from supernode", "from peers", "from origin", "last done, s"], rows))


if __name__ == "__main__":
    main()
