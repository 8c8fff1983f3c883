"""`python -m tests.chaos.figures NAME ...`: figures of docs/reliability.md measured with real processes; exits with 1 if one is missed.

    kill-peer        delay of the other hosts by kill -9 of a serving peer, in piece times
    kill-supernode   pieces fetched twice after kill -9 of the supernode with a second one in the list
    idle             memory with ten thousand idle connections
    dead             requests to an origin that lacks a file that ten thousand clients request
    tasks            memory and descriptors after ten thousand tasks
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos.counting import Counting
from tests.e2e.scene import MIB, Scene, Supernode, descriptors, scene, until

PIECE = 4 * MIB - 5
HOSTS = (4, 5, 6)


def kill_peer(stage: Scene, pieces: int = 20, rate: int = 8, runs: int = 3) -> tuple[str, bool]:
    """Three hosts download a file from two peers and the supernode; one of the peers is killed halfway."""
    stage.file("f", pieces * PIECE)
    url = stage.origin() + "/f"
    node = stage.supernode("--supernode-limit", "2", "--revalidate-interval", "1h")
    times: dict[bool, list[float]] = {False: [], True: []}
    for run in range(runs):
        for killed in (False, True):
            name = f"{url}?{run}{killed}"
            for host in (2, 3):
                stage.get(name, f"seed-{host}", host=host, nodes=(node,))
                (stage.path / f"seed-{host}").unlink()
            gets = [stage.start_get(name, f"out-{host}", "-s", f"{rate}M", "--notbs", host=host, nodes=(node,)) for host in HOSTS]
            if killed:
                time.sleep(pieces * PIECE / rate / MIB / 2)
                _kill(stage, 2)
            times[killed].append(max(stage.end(get)["seconds"] for get in gets))
            assert len({stage.digest(f"out-{host}") for host in HOSTS}) == 1
            for host in HOSTS:
                (stage.path / f"out-{host}").unlink()
    late = statistics.median(times[True]) - statistics.median(times[False])
    took = PIECE / rate / MIB
    seconds = {killed: [round(time, 2) for time in of] for killed, of in times.items()}
    said = f"slowest of {len(HOSTS)} hosts in s: {seconds[False]}, with a peer killed {seconds[True]}"
    return f"{said}: {late / took:+.2f} piece times of {took:.2f} s", late <= 2 * took


def _kill(stage: Scene, host: int) -> None:
    pid = stage.peer_pid(host)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists(), "the peer's end")
    (stage.path / f"home-{host}" / "peer.lock").write_text("")


def kill_supernode(stage: Scene, pieces: int = 20, rate: int = 16, runs: int = 3) -> tuple[str, bool]:
    """One download with two supernodes, all pieces through counting proxies; the supernode in use is killed halfway."""
    stage.file("f", pieces * PIECE)
    url = stage.origin() + "/f"
    twice, connections, good = [], [], True
    for run in range(runs):
        nodes = [stage.supernode("--revalidate-interval", "1h") for _ in range(2)]
        proxies = {}
        for node in nodes:
            download = int(node.download.rpartition(":")[2])
            proxies[node.port] = Counting(("127.0.0.9", node.port), ("127.0.0.1", node.port)), Counting(
                ("127.0.0.9", download), ("127.0.0.1", download)
            )
        try:
            options = [option for node in nodes for option in ("-n", f"127.0.0.9:{node.port}")]
            get = stage.start_get(f"{url}?{run}", "out", "-s", f"{rate}M", "--notbs", *options)
            pieces_asked = [proxy[1] for proxy in proxies.values()]
            until(partial(lambda pieces_asked: any(len(proxy.asked) > pieces // 2 for proxy in pieces_asked), pieces_asked), "half of it")
            used = next(node for node in nodes if len(proxies[node.port][1].asked) > 1)
            open_then = proxies[used.port][1].open
            stage.kill(used.process)
            result = stage.end(get)
            asked = [first for proxy in pieces_asked for first in proxy.asked]
            again = len(asked) - len(set(asked))
            twice.append(again)
            connections.append(open_then)
            good = good and again <= open_then and result["back_to_source"] is None and len(set(asked)) == pieces
            (stage.path / "out").unlink()
        finally:
            for pair in proxies.values():
                for proxy in pair:
                    proxy.close()
    return f"{pieces} pieces, supernode killed: {twice} of them asked for twice, with {connections} connections open", good


def memory(pid: int) -> int:
    """Resident bytes."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def idle(stage: Scene, count: int = 10_000) -> tuple[str, bool]:
    """Open half of the connections at the control port and half at the download port."""
    node = stage.supernode()
    before = memory(node.process.pid)
    ports = [node.port, int(node.download.rpartition(":")[2])]
    lines = []
    try:
        for n in range(count):
            lines.append(socket.create_connection(("127.0.0.1", ports[n % 2])))
            if n % 500 == 499:
                until(partial(lambda n: len(descriptors(node.process.pid)) >= n, n), "the accepted connections")
        grown, most = memory(node.process.pid) - before, len(descriptors(node.process.pid))
    finally:
        for line in lines:
            line.close()
    until(lambda: len(descriptors(node.process.pid)) < 100, "the closed connections")
    after = len(descriptors(node.process.pid))
    said = f"{count} idle connections: {most} descriptors, {grown / MIB:.1f} MiB more, and {after} descriptors after"
    return said, most >= count and grown < 500 * MIB


