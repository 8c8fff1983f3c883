"""Pulls per second of one supernode process on one core over HTTP, compared with a bare handler of the same server in the same run; also
while DOWNLOADS downloads a second register and end, which it logs as events at the level info; and while consoles are open, which watch the
swarm, the hosts and the tasks, WARM seconds after they were opened.

    python -m bench.scheduler [--peers 1000] [--pieces 4000] [--connections 16] [--pulls 200000] [--repeats 5] [--json FILE]

The supernode is a process of its own on the first core: its node, router and control server as `dfengine supernode` runs them, with a swarm
of peers that have from no pieces to nearly all; only the file's copy is a record without data, since no piece is sent. The load generator
is a C program (bench/pulls.c, compiled for the run) alone on the second core, which it polls without sleeping; its idle share is reported.
Each of its keep-alive connections plays its share of the peers. A pull reports the four pieces of that peer's previous pull as done and
requests four more. The bare handler parses the same requests generically, not as plain pulls, and sends a fixed response of the same size.
Medians of the repeats; each has a fresh process.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from bench.decide import name, populate
from bench.stage import own_namespace, table
from dfengine import wire
from dfengine._bitset import Bitset
from dfengine._piece import Geometry
from dfengine.net.control_server import ControlServer
from dfengine.net.event_log import NO_EVENTS, EventLog
from dfengine.net.http import Request, Response
from dfengine.settings import SupernodeSettings
from dfengine.storage.record import DIGEST, Record
from dfengine.supernode.cluster.membership import Cluster
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.download_events import log_download
from dfengine.supernode.registered_downloads import RegisteredDownload
from dfengine.supernode.router import Router
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.supernode.swarm.limits import Limits
from dfengine.supernode.swarm.stragglers import retune
from dfengine.task import Peer

TASK = "7" * 64
MODES = ("bare", "real", "telling", "watched")
DOWNLOADS = 1000
WARM = 4.0
"""Seconds. The first responses may use a saved budget of 50 ms (`console.budget`), which is not typical of a console that stays open."""
WATCHED = f"/api/v2/tasks/{TASK}/swarm", "/api/v2/hosts?limit=1000", "/api/v2/tasks"
MIN_PIECES = 3.5
"""Average number of pieces in a pull below which a run is not representative of pulls of four."""
HERE = Path(__file__).parent


class Copy:
    """A finished fetch as a pull sees it: the record, without bytes."""

    def __init__(self, pieces: int) -> None:
        geometry = Geometry(pieces * ((4 << 20) - 5), 4 << 20)
        self.file = SimpleNamespace(record=Record.in_memory(geometry), geometry=geometry, available=Bitset(pieces))
        self.file.available.set_range(0, pieces)
        self.state, self.task, self.stop, self.request = "SUCCESS", TASK, int, FetchRequest("http://origin/file")
        self.current_url, self.retry_reason, self.leader = self.request.url, "", ""
        self.revalidating, self.error, self.claim = False, None, None
        self.origin_requests = self.origin_bytes = self.origin_errors = 0
        self.retry_at = 0.0
        for n in range(pieces):
            self.file.record.set_digest(n, os.urandom(DIGEST))

    @property
    def geometry(self) -> Geometry:
        """The record's geometry."""
        return self.file.record.geometry  # type: ignore[no-any-return]


def crowded(
    peers: int, pieces: int, home: str, loop: asyncio.AbstractEventLoop, events: EventLog, redis: str = "", key: str = ""
) -> SupernodeState:
    """A node with one task, all of it cached, and `peers` native downloads in progress."""
    settings = SupernodeSettings(home_dir=home, download_port=8001, cluster=redis, cluster_key_file=key)
    # Pieces count as quick even if the load generator has to wait for a core.
    limits = Limits(up=settings.up_limit, down=settings.down_limit, supernode=settings.supernode_limit, slow=60.0)
    node = SupernodeState(settings, home, loop, events=events, limits=limits)
    node.fetch_pool.fetches[TASK] = Copy(pieces)  # type: ignore[assignment]
    node.swarm.add_task(TASK, pieces, node.now())
    for n in range(pieces):
        node.swarm.cached(TASK, n, node.now())
    for i, cid in enumerate(populate(node.swarm, peers, pieces, 1, node.now(), TASK)):
        peer = Peer("10.0.0.1", 15001, "", f"host{i}")
        node.members.add((TASK, cid), RegisteredDownload("127.0.0.1", "", wire.NATIVE, peer, "127.0.0.1"))
    retune(node.swarm.tasks[TASK], False)  # as during quick pieces
    return node


