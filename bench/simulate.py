"""Whole swarms on a virtual clock with the real scheduler: last and median host over the bound, and pieces that the supernode sent.

    python -m bench.simulate [--hosts N] [--pieces M] [--seed S] [--slots UP,SUPERNODE,ROOM ...] [--delays ANSWER,REPORT,LEAD[,EARLY]]
        [--mixed]
    python -m bench.simulate --image MIB,LAYERS,OPENED [--hosts N] [--rate MBIT] [--seed S]
    python -m bench.simulate --fluid [--hosts N] [--pieces M] [--seed S] [--room R]
    python -m bench.simulate --cells K [--last-alone] [--link L] [--at-once A] [--hosts N] [--pieces M] [--seed S] [--room R]

Links are equal and shared fairly; responses take no time. T* = M + floor(log2 N) in pieces' times (Mundinger, Weber, Weiss). UP: pieces
that a host sends at once; SUPERNODE: pieces that the supernode sends at once; ROOM: pieces that a host receives at once. Nothing here is a
timing. ANSWER: from a decision to the first byte of its piece; REPORT: from a last byte to the supernode; LEAD: time before its end at
which a piece is reported as ending, 0 never; all in times of a piece. EARLY: the fraction of a piece after which a host reports the time of
a piece on its link, 0 never.
--mixed: every other host has a quarter of the rate, up and down; each over its own bound, and links shared as by TCP.
--image: MIB in LAYERS layers to all hosts, each of which reads OPENED layers at a time, in the order of the image (tests/swarm/image.py);
the last host over F/c. The delays are those of shaped links.
--fluid: for thousands of hosts, in steps of a quarter of a piece's time (bench/fluid.py); ROOM then replaces all three.
--cells: the same for K supernodes of one cluster, each with its share of the hosts (bench/cells.py); L: ratio of supernodes' links to
hosts'; A: pieces that a supernode reads at once from the leader's swarm. T* is that of N hosts of one supernode. --last-alone: only the
cells of the leader and of the last follower, which yields all but the quantiles of all hosts.
"""

from __future__ import annotations

import argparse
import gc
from math import floor, log2

from bench.stage import table
from dfengine.supernode.swarm.limits import Limits
from tests.swarm.fair import FairSimulation
from tests.swarm.image import ImageSimulation, sizes_of
from tests.swarm.virtual import Delays, Simulation


def row(hosts: int, pieces: int, seed: int, up: int, supernode: int, room: int, delays: Delays, mixed: bool) -> list[str]:
    """One swarm whose hosts all start together; a host that is not finished after 20 bounds counts as never finished."""
    limits = Limits(up=up, supernode=supernode, native_down=max(room, 8), slow_slots=max(up, supernode, room))
    swarm = (FairSimulation if mixed else Simulation)(pieces, seed=seed, limits=limits, delays=delays)
    for host in range(hosts):
        if mixed and host % 2:
            swarm.up[f"c{host}"] = swarm.down[f"c{host}"] = 0.25
        swarm.join(f"c{host}", room=room)
    bound = pieces + floor(log2(hosts))
    swarm.run(until=20 * bound)
    ended = [(client.finished, swarm.down.get(name, 1.0)) for name, client in swarm.clients.items()]
    times = sorted(when * rate / bound for when, rate in ended if when is not None)
    last = f"{times[-1]:.3f}" if len(times) == hosts else "never"
    middle = f"{times[len(times) // 2]:.3f}" if times else "never"
    return [f"{up}, {supernode}, {room}", last, middle, f"{sum(swarm.sent_by_supernode.values()) / pieces:.2f}"]


def large(hosts: int, pieces: int, seed: int, room: int) -> str:
    """One swarm on the fluid clock: quantiles of the hosts' times over T*, bytes of the supernode over the file's, CPU seconds."""
    import time

    import numpy as np

    from bench.fluid import PIECE_SECONDS, Fluid, crowd

    gc.disable()  # millions of leases without reference cycles
    begun = time.process_time()
    bound = PIECE_SECONDS * (pieces + floor(log2(hosts)))
    result = Fluid(crowd(hosts), pieces, seed=seed, room=room).run(20 * bound)
    if np.isnan(result.times).any():
        raise RuntimeError(f"{np.isnan(result.times).sum()} hosts were not finished after 20 bounds")
    cells = [str(hosts), str(pieces), str(room), *(f"{np.quantile(result.times, q) / bound:.3f}" for q in (0.5, 0.99, 0.999, 1))]
    cells += [f"{result.sent / pieces:.3f}", f"{time.process_time() - begun:.0f}"]
    return table(["hosts", "pieces", "room", "p50 / T*", "p99", "p99.9", "last", "supernode sent / F", "CPU s"], [cells])


def image(mib: float, layers: int, opened: int, hosts: int, rate: int, seed: int, connections: int) -> list[str]:
    """One image; c is the rate of curl on a link of `rate` Mbit/s."""
    swarm = ImageSimulation(
        sizes_of(mib, layers), hosts, seed=seed, opened=opened, rate=rate * 0.12 / 4.194304, connections=connections,
    )  # fmt: skip
    swarm.run(until=100 * mib / rate)
    last = f"{swarm.last:.2f}" if len(swarm.served) == hosts else "never"
    return [f"{mib:g}", f"{layers}", f"{opened}", f"{hosts}", f"{rate}", last, f"{swarm.copies:.2f}"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=16)
    parser.add_argument("--pieces", type=int, default=62)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slots", nargs="+", default=["5,4,4", "5,4,6", "5,5,5", "4,4,4", "3,3,3", "2,2,2", "2,2,4"])
    parser.add_argument("--delays", default="0,0,0")
    parser.add_argument("--mixed", action="store_true")
    parser.add_argument("--image", help="MIB,LAYERS,OPENED")
    parser.add_argument("--connections", type=int, default=0, help="of the supernode to an image's registry; 0: it has the image")
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--fluid", action="store_true")
    parser.add_argument("--room", type=int, default=5)
    parser.add_argument("--cells", type=int, default=0, help="supernodes")
    parser.add_argument("--link", type=float, default=1.0)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--last-alone", action="store_true", help="simulate the leader's cell and the last follower's alone")
    arguments = parser.parse_args()
    if arguments.cells:
        from bench.cells import report

        numbers = arguments.hosts, arguments.cells, arguments.pieces, arguments.seed, arguments.room
        print(report(*numbers, arguments.link, arguments.at_once, arguments.last_alone))
        return
    if arguments.fluid:
        print(large(arguments.hosts, arguments.pieces, arguments.seed, arguments.room))
        return
    if arguments.image:
        mib, layers, opened = map(int, arguments.image.split(","))
        cells = image(mib, layers, opened, arguments.hosts, arguments.rate, arguments.seed, arguments.connections)
        print(table(["MiB", "layers", "opened", "hosts", "Mbit/s", "last / (F/c)", "supernode sent / F"], [cells]))
        return
    rows, delays = [], Delays(*map(float, arguments.delays.split(",")))
    for slots in arguments.slots:
        up, supernode, room = map(int, slots.split(","))
        rows.append(row(arguments.hosts, arguments.pieces, arguments.seed, up, supernode, room, delays, arguments.mixed))
    print(f"{arguments.hosts} hosts, {arguments.pieces} pieces, seed {arguments.seed}\n")
    print(table(["up, supernode, room", "last / T*", "median / T*", "supernode sent / F"], rows))


if __name__ == "__main__":
    main()
