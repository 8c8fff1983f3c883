"""A peer server's upload of 4 MiB pieces from tmpfs against nginx's of 4 MiB ranges, at 1, 4 and 16 connections, and under a limit.

    python -m bench.upload [--seconds S] [--repeats N]

The receiver is the same for all: threads of a process of its own that receive without the GIL and discard the bytes. nginx has
as many workers as the machine has cores, the peer server is one process.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from bench.stage import DFENGINE, GB, MIB, Stage, cpu_of, machine, median, own_namespace, peer_pid, run, spread, table
from dfengine.net import fd_passing
from dfengine.storage.home import Home

PIECE = 4 * MIB
CONTENT = PIECE - 5
TICK = 0.1
"""Seconds between the samples that determine the busiest second."""


def request(kind: str, path: str, n: int) -> bytes:
    """The request for piece n, framed, or for the range of as many bytes."""
    more = f"pieceNum: {n}\r\npieceSize: {PIECE}\r\n" if kind == "peer" else ""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nRange: bytes={n * PIECE}-{(n + 1) * PIECE - 1}\r\n{more}\r\n".encode()


def drain(kind: str, port: int, path: str, pieces: int, connections: int, seconds: float) -> None:
    """The receiver's process: prints [bytes, seconds, maximum bytes in any one second]."""
    from dfengine.net._receive import Receiver

    got, stop = [0] * connections, threading.Event()

    def receive(me: int) -> None:
        sock = socket.create_connection(("127.0.0.1", port))
        receiver, buffer, n = Receiver(sock.fileno()), bytearray(PIECE), me
        while not stop.is_set():
            sock.sendall(request(kind, path, n % pieces))
            head = receiver.head(time.monotonic() + 10)
            if b" 206 " not in head.split(b"\r\n", 1)[0]:
                raise RuntimeError(head.decode())
            for at in range(0, PIECE, MIB):
                receiver.into(buffer, at, MIB)
                got[me] += MIB
            n += connections
        sock.close()

    threads = [threading.Thread(target=receive, args=(me,)) for me in range(connections)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    samples = [(time.perf_counter(), sum(got))]
    while samples[-1][0] - samples[0][0] < seconds:
        time.sleep(TICK)
        samples.append((time.perf_counter(), sum(got)))
    stop.set()
    for thread in threads:
        thread.join()
    step = round(1 / TICK)
    most = max((b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(samples, samples[min(step, len(samples) - 1) :], strict=False))
    print(json.dumps([samples[-1][1] - samples[0][1], samples[-1][0] - samples[0][0], most]))


def measure(kind: str, port: int, path: str, pieces: int, connections: int, seconds: float, server: int) -> tuple[float, float, float]:
    """(GB/s, server's CPU s/GB, GB in its busiest second)."""
    command = [sys.executable, "-m", "bench.upload", "--drain", json.dumps([kind, port, path, pieces, connections, seconds])]
    before = cpu_of(server)
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True, start_new_session=True, timeout=seconds + 30).stdout
    used = cpu_of(server) - before
    count, wall, most = json.loads(out)
    # The CPU time covers the receiver's whole run, its byte count 0.3 seconds less.
    return count / wall / GB, used / (count / wall * (wall + 0.3)) * GB, most / GB


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--drain", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drain:
        drain(*json.loads(arguments.drain))
        return
    namespace = own_namespace()
    with Stage() as stage:
        pieces = 50
        stage.file("big", pieces * CONTENT)
        stage.file("ranges", pieces * PIECE)
        url = stage.origin() + "/big"
        node, _ = stage.supernode()

        home = stage.home()
        run([*DFENGINE, "get", url, "-o", str(stage.path / "out"), "-n", node, "--ip", "127.0.0.1", "--home", str(home),
             "--quiet", "--expiretime", "1h", "--alivetime", "1h"])  # fmt: skip
        port = json.loads((home / "peer.lock").read_text())["port"]
        ours = ("peer", port, f"/peer/file/{Home(str(home)).names()[0]}", peer_pid(home))
        nginx = ("nginx", stage.origin_port, "/ranges", stage.origin_pid)
        print(machine(namespace))
        print(f"{arguments.seconds:g} s each, {arguments.repeats} repeats, median (range)\n", flush=True)
        rows, unlimited = [], {}
        for connections in (1, 4, 16):
            results: dict[str, list[tuple[float, float, float]]] = {"nginx": [], "peer": []}
            measure(*ours[:3], pieces, connections, 0.3, ours[3])
            measure(*nginx[:3], pieces, connections, 0.3, nginx[3])
            for _ in range(arguments.repeats):
                for kind, port, path, pid in (nginx, ours):
                    results[kind].append(measure(kind, port, path, pieces, connections, arguments.seconds, pid))
            for kind, found in results.items():
                speed, cpu = median([one[0] for one in found]), median([one[1] for one in found])
                unlimited[kind, connections] = speed, cpu
                base = unlimited["nginx", connections]
                rows.append([
                    f"{kind}, {connections}", spread([one[0] for one in found]), f"{speed / base[0]:.2f}",
                    f"{cpu:.3f}", f"{cpu / base[1]:.2f}", "",
                ])  # fmt: skip
        for connections in (1, 4, 16):
            speed, cpu = unlimited["peer", connections]
            rate = int(speed * 0.8 * GB)
            set_limit(home, rate)
            found = [measure(*ours[:3], pieces, connections, arguments.seconds, ours[3]) for _ in range(arguments.repeats)]
            spent = median([one[1] for one in found])
            rows.append([
                f"peer, {connections}, limit {rate / GB:.2f} GB/s", spread([one[0] for one in found]),
                f"{median([one[0] for one in found]) * GB / rate:.3f} of the limit", f"{spent:.3f}", f"{spent / cpu:.2f} of unlimited",
                f"{max(one[2] for one in found) * GB / rate:.3f}",
            ])  # fmt: skip
        print(table(["server, connections", "GB/s", "x nginx", "server CPU s/GB", "x nginx", "busiest second / limit"], rows))


def set_limit(home: Path, rate: int) -> None:
    """Set the limit as a download on the peer server's own host would: bytes per second, through the home's socket."""
    if not fd_passing.send_settings(Home(str(home)).sockets, json.dumps({"totallimit": rate, "secret_files": []}).encode()):
        raise RuntimeError("the peer server took no limit")


if __name__ == "__main__":
    main()