def tell(node: SupernodeState, n: int) -> None:
    """Log the events of downloads that register and end, from the n-th on."""
    for each in range(n, n + DOWNLOADS // 100):
        cid, client = f"10.0.0.{each % 250}-{each}-1549104994.143", f"10.0.0.{each % 250}"
        node.events.info("registered", task=TASK, cid=cid, client=client, host=f"host{each}", system="", url="http://origin/file?signature",
                         length=1 << 32, native=True, serves=True)
        told = {"taskid": TASK, "cid": cid, "duration": 4.2, "filelength": 1 << 32, "success": True, "frompeers": 1 << 32}
        log_download(node.events, told, client, node.names, node.fetch_pool.fetches)
    node.loop.call_later(0.01, tell, node, n + DOWNLOADS // 100)


async def serve(mode: str, peers: int, pieces: int, home: str, redis: str = "", key: str = "") -> None:
    """The server process: prints its port, serves until its input ends, then prints its CPU seconds. redis, key: of its cluster, if any."""
    loop, bare = asyncio.get_running_loop(), mode == "bare"
    events = EventLog("text", "info", os.open(os.devnull, os.O_WRONLY)) if mode == "telling" else NO_EVENTS
    node = crowded(peers, pieces, home, loop, events, redis, key)
    handler: Callable[[Request], Any] = (router := Router(node))
    if bare:
        answer = wire.encode(node.answers.answer(TASK, name(0), node.swarm.pull(TASK, name(0), 4, node.now())))

        def handler(request: Request) -> Response:
            wire.decode_pull(request.body)
            return Response(200, answer)

    control = ControlServer(loop, handler, fast_path=None if bare else router.quick)
    await control.start("127.0.0.1", 0)
    cluster = Cluster.of(node.settings, f"127.0.0.1:{control.port}", events, lambda: node.dialer)
    if cluster is not None:
        router.join(cluster)
        node.fetches.join(cluster)
    gc.collect()
    gc.freeze()
    if mode == "telling":
        tell(node, 0)
    used = resource.getrusage(resource.RUSAGE_SELF)
    begun = used.ru_utime + used.ru_stime
    print(control.port, flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime - begun, flush=True)
    if not bare:
        router.close()
    control.close()
    node.close()


def look(port: str) -> Callable[[], None]:
    """Open consoles that watch WATCHED and read their streams. Returns a function that closes them."""
    lines = [socket.create_connection(("127.0.0.1", int(port))) for _ in WATCHED]

    def read(line: socket.socket, path: str) -> None:
        line.sendall(f"GET /api/v2/live?watch={quote(path)} HTTP/1.1\r\nHost: supernode\r\n\r\n".encode())
        while line.recv(1 << 20):
            pass

    threads = [threading.Thread(target=read, args=each) for each in zip(lines, WATCHED, strict=True)]
    for thread in threads:
        thread.start()

    def end() -> None:
        for line, thread in zip(lines, threads, strict=True):
            line.shutdown(socket.SHUT_RDWR)
            thread.join()
            line.close()

    return end


def measure(mode: str, arguments: argparse.Namespace, load: Path, cids: Path) -> tuple[float, float, float, float]:
    """Pulls per second, CPU microseconds of the server per pull, percent of time in which the load generator is idle, pieces per pull."""
    with tempfile.TemporaryDirectory() as home:
        command = ["taskset", "-c", "0", sys.executable, "-m", "bench.scheduler", "--serve", mode, "--home", home]
        command += ["--peers", str(arguments.peers), "--pieces", str(arguments.pieces)]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert server.stdin
        assert server.stdout
        try:
            port = server.stdout.readline().strip()
            end = look(port) if mode == "watched" else lambda: None
            time.sleep(WARM)
            loader = ["taskset", "-c", "1", str(load), "127.0.0.1", port, str(arguments.connections), TASK, str(cids), str(arguments.pulls)]
            out = subprocess.run(loader, check=True, capture_output=True, text=True, timeout=120, start_new_session=True).stdout.split()
            end()
            server.stdin.close()
            cpu = float(server.stdout.readline())
        finally:
            server.stdin.close()
            server.wait(20)
    pulls, pieces, seconds, idle = int(out[0]), int(out[1]), float(out[2]), float(out[3])
    if pieces < MIN_PIECES * pulls:
        raise RuntimeError(f"{pieces} pieces in {pulls} pulls: the swarm does not give what is measured")
    return pulls / seconds, cpu / pulls * 1e6, idle / seconds * 100, pieces / pulls


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=int, default=1000)
    parser.add_argument("--pieces", type=int, default=4000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--pulls", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", choices=MODES, help=argparse.SUPPRESS)
    parser.add_argument("--home", default="", help=argparse.SUPPRESS)
    parser.add_argument("--redis", default="", help=argparse.SUPPRESS)
    parser.add_argument("--key", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        import uvloop

        uvloop.run(serve(arguments.serve, arguments.peers, arguments.pieces, arguments.home, arguments.redis, arguments.key))
        return
    where = own_namespace()
    with tempfile.TemporaryDirectory() as folder:
        load, cids = Path(folder, "pulls"), Path(folder, "cids")
        compiler = shutil.which("cc") or "gcc"
        subprocess.run([compiler, "-O2", "-D_GNU_SOURCE", "-o", str(load), str(HERE / "pulls.c")], check=True)
        cids.write_text("".join(f"{name(i)}\n" for i in range(arguments.peers)))
        runs = [[measure(mode, arguments, load, cids) for mode in MODES] for _ in range(arguments.repeats)]
    rows, result = [], {}
    for i, what in enumerate(("bare handler", "supernode", "telling events", "with consoles")):
        speed, cpu, idle, pieces = (statistics.median(run[i][j] for run in runs) for j in range(4))
        result[what] = [speed, cpu, pieces]
        worst = min(run[i][0] for run in runs)
        rows.append([what, f"{speed:,.0f}", f"{worst:,.0f}", f"{cpu:.1f}", f"{idle:.0f}%", f"{pieces:.2f}"])
    ratio = statistics.median(run[1][0] / run[0][0] for run in runs)
    print(f"{arguments.peers} peers, {arguments.pieces} pieces, {arguments.connections} connections, {where}\n")
    print(table(["", "pulls/s", "worst", "CPU us a pull", "load idle", "pieces a pull"], rows))
    print(f"\nsupernode / bare: {ratio:.2f}")
    print(f"telling events / supernode: {statistics.median(run[2][0] / run[1][0] for run in runs):.3f}")
    print(f"with consoles / supernode: {statistics.median(run[3][0] / run[1][0] for run in runs):.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