class Clients:
    """Registrations on a few persistent connections."""

    def __init__(self, node: Supernode, connections: int) -> None:
        self.lines = [http.client.HTTPConnection("127.0.0.1", node.port, timeout=60) for _ in range(connections)]

    def register(self, url: str, numbers: range) -> list[Any]:
        """Register a CID for each number, as many at once as there are connections; url may contain {n}."""
        answers: list[Any] = []
        every = list(numbers)
        for start in range(0, len(every), len(self.lines)):
            chunk = list(zip(self.lines, every[start : start + len(self.lines)], strict=False))
            for line, n in chunk:
                about = {"rawUrl": url.format(n=n), "taskUrl": url.format(n=n), "cid": f"127.0.0.1-{n}", "ip": "127.0.0.1", "port": 0,
                         "path": "/peer/file/x", "native": 1, "hostName": "h", "version": "1", "superNodeIp": "127.0.0.1"}
                line.request("POST", "/peer/registry", json.dumps(about), {"Content-Type": "application/json"})
            answers += [(n, json.loads(line.getresponse().read())) for line, n in chunk]
        return answers

    def leave(self, answers: list[Any]) -> None:
        """Let all registered downloads leave."""
        for start in range(0, len(answers), len(self.lines)):
            chunk = list(zip(self.lines, answers[start : start + len(self.lines)], strict=False))
            for line, (n, answer) in chunk:
                line.request("GET", f"/peer/service/down?taskId={answer['data']['taskId']}&cid=127.0.0.1-{n}")
            for line, _ in chunk:
                line.getresponse().read()

    def close(self) -> None:
        """Close the connections."""
        for line in self.lines:
            line.close()


def dead(stage: Scene, count: int = 10_000) -> tuple[str, bool]:
    """Register a missing file within one interval of --fail-access-interval."""
    url = stage.origin() + "/missing"
    node = stage.supernode("--fail-access-interval", "10m")
    with contextlib.closing(Clients(node, 200)) as clients:
        answers = clients.register(url, range(count))
    until(lambda: stage.requests("/missing"), "the entry in nginx's log")
    asked = len(stage.requests("/missing"))
    refused = sum(answer["code"] == 500 for _, answer in answers)
    return f"{count} registrations of a dead URL: {refused} refused, {asked} requests at its origin", asked == 1 and refused == count


def tasks(stage: Scene, count: int = 10_000, batch: int = 1000) -> tuple[str, bool]:
    """Register tasks in batches that leave and expire; the first batch is the baseline, because Python keeps freed memory."""
    stage.file("f", 100_000)
    url = stage.origin() + "/f?{n}"
    node = stage.supernode("--task-expire-time", "0", "--disk-low", "0", "--disk-high", "0")
    seen = []
    for start in range(0, count, batch):
        with contextlib.closing(Clients(node, 50)) as clients:
            answers = clients.register(url, range(start, min(start + batch, count)))
            assert {answer["code"] for _, answer in answers} == {200}
            clients.leave(answers)
        until(lambda: node.metric("dragonfly_supernode_tasks") == 0, "the expiry of all tasks")
        seen.append((memory(node.process.pid), len(descriptors(node.process.pid))))
    (first, fds), (last, fds_after) = seen[0], seen[-1]
    said = (
        f"{count} tasks: {first / MIB:.1f} MiB and {fds} descriptors after the first {batch}, "
        f"{last / MIB:.1f} MiB and {fds_after} after all"
    )
    return said, last - first < 32 * MIB and fds_after <= fds + 2


FIGURES: dict[str, Callable[[Scene], tuple[str, bool]]] = {
    "kill-peer": kill_peer, "kill-supernode": kill_supernode, "idle": idle, "dead": dead, "tasks": tasks,
}  # fmt: skip


def main(names: list[str]) -> int:
    """Return 1 if a figure was missed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    missed = 0
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    for name in names or FIGURES:
        with tempfile.TemporaryDirectory(prefix="dffigure-", dir=folder) as path, scene(Path(path)) as stage:
            said, good = FIGURES[name](stage)
        print(f"{name}: {said}: {'as it must be' if good else 'MISSED'}", flush=True)
        missed += not good
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
