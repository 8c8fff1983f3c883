"""Cost of the engine alone: a decision, a report, counting availability again, memory. The swarm's state is random with a fixed seed.

    python -m bench.decide [--peers 10,100,1000,4000] [--pieces 10000] [--repeats 5] [--json FILE]

A decision is one piece of a pull of four (and of one): chosen, leased, with its sources. A report is one piece of the same pull done.
Peers are evenly distributed from no pieces to nearly all. Medians of the repeats, CPU time of the process.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
import tracemalloc
from pathlib import Path
from random import Random
from typing import Any

from bench.extension import compiled
from bench.stage import table
from dfengine._bitset import Bitset
from dfengine.supernode.swarm._rarity import Rarity
from dfengine.supernode.swarm.limits import Limits
from dfengine.supernode.swarm.swarm import Swarm
from dfengine.task import Peer

TASK = "0" * 64
RUN = 8
"""Length of a run of pieces of a peer."""


def name(i: int) -> str:
    """A CID in the clients' form: address, process, time."""
    return f"10.{i // 62500}.{i // 250 % 250}.{i % 250}-4711-1795343111.{i % 1000:03d}"


def populate(swarm: Swarm, peers: int, pieces: int, seed: int, now: float = 0.0, task: str = TASK) -> list[str]:
    """Add `peers` to `task`: peer i has about i/peers of its pieces, in runs of RUN. Returns their CIDs in random order."""
    random = Random(seed)
    cids = [name(i) for i in range(peers)]
    for i, cid in enumerate(cids):
        swarm.join(task, cid, Peer(f"10.0.{i // 250}.{i % 250}", 15001, f"/peer/file/{cid}"), now)
        share = i / peers
        held = [(n, min(pieces, n + RUN)) for n in range(0, pieces, RUN) if random.random() < share]
        swarm.holds(task, cid, held, now)
    random.shuffle(cids)
    return cids


def swarm_of(peers: int, pieces: int, seed: int) -> tuple[Swarm, list[str]]:
    """A swarm in progress, with every piece at the supernode."""
    swarm = Swarm(Limits(), seed)
    swarm.add_task(TASK, pieces, 0.0)
    for n in range(pieces):
        swarm.cached(TASK, n, 0.0)
    return swarm, populate(swarm, peers, pieces, seed)


def decisions(peers: int, pieces: int, k: int, seed: int, wanted: int = 20_000) -> tuple[float, float]:
    """Microseconds per piece of a decision and of a report, over about `wanted` pieces in pulls of k."""
    swarm, cids = swarm_of(peers, pieces, seed)
    pulling = reporting = 0.0
    given, now, batch = 0, 1.0, min(64, peers)
    turn = 0
    gc.collect()
    gc.freeze()
    while given < wanted:
        now += 0.001
        chosen = [cids[(turn + i) % peers] for i in range(batch)]
        turn += batch
        begun = time.process_time()
        pulls = [swarm.pull(TASK, cid, k, now) for cid in chosen]
        between = time.process_time()
        pulling += between - begun
        reports = [(cid, n, sources[0].cid or "cdnnode:") for cid, pull in zip(chosen, pulls, strict=True) for n, sources in pull.pieces]
        between = time.process_time()
        for cid, n, source in reports:
            swarm.done(TASK, cid, n, source, now)
        reporting += time.process_time() - between
        if not reports:
            raise RuntimeError("no download receives a piece any more: ask for fewer pieces")
        given += len(reports)
    gc.unfreeze()
    return pulling / given * 1e6, reporting / given * 1e6


