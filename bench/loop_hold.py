"""The longest time for which one event occupies a supernode's loop with many downloads: milliseconds for each kind of event.

    python -m bench.loop_hold [--tasks 8000] [--downloads 20000] [--pieces 280000] [--only WORD] [--json FILE]

Each kind runs in a process of its own with a node and its router, without sockets. The downloads are set up and the event is sent. Until
nothing is due any more, a callback that reschedules itself measures each turn of the loop: the elapsed time, and the loop thread's own
processor time, which other programs do not lengthen. Copies are records without data.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, thread_time
from typing import Any

from bench.stage import table
from dfengine import wire
from dfengine._bitset import Bitset
from dfengine.copy_states import SUCCESS
from dfengine.net.http import Request
from dfengine.settings import SupernodeSettings
from dfengine.supernode import idle_sweep
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.registered_downloads import RegisteredDownload
from dfengine.supernode.router import Router
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.supernode.swarm.limits import Limits
from dfengine.supernode.swarm.stragglers import retune
from dfengine.task import Peer

TASK = "7" * 64
QUIET = 0.3
"""Seconds without due work after which an event is over."""


class Copy:
    """A finished fetch as the supernode sees it."""

    state, stopped, md5, error, failure_reported, revalidating, computing_md5 = SUCCESS, False, "", None, False, False, False
    origin_requests = origin_bytes = 0
    stop = int

    def __init__(self, task: str, count: int) -> None:
        self.task, self.count = task, count
        self.length = count * ((15 << 20) - 5)

    file: Any = property(lambda self: self)
    geometry: Any = property(lambda self: self)
    record: Any = property(lambda self: self)
    available = ()
    claim = None
    request = FetchRequest("http://origin/f")

    def digest(self, n: int) -> bytes:
        """Digest of any piece."""
        return bytes(16)

    @property
    def digests(self) -> bytes:
        """Digests of all pieces."""
        return bytes(16 * self.count)

    def wants(self, una: int, end: int) -> None:
        """A stream waits for pieces."""


class Scene:
    """A node, and methods that set up its downloads."""

    def __init__(self, arguments: argparse.Namespace, home: str, loop: asyncio.AbstractEventLoop) -> None:
        self.tasks, self.downloads, self.pieces = arguments.tasks, arguments.downloads, arguments.pieces
        self.home, self.loop = home, loop
        self.answers: list[Any] = []
        self.begin()

    def begin(self, limits: Limits | None = None) -> None:
        """Start with an empty node. limits: other than the default ones."""
        settings = SupernodeSettings(home_dir=self.home, advertise_ip="127.0.0.1", task_expire_time=0.0)
        self.node = SupernodeState(settings, self.home, self.loop, limits=limits)
        self.swarm = self.node.swarm
        self.router = Router(self.node)

    def task(self, name: str, count: int, cached: int = -1) -> None:
        """Add a task of which the supernode has the first `cached` pieces (-1: all)."""
        self.node.fetch_pool.fetches[name] = Copy(name, count)  # type: ignore[assignment]
        self.swarm.add_task(name, count, self.node.now())
        bits = Bitset(max(count, 1))
        bits.set_range(0, max(count, 0) if cached < 0 else cached)
        self.swarm.cached_all(name, bits, self.node.now())

    def join(self, task: str, cid: str, ip: str = "", **more: Any) -> None:
        """Register a native download."""
        ip = ip or f"10.{hash(cid) % 200}.{hash(cid) // 200 % 250}.{hash(cid) // 50000 % 250}"
        peer = Peer(ip, 15001, f"/peer/file/{cid}", "host", ip)
        self.swarm.join(task, cid, peer, self.node.now(), **more)
        self.node.members.add((task, cid), RegisteredDownload("127.0.0.1", cid, wire.NATIVE, peer, "127.0.0.1"))

    def crowd(self, task: str = TASK, **more: Any) -> list[str]:
        """Register `downloads` downloads of one task."""
        names = [f"c{i}" for i in range(self.downloads)]
        for name in names:
            self.join(task, name, **more)
        return names

    def pull(self, cid: str, task: str = TASK, **fields: Any) -> None:
        """Send POST /swarm/pull."""
        self.ask("POST", "/swarm/pull", json.dumps({"task": task, "cid": cid, **fields}).encode())

    def ask(self, method: str, path: str, body: bytes = b"") -> None:
        """Send any request; the response may be later."""
        self.answers.append(self.router(Request(method, path.encode(), {}, body, "127.0.0.1")))


@contextmanager
def long_ago(scene: Scene) -> Iterator[None]:
    """Run the block at a time so long ago that all of its work is due, with nothing processed since."""
    loop, node = scene.node.loop, scene.node
    node.now, node.driver.due = lambda: loop.time() - 1000.0, 0.0
    yield
    node.now, node.driver.due = loop.time, float("inf")


Event = Callable[[], Any]
KINDS: dict[str, Callable[[Scene], Event]] = {}


def kind(name: str) -> Callable[[Callable[[Scene], Event]], Callable[[Scene], Event]]:
    """Register a function that sets up downloads and returns the event, under the name of its row."""
    return lambda made: KINDS.setdefault(name, made)


def large(scene: Scene, **more: Any) -> None:
    """One task with very many pieces, and a download of it."""
    scene.task(TASK, scene.pieces)
    scene.join(TASK, "c", **more)


@kind("pull: a stream's una at the end of very many pieces")
def jump(scene: Scene) -> Event:
    large(scene, wnd=1 << 20)
    return lambda: scene.pull("c", una=scene.pieces, end=scene.pieces, want=64)


@kind("pull: a stream that has every second of very many pieces")
def claim(scene: Scene) -> Event:
    large(scene, wnd=1 << 20)
    held = [[n, n + 1] for n in range(0, min(scene.pieces, 20_000), 2)]
    return lambda: scene.pull("c", held=[*held[:4_999], [20_000, scene.pieces]])


@kind("pull: 64 of very many pieces")
def wish(scene: Scene) -> Event:
    large(scene)
    return lambda: scene.pull("c", want=64)


@kind("pull: 5,000 failures")
def failures(scene: Scene) -> Event:
    scene.task(TASK, 20_000)
    names = scene.crowd()
    return lambda: scene.pull(names[0], failed=[[i, names[i % len(names)], "digest"] for i in range(5_000)], want=4)


@kind("pull: 5,000 pieces done, of very many")
def done(scene: Scene) -> Event:
    large(scene)
    return lambda: scene.pull("c", done=[[scene.pieces - 1 - i, ""] for i in range(5_000)])


@kind("pull: 5,000 pieces evicted, of very many")
def evicted(scene: Scene) -> Event:
    large(scene)
    scene.pull("c", held=[[0, scene.pieces]])
    return lambda: scene.pull("c", evicted=[[0, 5_000]])


@kind("pull: 64 rare pieces whose last holders lost them")
def refill(scene: Scene) -> Event:
    scene.task(TASK, 256)
    retune(scene.swarm.tasks[TASK], False)
    names = scene.crowd()
    for name in names[:17]:
        scene.pull(name, held=[[0, 256]])
    for name in names[1:16]:
        scene.pull(name, evicted=[[0, 256]])
    return lambda: scene.pull(names[-1], want=64)


@kind("a copy of very many pieces is found, its downloads parked")
def found(scene: Scene) -> Event:
    scene.task(TASK, scene.pieces, 0)
    for name in scene.crowd():
        scene.pull(name, want=4, wait=30)
    bits = Bitset(scene.pieces)
    bits.set_range(0, scene.pieces)
    return lambda: scene.node.fetches.fetch_pieces(scene.node.fetch_pool.fetches[TASK], bits)


@kind("a piece comes that all downloads are parked for, and all serve")
def wakes(scene: Scene) -> Event:
    scene.task(TASK, 64, 1)
    names = scene.crowd()
    for name in names:
        scene.pull(name, done=[[0, ""]], want=4, wait=30)
    for name in names[: len(names) // 2]:
        scene.pull(name, held=[[1, 2]])
    return lambda: scene.node.fetches.fetch_piece(scene.node.fetch_pool.fetches[TASK], 1)


@kind("the origin's end makes all parked downloads finished")
def ends(scene: Scene) -> Event:
    scene.task(TASK, -1, 0)
    for n in range(3):
        scene.swarm.cached(TASK, n, scene.node.now())
    for name in scene.crowd():
        scene.pull(name, done=[[0, ""], [1, ""], [2, ""]], want=4, wait=30)
    scene.node.fetch_pool.fetches[TASK].count = 3  # type: ignore[attr-defined]
    return lambda: scene.node.fetches.fetch_ended(scene.node.fetch_pool.fetches[TASK])


@kind("the origin's file changes under all parked downloads")
def renewed(scene: Scene) -> Event:
    scene.task(TASK, 64, 0)
    for name in scene.crowd():
        scene.pull(name, want=4, wait=30)
    return lambda: scene.node.fetches.fetch_renewed(scene.node.fetch_pool.fetches[TASK])


@kind("a sweep of idle tasks beside downloads of another")
def sweep(scene: Scene) -> Event:
    for i in range(scene.tasks):
        scene.task(f"{i:064x}", 64)
    scene.task(TASK, 64)
    scene.crowd()
    return lambda: asyncio.ensure_future(idle_sweep.sweep(scene.node))


def busy_host(scene: Scene) -> None:
    """One peer server with all downloads, over all tasks in turn, half of each complete."""
    for i in range(scene.tasks):
        scene.task(f"{i:064x}", 64)
    for i in range(scene.downloads):
        scene.join(f"{i % scene.tasks:064x}", f"c{i}", "10.0.0.1")
        scene.swarm.holds(f"{i % scene.tasks:064x}", f"c{i}", [(0, 32)], scene.node.now())


@kind("a host with all downloads falls silent")
def silent(scene: Scene) -> Event:
    with long_ago(scene):
        busy_host(scene)
    return scene.node.driver.tick


@kind("a host with all downloads is isolated")
def isolated(scene: Scene) -> Event:
    busy_host(scene)
    (peer,) = scene.swarm.peers.states.values()

    def event() -> None:
        scene.swarm.peers._isolate(peer, scene.node.now(), "gone")
        scene.node.wake()

    return event


@kind("a host with all downloads takes and finishes pieces")
def used(scene: Scene) -> Event:
    busy_host(scene)
    task = f"{0:064x}"
    for cid in ("x", "y"):
        scene.join(task, cid)
        scene.pull(cid, task, want=8)

    def event() -> None:
        running = scene.swarm.tasks[task].downloads["x"].running
        scene.pull("x", task, done=[[n, lease.source.cid if lease.source else ""] for n, lease in running.items()], want=8)

    return event


@kind("the leases of all downloads expire")
def leases(scene: Scene) -> Event:
    scene.begin(Limits(supernode=1 << 20, slow_slots=1 << 20))
    scene.task(TASK, 4 * scene.downloads)  # each piece is sent to one download only; the others would wait for it
    with long_ago(scene):
        for name in scene.crowd():
            scene.pull(name, want=4)
    if len(scene.swarm.leases) < 2 * scene.downloads:
        raise RuntimeError(f"{len(scene.swarm.leases)} leases: too few to measure")
    return scene.node.driver.tick


@kind("all links are found to be quick; then a look at who lags")
def tuned(scene: Scene) -> Event:
    scene.task(TASK, 64)
    for name in scene.crowd():
        scene.pull(name, pace=0.5, held=[[0, 8]])
    task = scene.swarm.tasks[TASK]

    def event() -> None:
        retune(task, False)
        retune(task, True)
        task.timings_since_review = scene.downloads
        scene.pull("c0", pace=0.1)

    return event


@kind("GET /api/v1/peers")
def listed(scene: Scene) -> Event:
    scene.task(TASK, 64)
    scene.crowd()
    return lambda: scene.ask("GET", "/api/v1/peers")


@kind("DELETE /api/v1/peers/ of a host with all downloads")
def deleted(scene: Scene) -> Event:
    busy_host(scene)
    return lambda: scene.ask("DELETE", "/api/v1/peers/10.0.0.1")


@kind("GET /metrics")
def scraped(scene: Scene) -> Event:
    for i in range(scene.tasks):
        scene.task(f"{i:064x}", 64)
    scene.task(TASK, 64)
    scene.crowd()
    return lambda: scene.ask("GET", "/metrics")


async def measured(name: str, arguments: argparse.Namespace, home: str) -> tuple[float, float]:
    """Elapsed seconds of the longest turn; the maximum of processor time of a turn."""
    loop = asyncio.get_running_loop()
    scene = Scene(arguments, home, loop)
    event = KINDS[name](scene)
    while scene.swarm.wakeable:
        scene.node.wake()
    gc.collect()
    gc.freeze()
    longest = worked = 0.0
    at, cpu = monotonic(), thread_time()
    busy = monotonic() + QUIET
    event()
    while True:
        await asyncio.sleep(0)
        now, spent = monotonic(), thread_time()
        longest, worked = max(longest, now - at), max(worked, spent - cpu)
        if spent - cpu > 0.0005 or any(isinstance(answer, asyncio.Task) and not answer.done() for answer in scene.answers):
            busy = now + QUIET
        if now > busy:
            break
        at, cpu = monotonic(), thread_time()
    for answer in scene.answers:
        if isinstance(answer, asyncio.Task):
            answer.result()
    scene.node.close()
    return longest, worked


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=8000)
    parser.add_argument("--downloads", type=int, default=20_000)
    parser.add_argument("--pieces", type=int, default=280_000, help="of the large file; a file of --max-length has 280,000")
    parser.add_argument("--only", default="", help="kinds whose name has this word")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--kind", choices=list(KINDS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.kind:
        import uvloop

        with tempfile.TemporaryDirectory() as home:
            print(json.dumps(uvloop.run(measured(arguments.kind, arguments, home))))
        return
    found = {}
    for name in KINDS:
        if arguments.only in name:
            command = [sys.executable, "-m", "bench.loop_hold", "--kind", name]
            for word in ("tasks", "downloads", "pieces"):
                command += [f"--{word}", str(getattr(arguments, word))]
            out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout
            found[name] = json.loads(out)
            print(f"{found[name][1] * 1e3:8.1f} ms  {name}", file=sys.stderr, flush=True)
    rows = [(name, f"{longest * 1e3:.1f}", f"{worked * 1e3:.1f}") for name, (longest, worked) in found.items()]
    print(f"{arguments.tasks} tasks, {arguments.downloads} downloads, {arguments.pieces} pieces; milliseconds of the longest turn\n")
    print(table(("event", "by the clock", "processor"), rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
