"""Cost of the console for a browser and the supernode: the map of a task with 1,000 hosts and 2,560 pieces each, while pieces arrive.

    python -m bench.console [--peers 1000] [--pieces 2560] [--pulls 300] [--seconds 20] [--screen FILE]

The supernode is that of bench.scheduler, without data; each of the pulls per second reports four pieces. The results are milliseconds of
script for each chunk of the stream and each frame of the map, the time between frames, and CPU seconds of the supernode with and without
the page.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench.decide import name
from bench.scheduler import TASK
from bench.stage import table

FRAMES = """() => {
  const gaps = globalThis.gaps = [];
  let before = performance.now();
  const next = (now) => { gaps.push(now - before); before = now; requestAnimationFrame(next); };
  requestAnimationFrame(next);
}"""


def pull(port: int, peers: int, rate: float, ended: threading.Event) -> None:
    """Pull for the downloads in turn: each reports the pieces that it was offered before, and requests four more."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    coming: dict[str, list[list[object]]] = {}
    begun, count = time.monotonic(), 0
    while not ended.wait(max(0.0, begun + count / rate - time.monotonic())):
        cid = name(count % peers)
        line.request("POST", "/swarm/pull", json.dumps({"task": TASK, "cid": cid, "done": coming.get(cid, []), "want": 4}))
        offers = json.loads(line.getresponse().read()).get("offers", [])
        coming[cid] = [[n, sources[0][0]] for n, _, sources in offers]
        count += 1
    line.close()


def cpu(pid: int) -> float:
    """CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch(port: int, seconds: float, screen: str) -> dict[str, list[float]]:
    """Milliseconds by kind."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("bench.console needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"http://127.0.0.1:{port}/console/#/tasks/{TASK}")
        page.get_by_text("pieces", exact=False).first.wait_for()
        page.evaluate(FRAMES)
        time.sleep(seconds)
        found = page.evaluate("({...script_spent(), gaps: globalThis.gaps})")
        if screen:
            page.screenshot(path=screen)
        browser.close()
    return dict(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=int, default=1000)
    parser.add_argument("--pieces", type=int, default=2560)
    parser.add_argument("--pulls", type=float, default=300.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--screen", default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "bench.scheduler", "--serve", "watched", "--home", home, "--peers", str(arguments.peers),
                   "--pieces", str(arguments.pieces)]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert server.stdin
        assert server.stdout
        ended = threading.Event()
        try:
            port = int(server.stdout.readline())
            pulls = threading.Thread(target=pull, args=(port, arguments.peers, arguments.pulls, ended))
            pulls.start()
            before = cpu(server.pid)
            time.sleep(arguments.seconds)
            alone = cpu(server.pid) - before
            before, begun = cpu(server.pid), time.monotonic()
            found = watch(port, arguments.seconds, arguments.screen)
            watched = (cpu(server.pid) - before) * arguments.seconds / (time.monotonic() - begun)
            ended.set()
            pulls.join()
        finally:
            ended.set()
            server.stdin.close()
            server.wait(20)
    rows = []
    for what, key in (("script for a chunk", "chunks"), ("script for a frame of the map", "frames"), ("between two frames", "gaps")):
        times = sorted(found[key])
        figures = statistics.median(times), times[int(len(times) * 0.99)], times[-1]
        rows.append([what, str(len(times)), *(f"{value:.1f}" for value in figures)])
    print(f"{arguments.peers} hosts, {arguments.pieces} pieces, {arguments.pulls:.0f} pulls/s, load {os.getloadavg()[0]:.1f}\n")
    print(table(["ms", "count", "median", "99 %", "longest"], rows))
    print(f"\nCPU of the supernode: {alone:.2f} s in {arguments.seconds:.0f} s alone, {watched:.2f} s with the page")


if __name__ == "__main__":
    main()
