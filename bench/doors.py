"""Container blobs through `dfengine proxy` against nginx: a warm one, small responses that are passed on, and a cold one on several hosts.
Ranges of an object of its S3 facade against nginx, and against moto's server. Programs through its forward proxy (`bench.forward`).

    python -m bench.doors [--size MIB] [--hosts N] [--repeats N] [--rows blob,small,cold,ranges,forward]

Only ratios within one run are meaningful: medians over interleaved repeats, after one round that is not counted. Small responses are
requested by `ab` (apache2-utils) on 64 keep-alive connections, with proxy and nginx on the same core; without `ab` they are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import sys
import threading
import time
import urllib.request
from functools import partial

from bench import forward
from bench.stage import (
    DFENGINE,
    MIB,
    NGINX,
    Run,
    Stage,
    free_port,
    interleaved,
    machine,
    median,
    own_namespace,
    rss_of,
    run,
    spread,
    table,
    wait_port,
)  # fmt: skip

AB = shutil.which("ab")
CLIENTS = 64
SMALL = 1024


RANGE, AT_ONCE = 8 * MIB, 16
"""Bytes of one range of an object, and number of concurrent ranges, as in model streamers."""

RANGES = """
import random, socket, sys, threading, time
host, port, target, size, step, at_once, count = sys.argv[1], *sys.argv[2:4], *map(int, sys.argv[4:])
starts = [random.randrange(size // step) * step for _ in range(count)]
left, turn, failed = iter(starts), threading.Lock(), []

def work():
    line, buffer = socket.create_connection((host, int(port))), memoryview(bytearray(1 << 20))
    try:
        while True:
            with turn:
                start = next(left, None)
            if start is None:
                return
            asked = f"Host: {host}:{port}\\r\\nRange: bytes={start}-{start + step - 1}\\r\\n\\r\\n"
            line.sendall(f"GET {target} HTTP/1.1\\r\\n{asked}".encode())
            head = b""
            while b"\\r\\n\\r\\n" not in head:
                head += line.recv(4096)
            assert head.split(b" ")[1] == b"206", head
            more = step - len(head.partition(b"\\r\\n\\r\\n")[2])
            while more:
                got = line.recv_into(buffer, min(more, 1 << 20))
                assert got
                more -= got
            if b"Connection: close" in head:
                line.close()
                line = socket.create_connection((host, int(port)))
    except BaseException as error:
        failed.append(error)

threads = [threading.Thread(target=work) for _ in range(at_once)]
begun = time.perf_counter()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed
print(time.perf_counter() - begun)
"""
"""A client with keep-alive connections, if the server supports them, each with a thread. It prints the seconds for all ranges."""


class Doors:
    """An nginx that serves one blob as a registry, and proxies."""

    def __init__(self, stage: Stage, size: int) -> None:
        self.stage = stage
        self.size = size
        folder = stage.root / "v2" / "a" / "blobs"
        folder.mkdir(parents=True)
        file = stage.file("big", size)
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        file.rename(folder / f"sha256:{digest}")
        (stage.root / "v2" / "x").write_bytes(os.urandom(SMALL))
        self.path = f"/v2/a/blobs/sha256:{digest}"
        self.origin = stage.origin()

    def proxy(self, *options: str, core: int = -1) -> tuple[str, int]:
        """Start a proxy; return its URL and pid."""
        pinned = ["taskset", "-c", str(core)] if core >= 0 else []
        home = self.stage.home()
        process = self.stage.start([
            *pinned, *DFENGINE, "proxy", "--listen", "127.0.0.1:0", "--ip", "127.0.0.1", "--home", str(home),
            "--registry", self.origin, *options,
        ])  # fmt: skip
        assert process.stdout is not None
        return "http://" + process.stdout.readline().decode().split()[1].partition("=")[2], process.pid

    def nginx(self, core: int) -> str:
        """Start an nginx that passes all requests on to the origin; return its URL."""
        path, port = self.stage.path / "passing", free_port()
        path.mkdir()
        (path / "nginx.conf").write_text(
            f"""daemon off; worker_processes 1; pid {path}/pid; error_log {path}/error.log; {"user root;" if os.geteuid() == 0 else ""}
            events {{ worker_connections 4096; }}
            http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {path}/b; proxy_temp_path {path}/p;
              fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;
              upstream origin {{ server {self.origin.partition("://")[2]}; keepalive 128; keepalive_requests 100000000; }}
              server {{ listen 127.0.0.1:{port}; location / {{
                proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}"""
        )
        self.stage.start(["taskset", "-c", str(core), NGINX, "-p", str(path), "-c", str(path / "nginx.conf")])
        wait_port(port)
        return f"http://127.0.0.1:{port}"

    def curl(self, base: str, *options: str) -> Run:
        """Download the blob to /dev/null; `out`: seconds to the first byte."""
        return run(["curl", "-sf", "-o", "/dev/null", "-w", "%{time_starttransfer}", *options, base + self.path])

    def small(self, base: str) -> float:
        """Responses per second."""
        assert AB is not None
        said = run(["taskset", "-c", "0", AB, "-q", "-k", "-c", str(CLIENTS), "-n", "20000", f"{base}/v2/x"]).out
        if "Non-2xx" in said or not re.search(r"Failed requests: +0\n", said):
            raise RuntimeError(said)
        return float(re.search(r"Requests per second: +([\d.]+)", said)[1])  # type: ignore[index]  # or the line before raised

    def ranges(self, base: str, target: str, size: int, count: int) -> float:
        """MiB per second of random ranges of an object of `size` bytes."""
        host, _, port = base.partition("://")[2].partition(":")
        words = (host, port, target, str(size), str(RANGE), str(AT_ONCE), str(count))
        return count * RANGE / MIB / float(run([sys.executable, "-c", RANGES, *words]).out)

    def moto(self, size: int) -> str:
        """Start moto's server with an object `big/object` of `size` bytes; return its URL."""
        port = free_port()
        self.stage.start([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)])
        wait_port(port)
        url = f"http://127.0.0.1:{port}"
        for path, body in (("/big", b""), ("/big/object", bytes(size))):
            scope = "Credential=a/20260101/us-east-1/s3/aws4_request"
            headers = {"Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0", "Content-Type": "a/b"}
            headers["x-amz-acl"] = "public-read"
            urllib.request.urlopen(urllib.request.Request(url + path, body, headers, method="PUT"), timeout=60).close()
        return url

    def together(self, bases: list[str]) -> float:
        """Seconds until each of them has sent the blob to a client of its own."""
        begun = time.perf_counter()
        threads = [threading.Thread(target=self.curl, args=(base,)) for base in bases]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - begun


def _blob(doors: Doors, repeats: int) -> None:
    mirror, pid = doors.proxy()
    runs = interleaved({"nginx": partial(doors.curl, doors.origin), "mirror": partial(doors.curl, mirror)}, repeats)
    base = median(each.wall for each in runs["nginx"])
    rows = [
        (name, spread([doors.size / MIB / each.wall for each in found]), f"{base / median(each.wall for each in found):.2f}",
         spread([float(each.out) for each in found], 1000))
        for name, found in runs.items()
    ]  # fmt: skip
    print(table(("warm blob", "MiB/s", "x nginx", "first byte ms"), rows))
    many = [threading.Thread(target=doors.curl, args=(mirror, "-r", f"0-{min(doors.size, 64 * MIB) - 1}")) for _ in range(CLIENTS)]
    for thread in many:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in many):
        most = max(most, rss_of(pid))
        time.sleep(0.05)
    print(f"\nRSS with {CLIENTS} clients at once: {most >> 20} MiB\n")


def _small(doors: Doors, repeats: int) -> None:
    if AB is None:
        print("small answers: no ab here", file=sys.stderr)
        return
    passing, other = doors.proxy(core=1)[0], doors.nginx(core=1)
    found = [(doors.small(passing), doors.small(other)) for _ in range(repeats)]
    ours, theirs = zip(*found, strict=True)
    print(table(("1 KiB passed on, 64 connections", "answers/s", "x nginx"), [
        ("nginx", spread(theirs), "1.00"), ("proxy", spread(ours), f"{median(a / b for a, b in found):.2f}"),
    ]))  # fmt: skip


def _cold(doors: Doors, hosts: int) -> None:
    node, _ = doors.stage.supernode()
    before = doors.stage.origin_bytes()
    seconds = doors.together([doors.proxy("-n", node)[0] for _ in range(hosts)])
    times = (doors.stage.origin_bytes() - before) / doors.size
    print(f"\ncold blob on {hosts} hosts at once: {seconds:.1f} s, the registry sent its bytes {times:.3f} times")


def _ranges(doors: Doors, repeats: int) -> None:
    facade, _ = doors.proxy("--s3-bucket", f"big={doors.origin}{doors.path.rpartition('/')[0]}/")
    target, count = f"/s3/big/{doors.path.rpartition('/')[2]}", 2 * doors.size // RANGE
    doors.ranges(facade, target, doors.size, 4 * doors.size // RANGE)  # fetches most of the object
    run(["curl", "-sf", "-o", "/dev/null", facade + target])
    small = min(doors.size, 128 * MIB)
    moto = doors.moto(small)
    places = {
        "nginx": partial(doors.ranges, doors.origin, doors.path, doors.size, count),
        "the S3 facade": partial(doors.ranges, facade, target, doors.size, count),
        "moto": partial(doors.ranges, moto, "/big/object", small, 2 * AT_ONCE),
    }  # fmt: skip
    found = [{name: measure() for name, measure in places.items()} for _ in range(repeats + 1)][1:]
    rows = [(name, spread([each[name] for each in found]), *(
        f"{median(each[name] / each[other] for each in found):.2f}" for other in ("nginx", "moto")
    )) for name in places]  # fmt: skip
    print(table((f"ranges of {RANGE // MIB} MiB, {AT_ONCE} at once", "MiB/s", "x nginx", "x moto"), rows))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the blob")
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", default="blob,small,cold,ranges,forward")
    options = parser.parse_args()
    namespace = own_namespace()
    with Stage() as stage:
        doors = Doors(stage, options.size * MIB)
        print(machine(namespace))
        rows = {
            "blob": partial(_blob, doors, options.repeats), "small": partial(_small, doors, options.repeats),
            "cold": partial(_cold, doors, options.hosts), "ranges": partial(_ranges, doors, options.repeats),
            "forward": partial(forward.report, stage, options.size * MIB, forward.WHEELS, options.repeats),
        }  # fmt: skip
        for name in options.rows.split(","):
            rows[name]()


if __name__ == "__main__":
    main()
