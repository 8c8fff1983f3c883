"""Programs that open and read a swarm's file, in order or at random, compared with `get` of the same file.

    python -m bench.programs [--rows open-sequential,open-random,open-together,import] [--size MIB] [--random-size MIB] [--repeats N]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.stage import DFENGINE, MIB, Run, Stage, interleaved, machine, median, own_namespace, run, spread, stop_peer, table

Rows = list[list[str]]

GET = """
import json, sys, time
import dfengine
url, node, home, out = sys.argv[1:]
begun = time.perf_counter()
dfengine.get(url, out, nodes=[node], ip="127.0.0.2", home=home, quiet=True)
print(json.dumps({"seconds": time.perf_counter() - begun}))
"""

SEQUENTIAL = """
import json, sys, time
import dfengine
url, node, home, _ = sys.argv[1:]
buffer = memoryview(bytearray(4 << 20))
begun, got = time.perf_counter(), 0
with dfengine.open(url, nodes=[node], ip="127.0.0.2", home=home, quiet=True, store="memory") as file:
    while count := file.readinto(buffer):
        got += count
    seconds = time.perf_counter() - begun
    assert got == file.size
    anonymous = lambda: next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) << 10
    before, begun = anonymous(), time.perf_counter()
    view = file.map()
    mapped = time.perf_counter() - begun
    assert len(view) == got and view[-1] >= 0
    print(json.dumps({"seconds": seconds, "map": mapped, "copied": max(0, anonymous() - before)}))
    del view