def rebuild(pieces: int, peers: int, seed: int) -> float:
    """Milliseconds to count the copies of `pieces` among `peers` again, ready for searching."""
    random = Random(seed)
    haves = []
    for _ in range(peers):
        have = Bitset.over(bytearray(random.randbytes((pieces + 63) // 64 * 8)), pieces)
        haves.append(have)
    rarity, recount = Rarity(pieces), compiled("bench._recount").recount
    begun = time.process_time()
    recount(rarity, haves)
    took = time.process_time() - begun
    for n in range(0, pieces, pieces // 7):
        if rarity.copies(n) != sum(n in have for have in haves):
            raise RuntimeError("counted wrong")
    return took * 1e3


def waking(parked: int, pieces: int, seed: int) -> float:
    """Microseconds from a report that frees a source's slot to the response to the one pull of `parked` that it serves."""
    swarm = Swarm(Limits(up=1), seed)
    swarm.add_task(TASK, pieces, 0.0)
    for n in range(pieces):
        swarm.cached(TASK, n, 0.0)
        swarm.uncached(TASK, n, 0.0)
    wanted = Random(seed).sample(range(1, pieces - 1), parked)
    no_server = Peer("10.3.0.1", 0, "/peer/file/x")
    for i, n in enumerate(wanted):
        swarm.join(TASK, f"source{i}", Peer(f"10.2.{i // 250}.{i % 250}", 15001, f"/peer/file/{i}"), 0.0)
        swarm.holds(TASK, f"source{i}", [n], 0.0)
        swarm.join(TASK, f"taker{i}", no_server, 0.0)
    given = [(f"taker{i}", *swarm.pull(TASK, f"taker{i}", 1, 0.0).pieces[0]) for i in range(parked)]
    for i, n in enumerate(wanted):
        swarm.join(TASK, f"waits{i}", no_server, 0.0)
        swarm.holds(TASK, f"waits{i}", [(0, n), (n + 1, pieces)], 0.0)
        if swarm.pull(TASK, f"waits{i}", 1, 0.0).pieces:
            raise RuntimeError("no source should have a slot")
        swarm.park(TASK, f"waits{i}", 1)
    gc.collect()
    begun = time.process_time()
    for cid, n, sources in given:
        swarm.done(TASK, cid, n, sources[0].cid, 1.0)
        if len(swarm.answer_parked(TASK, 1.0)) != 1:
            raise RuntimeError("one pull should be answered")
    return (time.process_time() - begun) / parked * 1e6


def memory(pieces: int, seed: int) -> float:
    """Bytes for a CID with four pieces in flight, besides one bit per piece."""
    swarm = Swarm(Limits(slow_slots=4), seed)
    swarm.add_task(TASK, pieces, 0.0)
    for n in range(pieces):
        swarm.cached(TASK, n, 0.0)
    populate(swarm, 50, pieces, seed)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for i in range(1000):
        cid = name(1000 + i)
        swarm.join(TASK, cid, Peer(f"10.1.{i // 250}.{i % 250}", 15001, f"/peer/file/{cid}"), 0.0)
        swarm.holds(TASK, cid, [(i % pieces, i % pieces + 1)], 0.0)
        swarm.pull(TASK, cid, 4, 0.0)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / 1000 - pieces / 8


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="10,100,1000,4000")
    parser.add_argument("--pieces", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"decisions": {}}
    rows = []
    for peers in map(int, arguments.peers.split(",")):
        figures = []
        for k in (4, 1):
            runs = [decisions(peers, arguments.pieces, k, seed) for seed in range(arguments.repeats)]
            figures += [statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)]
        result["decisions"][peers] = figures
        rows.append([str(peers), *(f"{figure:.2f}" for figure in figures)])
    print(f"{arguments.pieces} pieces; microseconds per piece\n")
    print(table(["peers", "decision, of 4", "report", "decision, of 1", "report"], rows))
    result["waking"] = statistics.median(waking(1000, arguments.pieces, seed) for seed in range(arguments.repeats))
    result["rebuild"] = statistics.median(rebuild(1_000_000, 1000, seed) for seed in range(arguments.repeats))
    result["memory"] = memory(arguments.pieces, 0)
    print(f"\navailability of 1,000,000 pieces over 1,000 peers anew: {result['rebuild']:.1f} ms")
    print(f"from a freed slot to the one of 1,000 parked pulls that it serves: {result['waking']:.1f} us")
    print(f"memory of a CID with pieces under way: {result['memory']:.0f} bytes + 1 bit per piece")
    if arguments.json:
        arguments.json.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
