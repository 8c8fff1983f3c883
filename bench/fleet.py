"""Clusters of supernodes: the effect of faults, the cost of three supernodes compared with one, and the cost of watching them.

    python -m bench.fleet [--faults leader,redis,...] [--hosts 24] [--size MIB] [--rate MBIT] [--origin-rate MBIT] [--repeats N]
        [--options FLAGS]                             # as root: makes network namespaces (bench/cluster_faults.py)
    python -m bench.fleet --tasks 100 [--repeats N]   # CPU time of one supernode, and of three with one Redis (bench/cluster_tasks.py)
    python -m bench.fleet --pulls 200000 [--repeats N]  # the same with supernodes that are equally busy (bench/cluster_pulls.py)
    python -m bench.fleet --seen                      # bench.console and bench.scheduler: consoles on 1,000 hosts, events at the level info

Each run with a fault follows one without, of the same size, and is compared with it. Goals: no transfer fails, no byte is wrong, the
origin sends at most 1.1 F, and the last host takes at most 1.15 times as long as in the undisturbed run and 5 s more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from bench.cluster_faults import FAULTS, Cluster, Outcome, nothing
from bench.stage import MIB, machine, median, table

MAX_TIME, MORE_SECONDS = 1.15, 5.0


def goal(undisturbed: Outcome) -> float:
    """Maximum seconds for the last host in a run with a fault."""
    return MAX_TIME * undisturbed.last + MORE_SECONDS


def row(name: str, pairs: list[tuple[Outcome, Outcome]]) -> list[str]:
    """The table's row for one fault. pairs: the undisturbed run and the one with the fault."""
    faults, title = [fault for _, fault in pairs], FAULTS[name][0]
    late = [fault.last - undisturbed.last for undisturbed, fault in pairs]
    within = sum(fault.last <= goal(undisturbed) for undisturbed, fault in pairs)
    return [
        title, f"{len(pairs)}", f"{sum(fault.failed for fault in faults)}", f"{sum(fault.wrong for fault in faults)}",
        f"{median(fault.origin for fault in faults):.2f} ({max(fault.origin for fault in faults):.2f})",
        f"{median(undisturbed.last for undisturbed, _ in pairs):.1f}",
        f"{median(fault.last for fault in faults):.1f} ({max(fault.last for fault in faults):.1f})",
        f"{median(late):+.1f} ({max(late):+.1f})", f"{within} of {len(pairs)}",
    ]  # fmt: skip


HEAD = ["fault", "runs", "failed", "wrong", "origin / F (most)", "undisturbed s", "last s (most)", "later by (most)", "within the goal"]


def faults(arguments: argparse.Namespace) -> None:
    """Print the table of faults. Exits with 1 if a transfer failed or a byte was wrong."""
    names, size = arguments.faults.split(","), arguments.size * MIB
    print(machine("a namespace per host, reno"))
    print(f"{arguments.hosts} hosts at {arguments.rate} Mbit/s, {arguments.size} MiB of an origin at {arguments.origin_rate} Mbit/s, "
          f"median (worst)\n", flush=True)  # fmt: skip
    pairs: dict[str, list[tuple[Outcome, Outcome]]] = {name: [] for name in names}
    with Cluster(arguments.hosts, arguments.rate, arguments.origin_rate, arguments.options.split()) as cluster:
        for _ in range(arguments.repeats):
            for name in names:
                _, fault, before = FAULTS[name]
                undisturbed = cluster.distribute(size, nothing)
                disturbed = cluster.distribute(size, fault, before=before)
                pairs[name].append((undisturbed, disturbed))
                print(f"{name}: {undisturbed.last:.1f} s, {undisturbed.origin:.2f} F; {disturbed.last:.1f} s, {disturbed.origin:.2f} F; "
                      f"failed {undisturbed.failed + disturbed.failed}, wrong {undisturbed.wrong + disturbed.wrong}, "
                      f"load {os.getloadavg()[0]:.1f}", *undisturbed.messages, *disturbed.messages, flush=True)  # fmt: skip
    print("\n" + table(HEAD, [row(name, found) for name, found in pairs.items()]))
    outcomes = [outcome for found in pairs.values() for pair in found for outcome in pair]
    if any(outcome.failed or outcome.wrong for outcome in outcomes):
        sys.exit(1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", default=",".join(FAULTS), help=", ".join(FAULTS))
    parser.add_argument("--hosts", type=int, default=24)
    parser.add_argument("--size", type=int, default=128, help="MiB")
    parser.add_argument("--rate", type=int, default=100, help="Mbit/s of a host's and a supernode's link")
    parser.add_argument("--origin-rate", type=int, default=50, help="Mbit/s of the origin's link")
    parser.add_argument("--options", default="", help="further flags of the supernodes")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=0)
    parser.add_argument("--pulls", type=int, default=0)
    parser.add_argument("--seen", action="store_true")
    arguments = parser.parse_args()
    if arguments.seen:
        codes = []
        for name in ("bench.scheduler", "bench.console"):
            print(f"{name}\n", flush=True)
            codes.append(subprocess.run([sys.executable, "-m", name], check=False).returncode)
        sys.exit(max(codes))
    if arguments.tasks:
        from bench.cluster_tasks import compare

        compare(arguments.tasks, arguments.repeats)
        return
    if arguments.pulls:
        from bench.cluster_pulls import compare as compare_busy

        compare_busy(arguments.pulls, arguments.repeats)
        return
    if os.geteuid() != 0:
        sys.exit("bench.fleet makes network namespaces: run it as root")
    faults(arguments)


if __name__ == "__main__":
    main()
