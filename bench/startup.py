"""A 10 KB file from a warm supernode as a whole process, compared with curl: the cost of start-up.

    python -m bench.startup [--repeats N]
"""

from __future__ import annotations

import argparse
import shutil

from bench.stage import DFENGINE, MIB, Run, Stage, interleaved, machine, median, own_namespace, run, spread, stop_peer, table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    namespace = own_namespace()
    with Stage() as stage:
        stage.file("small", 10_000)
        url = stage.origin() + "/small"
        node, _ = stage.supernode()
        out = stage.path / "out"
        warm = stage.home()

        def get(home: str, ip: str) -> Run:
            out.unlink(missing_ok=True)
            return run([*DFENGINE, "get", url, "-o", str(out), "-n", node, "--ip", ip, "--home", home, "--quiet"])

        def cold() -> Run:
            home = stage.home()
            result = get(str(home), "127.0.0.3")
            stop_peer(home)
            shutil.rmtree(home, ignore_errors=True)
            return result

        def curl() -> Run:
            out.unlink(missing_ok=True)
            return run(["curl", "-s", "-o", str(out), url])

        runs = interleaved(
            {
                "curl": curl,
                "dfengine get, peer server up": lambda: get(str(warm), "127.0.0.2"),
                "dfengine get, peer server not up": cold,
                "dfengine get, no supernode": lambda: run([*DFENGINE, "get", url, "-o", str(out), "--quiet"]),
                "dfengine version": lambda: run([*DFENGINE, "version"]),
            },
            arguments.repeats,
        )
        base = median(one.wall for one in runs["curl"])
        rows = [
            [
                name,
                spread([one.wall for one in results], 1e3),
                f"{median(one.wall for one in results) / base:.1f}",
                spread([one.cpu for one in results], 1e3),
                f"{max(one.rss for one in results) / MIB:.0f}",
            ]
            for name, results in runs.items()
        ]
        print(machine(namespace))
        print(f"10 KB, {arguments.repeats} repeats, median (range)\n")
        print(table(["", "wall ms", "x curl", "CPU ms", "RSS MiB"], rows))


if __name__ == "__main__":
    main()
