"""Container blobs through `dfengine proxy` against nginx: a warm one, small answers that are passed on, and a cold one on several hosts.

    python -m bench.doors [--size MIB] [--hosts N] [--repeats N]

Ratios of the same run count: medians over interleaved repeats, after one round that is not counted. Small answers are asked for by `ab`
(apache2-utils) on 64 kept connections, with proxy and nginx on the same core; without `ab` they are left out.
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
from functools import partial

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


class Doors:
    """An nginx that serves one blob as a registry, and proxies."""

    def __init__(self, stage: Stage, size: int) -> None:
        self.stage = stage
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
        """Start one; its URL and pid."""
        pinned = ["taskset", "-c", str(core)] if core >= 0 else []
        home = self.stage.home()
        process = self.stage.start([
            *pinned, *DFENGINE, "proxy", "--listen", "127.0.0.1:0", "--ip", "127.0.0.1", "--home", str(home),
            "--registry", self.origin, *options,
        ])  # fmt: skip
        assert process.stdout is not None
        return "http://" + process.stdout.readline().decode().split()[1].partition("=")[2], process.pid

    def nginx(self, core: int) -> str:
        """One that passes everything on to the origin; its URL."""
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
        """The blob to nowhere; `out`: seconds to the first byte."""
        return run(["curl", "-sf", "-o", "/dev/null", "-w", "%{time_starttransfer}", *options, base + self.path])

    def small(self, base: str) -> float:
        """Answers a second."""
        assert AB is not None
        said = run(["taskset", "-c", "0", AB, "-q", "-k", "-c", str(CLIENTS), "-n", "20000", f"{base}/v2/x"]).out
        if "Non-2xx" in said or not re.search(r"Failed requests: +0\n", said):
            raise RuntimeError(said)
        return float(re.search(r"Requests per second: +([\d.]+)", said)[1])  # type: ignore[index]  # or the line before raised

    def together(self, bases: list[str]) -> float:
        """Seconds until all of them have given the blob to a client of their own."""
        begun = time.perf_counter()
        threads = [threading.Thread(target=self.curl, args=(base,)) for base in bases]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - begun


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the blob")
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    namespace = own_namespace()
    with Stage() as stage:
        size = options.size * MIB
        doors = Doors(stage, size)
        print(machine(namespace))
        mirror, pid = doors.proxy()
        runs = interleaved({"nginx": partial(doors.curl, doors.origin), "mirror": partial(doors.curl, mirror)}, options.repeats)
        base = median(each.wall for each in runs["nginx"])
        rows = [
            (name, spread([size / MIB / each.wall for each in found]), f"{base / median(each.wall for each in found):.2f}",
             spread([float(each.out) for each in found], 1000))
            for name, found in runs.items()
        ]  # fmt: skip
        print(table(("warm blob", "MiB/s", "x nginx", "first byte ms"), rows))
        many = [threading.Thread(target=doors.curl, args=(mirror, "-r", f"0-{min(size, 64 * MIB) - 1}")) for _ in range(CLIENTS)]
        for thread in many:
            thread.start()
        most = 0
        while any(thread.is_alive() for thread in many):
            most = max(most, rss_of(pid))
            time.sleep(0.05)
        print(f"\nRSS with {CLIENTS} clients at once: {most >> 20} MiB\n")
        if AB is None:
            print("small answers: no ab here", file=sys.stderr)
        else:
            passing, other = doors.proxy(core=1)[0], doors.nginx(core=1)
            found = [(doors.small(passing), doors.small(other)) for _ in range(options.repeats)]
            ours, theirs = zip(*found, strict=True)
            print(table(("1 KiB passed on, 64 connections", "answers/s", "x nginx"), [
                ("nginx", spread(theirs), "1.00"), ("proxy", spread(ours), f"{median(a / b for a, b in found):.2f}"),
            ]))  # fmt: skip
        node, _ = stage.supernode()
        before = stage.origin_bytes()
        hosts = [doors.proxy("-n", node)[0] for _ in range(options.hosts)]
        seconds = doors.together(hosts)
        times = (stage.origin_bytes() - before) / size
        print(f"\ncold blob on {options.hosts} hosts at once: {seconds:.1f} s, the registry sent its bytes {times:.3f} times")


if __name__ == "__main__":
    main()