"""

RANDOM = """
import json, random, sys, threading, time
import dfengine
url, node, home, count = sys.argv[1:]
count, readers = map(int, count.split("/"))
LENGTH = 64 << 10
with dfengine.open(url, nodes=[node], ip="127.0.0.2", home=home, quiet=True, store="memory") as file:
    size, generator = file.size, random.Random(1)
    places = [generator.randrange(size - LENGTH) for _ in range(count)]
    piece = file.opened().geometry.content_size
    touched = {n for at in places for n in range(at // piece, (at + LENGTH - 1) // piece + 1)}
    opened, waits, missed, turn = file.opened(), [], [], iter(places)
    lock = threading.Lock()
    def read():
        while True:
            with lock:
                at = next(turn, None)
            if at is None:
                return
            here = opened._holds(*opened.geometry.covering(at, LENGTH))
            begun = time.perf_counter()
            assert len(file.pread(at, LENGTH)) == LENGTH
            waits.append(time.perf_counter() - begun)
            if not here:
                missed.append(waits[-1])
    begun = time.perf_counter()
    threads = [threading.Thread(target=read) for _ in range(readers)]
    for each in threads: each.start()
    for each in threads: each.join()
    seconds = time.perf_counter() - begun
    waits.sort()
    missed.sort()
    here = opened._file.available.count()
    print(json.dumps({"seconds": seconds, "p50": waits[len(waits) // 2], "p99": waits[len(waits) * 99 // 100], "most": waits[-1],
                      "missed": missed[len(missed) // 2], "touched": len(touched), "fetched": here, "piece_bytes": piece}))
"""


TOGETHER = """
import dfengine, json, os, sys, time
url, node, home, way = sys.argv[1:]
buffer = memoryview(bytearray(4 << 20))
begun, got = time.perf_counter(), 0
with dfengine.open(url, nodes=[node], ip="127.0.0.2", home=home, quiet=True, store="memory") as file:
    if way == "map":
        got = len(file.map())
    while way == "read" and (count := file.readinto(buffer)):
        got += count
    assert got == file.size
    state = os.fstat(file.opened()._file.fd)
    print(json.dumps({"seconds": time.perf_counter() - begun, "memory": state.st_ino, "bytes": state.st_blocks * 512}), flush=True)
    sys.stdin.read()
"""


def program(stage: Stage, code: str, url: str, node: str, out: str) -> dict[str, float]:
    """Run `code` in a process of its own, with a home of its own; return the JSON that it prints."""
    home = stage.home()
    Path(out).unlink(missing_ok=True)
    try:
        return dict(json.loads(run([sys.executable, "-c", code, url, node, str(home), out]).out.splitlines()[-1]))
    finally:
        stop_peer(home)
        shutil.rmtree(home, ignore_errors=True)


def open_sequential(stage: Stage, base: str, options: argparse.Namespace) -> Rows:
    """A file that is read in order through one buffer, compared with `get` of the same file to tmpfs; and `map` after it."""
    stage.file("f", options.size * MIB)
    node, _ = stage.supernode()
    found: dict[str, list[dict[str, float]]] = {"get": [], "open": []}

    def measured(name: str, code: str) -> Callable[[], None]:
        return lambda: found[name].append(program(stage, code, f"{base}/f", node, str(stage.path / "out")))

    contenders = {"get": measured("get", GET), "open": measured("open", SEQUENTIAL)}
    for _ in range(options.repeats + 1):
        for contender in contenders.values():
            contender()
    got, opened = ([each["seconds"] for each in found[name][1:]] for name in ("get", "open"))
    mapped, copied = ([each[what] for each in found["open"][1:]] for what in ("map", "copied"))
    return [
        ["`get` to tmpfs", f"{spread(got)} s", "1"],
        ["`open().readinto` in order", f"{spread(opened)} s", f"{median(got) / median(opened):.2f} x"],
        ["`map()` after it", f"{spread(mapped, 1000)} ms", f"{median(copied) / MIB:.1f} MiB of memory more"],
    ]


def open_random(stage: Stage, base: str, options: argparse.Namespace) -> Rows:
    """Random reads by 1, 4 and 16 threads; one host's peer server has the whole file, so the supernode sends no pieces of it."""
    size = options.random_size * MIB
    with open(stage.root / "sparse", "wb") as file:
        file.truncate(size)
    node, _ = stage.supernode()
    keeper = stage.home()
    run([*DFENGINE, "get", f"{base}/sparse", "-n", node, "--ip", "127.0.0.9", "--home", str(keeper), "--quiet",
         "-o", str(stage.path / "kept"), "--expiretime", "1h", "--alivetime", "1h"])  # fmt: skip
    rows: Rows = []
    alone = 0.0
    name = f"{options.reads} reads of 64 KiB over {options.random_size / 1024:g} GiB"
    try:
        for readers in (1, 4, 16):
            place = f"{options.reads}/{readers}"
            found = [program(stage, RANDOM, f"{base}/sparse", node, place) for _ in range(options.repeats)]
            p99, one = [each["p99"] for each in found], found[0]
            # Time of one piece while no other one is in flight.
            alone = alone or median([each["missed"] for each in found])
            # A read that begins when all others wait ends after as many pieces as there are readers: Little's law, for any order.
            turn = [each["p99"] / (readers * each["seconds"] / each["fetched"]) for each in found]
            rate = [each["fetched"] * each["piece_bytes"] / each["seconds"] / MIB for each in found]
            rows += [
                [f"{name}, {readers} threads: p99", f"{spread(p99, 1000)} ms", f"{spread(p99, 1 / alone)} times one piece alone"],
                ["... median; of reads that waited", f"{spread([each['p50'] for each in found], 1000)} ms",
                 f"{spread([each['missed'] for each in found], 1000)} ms"],
                ["... p99 in times of one piece for each reader at this rate", "", spread(turn)],
                ["... pieces fetched; rate", f"{one['fetched']:.0f} of {one['touched']:.0f} touched", f"{spread(rate)} MiB/s"],
            ]  # fmt: skip
    finally:
        stop_peer(keeper)
    return rows


def import_time(stage: Stage, base: str, options: argparse.Namespace) -> Rows:
    """A process that imports the package, compared with one that imports nothing; and the modules that a client loads when it is made."""
    codes = {
        "bare": "pass",
        "import": "import dfengine; import sys; assert not {'asyncio', 'click'} & set(sys.modules)",
        "client": "import dfengine; dfengine.Client(); import sys; assert not {'asyncio', 'click'} & set(sys.modules)",
    }
    contenders: dict[str, Callable[[], Run]] = {name: partial(run, [sys.executable, "-c", code]) for name, code in codes.items()}
    found = {name: [one.wall for one in runs[1:]] for name, runs in interleaved(contenders, 5 * options.repeats + 1).items()}
    more = {name: [one - bare for one, bare in zip(found[name], found["bare"], strict=True)] for name in ("import", "client")}
    return [
        ["a process that imports nothing", f"{spread(found['bare'], 1000)} ms", ""],
        ["... that imports dfengine", f"{spread(found['import'], 1000)} ms", f"{median(more['import']) * 1000:.1f} ms more"],
        ["... and makes a Client", f"{spread(found['client'], 1000)} ms", f"{median(more['client']) * 1000:.1f} ms more"],
    ]


def open_together(stage: Stage, base: str, options: argparse.Namespace) -> Rows:
    """Eight processes of one host open and read the same file at once, compared with one process: by `map`, and through a buffer."""
    size = options.size * MIB
    stage.file("together", size)
    node, _ = stage.supernode()
    times: dict[tuple[str, int], list[float]] = {(way, count): [] for way in ("map", "read") for count in (1, 8)}
    came, took = [], []
    for turn in range(options.repeats + 1):
        for (way, count), seconds in times.items():
            home, before = stage.home(), _sent(node)
            command = [sys.executable, "-c", TOGETHER, f"{base}/together", node, str(home), way]
            processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)]
            # All processes keep the file open until all have read it.
            found = [json.loads(each.stdout.readline()) for each in processes if each.stdout is not None]
            for each in processes:
                each.communicate()
            stop_peer(home)
            shutil.rmtree(home, ignore_errors=True)
            if turn:
                seconds.append(max(each["seconds"] for each in found))
            if turn and count > 1:
                came.append((_sent(node) - before) / size)
                took.append(sum({each["memory"]: each["bytes"] for each in found}.values()) / size)
    rows: Rows = []
    for way, what in (("map", "`map()`"), ("read", "`readinto` of 4 MiB")):
        one, eight = times[way, 1], times[way, 8]
        rows.append([f"{what}, 1 process", f"{spread(one)} s", "1"])
        rows.append(["... 8 at once", f"{spread(eight)} s", f"{median(eight) / median(one):.2f} x"])
    return [*rows, ["bytes that the supernode sent to the 8; their memory", f"{spread(came)} F", f"{spread(took)} of one file"]]


def _sent(node: str) -> float:
    """Bytes that a supernode's download port has sent."""
    with urllib.request.urlopen(f"http://{node}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("dfengine_sent_bytes_total"))


ROWS: dict[str, Callable[[Stage, str, argparse.Namespace], Rows]] = {
    "open-sequential": open_sequential,
    "open-random": open_random,
    "open-together": open_together,
    "import": import_time,
}
"""Name -> function that measures and returns rows of (name, measured, compared)."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--size", type=int, default=1024, help="MiB of the file that is read in order")
    parser.add_argument("--random-size", type=int, default=2048, help="MiB of the file that is read at random; 3 times as much memory")
    parser.add_argument("--reads", type=int, default=820)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    namespace = own_namespace()
    rows: Rows = []
    with Stage() as stage:
        base = stage.origin()
        for name in options.rows.split(","):
            rows += ROWS[name](stage, base, options)
    print(machine(namespace))
    print()
    print(table(["what", "measured", "compared"], rows))


if __name__ == "__main__":
    main()
