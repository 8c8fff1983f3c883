"""How a swarm scales, as one picture: completion times of hosts, bytes of the supernode, decisions per second.

    python -m bench.scale PNG [--shaped FILE ...] [--hosts 4,16,64,256,1000] [--pieces 256] [--room 2] [--seed S]

The first two panels are from the fluid clock (bench/fluid.py: the real scheduler, transfers as fluids) with all hosts at once; FILE is the
output of `bench.swarm --json` for hosts with real, shaped links, each with its own color. The third is CPU time of the engine
(bench.decide), for pulls of four among 10,000 pieces. Prints the data of the picture; needs the `plot` extra.
"""

from __future__ import annotations

import argparse
import json
from math import floor, log2
from pathlib import Path

import numpy as np

from bench.decide import decisions
from bench.fluid import PIECE_SECONDS, Fluid, crowd
from bench.stage import table

PEERS = (10, 100, 1000, 4000)


def simulated(hosts: int, pieces: int, room: int, seed: int) -> tuple[list[float], float]:
    """Each host's time over T*, in order, and the bytes of the supernode over F."""
    bound = PIECE_SECONDS * (pieces + floor(log2(hosts)))
    result = Fluid(crowd(hosts), pieces, seed=seed, room=room).run(20 * bound)
    return sorted((result.times / bound).tolist()), result.sent / pieces


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("png", type=Path)
    parser.add_argument("--shaped", type=Path, nargs="*", default=[])
    parser.add_argument("--hosts", default="4,16,64,256,1000")
    parser.add_argument("--pieces", type=int, default=256)
    parser.add_argument("--room", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (done, sent, decided) = plt.subplots(1, 3, figsize=(11, 3.2))
    rows, numbers, bytes_sent = [], [], []
    for hosts in map(int, arguments.hosts.split(",")):
        ratios, over = simulated(hosts, arguments.pieces, arguments.room, arguments.seed)
        numbers.append(hosts)
        bytes_sent.append(over)
        rows.append([str(hosts), *(f"{np.quantile(ratios, q):.3f}" for q in (0.5, 0.99, 1)), f"{over:.3f}"])
        done.step(ratios, np.arange(1, hosts + 1) / hosts, where="post", label=f"{hosts:,} simulated", linewidth=1)
    for at, path in enumerate(arguments.shaped):
        for lap, run in enumerate(json.loads(path.read_text())):
            ratios = sorted(run["ratios"])
            label = "" if lap else f"{run['hosts']} shaped, {run['rate']} Mbit/s"
            parts = np.arange(1, len(ratios) + 1) / len(ratios)
            done.step(ratios, parts, where="post", label=label, linewidth=0.8, linestyle="--", color=f"C{5 + at}")
            sent.plot([run["hosts"]], [run["supernode"]], "x", color="#c04040")
    done.axvline(1.0, color="#999999", linewidth=0.8)
    done.set(title="hosts finished, over the bound T*", xlim=(0.95, 1.4))
    sent.plot(numbers, bytes_sent, "o-", color="#3c78b4", markersize=3)
    sent.set(title="supernode sent / F, over hosts", xscale="log", ylim=(0.95, 1.25))
    speeds = [1e6 / decisions(peers, 10_000, 4, 1)[0] for peers in PEERS]
    decided.plot(PEERS, speeds, "o-", color="#3c78b4", markersize=3)
    decided.set(title="pieces decided a CPU second, over peers", xscale="log", ylim=(0, None))
    done.legend(fontsize=5, loc="lower right")
    for axis in (done, sent, decided):
        axis.title.set_fontsize(9)
        axis.tick_params(labelsize=7)
    figure.tight_layout()
    figure.savefig(arguments.png, dpi=80)
    print(f"{arguments.pieces} pieces, room {arguments.room}, seed {arguments.seed}, T* of equal links\n")
    print(table(["hosts", "p50 / T*", "p99", "last", "supernode sent / F"], rows))
    print("\n" + table(["peers", "pieces decided a CPU second"], [[str(n), f"{v:,.0f}"] for n, v in zip(PEERS, speeds, strict=True)]))


if __name__ == "__main__":
    main()
