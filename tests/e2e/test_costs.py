"""Requests, system calls, threads and written bytes for each piece: counts, which do not depend on the machine's load."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

from tests.e2e.scene import DFENGINE, MIB, Scene, Supernode, until

PIECES = 64
SIZE = PIECES * (4 * MIB - 5)
STEPS = 16
"""Steps of 256 KiB in which a piece is received and hashed."""


def command(stage: Scene, url: str, node: Supernode, host: int) -> list[str]:
    """A download that serves no pieces, so that only its own calls are counted."""
    return [*DFENGINE, "get", url, "-o", str(stage.path / f"out-{host}"), "-n", node.node, "--pattern", "cdn", "--quiet",
            "--ip", f"127.0.0.{host}", "--home", str(stage.path / f"home-{host}")]  # fmt: skip


def counts(summary: str) -> dict[str, int]:
    """Calls by name from strace's summary, whose columns are %, seconds, usecs/call, calls, optionally errors, name."""
    rows = [line.split() for line in summary.splitlines()]
    return {row[-1]: int(row[3]) for row in rows if len(row) >= 5 and row[3].isdigit()}


def test_requests_and_system_calls_of_a_download_are_bounded(stage: Scene, tmp_path: Path) -> None:
    digest = stage.file("costs", SIZE)
    url = stage.origin() + "/costs"
    node = stage.supernode()
    subprocess.run(command(stage, url, node, 2), check=True, timeout=120)

    def asked() -> float:
        return node.metric("dragonfly_supernode_http_requests_total")

    before = asked()
    process = subprocess.Popen(command(stage, url, node, 3))
    # The process has ended and is not reaped yet: its I/O account can still be read.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    account = dict(line.split(": ") for line in Path(f"/proc/{process.pid}/io").read_text().splitlines())
    assert process.wait() == 0
    # Reading the metric is a request itself.
    assert asked() - before - 1 <= PIECES
    assert SIZE <= int(account["wchar"]) <= SIZE + MIB // 4
    assert int(account["rchar"]) < SIZE + 32 * MIB

    summary, before = tmp_path / "summary", asked()
    subprocess.run(["strace", "-f", "-qq", "-c", "-o", str(summary), *command(stage, url, node, 4)], check=True, timeout=120)
    requests = asked() - before - 1
    assert stage.digest("out-4") == digest
    calls = counts(summary.read_text())
    # Three writes for each piece: its content, its digest and its bit. The written bytes are checked above.
    assert 3 * PIECES <= calls["pwrite64"] <= 3 * PIECES + 8
    assert calls["recvfrom"] <= PIECES * (STEPS + 8)
    # One for each request to the supernode and for each piece; a traced download may request a few pieces twice.
    assert calls["sendto"] <= requests + PIECES + 8
    assert calls.get("preadv", 0) + calls.get("pread64", 0) <= 16, "the file is not read again"
    assert calls.get("clone", 0) + calls.get("clone3", 0) <= 8


def test_a_supernode_with_a_bandwidth_limit_sends_by_sendfile(stage: Scene, tmp_path: Path) -> None:
    digest = stage.file("limited", SIZE)
    url = stage.origin() + "/limited"
    node = stage.supernode("--max-bandwidth", "200M")
    subprocess.run(command(stage, url, node, 2), check=True, timeout=120)
    calls = tmp_path / "calls"
    watch = subprocess.Popen(
        ["strace", "-f", "-qq", "-e", "trace=sendfile,read,pread64,preadv,preadv2", "-o", str(calls), "-p", str(node.process.pid)],
        stderr=subprocess.PIPE,
    )
    until(lambda: f"TracerPid:\t{watch.pid}\n" in Path(f"/proc/{node.process.pid}/status").read_text(), "tracing")
    subprocess.run(command(stage, url, node, 3), check=True, timeout=120)
    watch.terminate()
    watch.communicate(timeout=20)
    assert stage.digest("out-3") == digest
    moved: Counter[str] = Counter()
    for line in calls.read_text().splitlines():
        name, _, rest = line.split(maxsplit=1)[1].partition("(")
        result = rest.rpartition(" = ")[2].split(" ")[0]
        if result.isdigit():
            moved[name] += int(result)
    assert moved.pop("sendfile") == SIZE
    assert moved.total() < MIB // 4, f"bytes of files pass through the process: {moved}"
