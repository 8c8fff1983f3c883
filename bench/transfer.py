"""One verified 1 GiB download to tmpfs from a warm supernode, against curl and aria2c from nginx.

    python -m bench.transfer [--size MIB] [--repeats N]
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from bench.stage import DFENGINE, GB, MIB, Run, Stage, interleaved, machine, median, own_namespace, run, spread, stop_peer, table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    namespace = own_namespace()
    size = arguments.size * MIB
    with Stage() as stage:
        stage.file("big", size)
        url = stage.origin() + "/big"
        node, _ = stage.supernode()
        out = stage.path / "out"

        def fresh() -> str:
            out.unlink(missing_ok=True)
            return str(out)

        def get(*options: str) -> Run:
            home = stage.home()
            result = run([*DFENGINE, "get", url, "-o", fresh(), "-n", node, "--ip", "127.0.0.2", "--home", str(home), *options])
            stop_peer(home)
            shutil.rmtree(home, ignore_errors=True)
            return result

        contenders = {
            "curl": lambda: run(["curl", "-s", "-o", fresh(), url]),
            "dfengine get": lambda: get("--quiet"),
            "dfengine get --json": lambda: get("--json"),
        }
        if shutil.which("aria2c"):
            contenders["aria2c -x4 -s4"] = lambda: run(
                ["aria2c", "-q", "-x4", "-s4", "--file-allocation=none", "-d", str(out.parent), "-o", Path(fresh()).name, url]
            )
        runs = interleaved(contenders, arguments.repeats)
        base = median(one.wall for one in runs["curl"])
        rows = [
            [
                name,
                spread([size / one.wall / MIB for one in results]),
                f"{base / median(one.wall for one in results):.2f}",
                spread([one.cpu / (size / GB) for one in results]),
                f"{max(one.rss for one in results) / MIB:.0f}",
            ]
            for name, results in runs.items()
        ]
        print(machine(namespace))
        print(f"{arguments.size} MiB to tmpfs, {arguments.repeats} repeats, median (range)\n")
        print(table(["", "MiB/s", "x curl", "client CPU s/GB", "RSS MiB"], rows))
        last = json.loads(runs["dfengine get --json"][-1].out)
        print(f"\nlast download: from {last['from']}, back to source: {last['back_to_source']}, {last['digest']}")


if __name__ == "__main__":
    main()
