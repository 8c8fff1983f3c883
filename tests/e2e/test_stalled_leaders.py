"""A leader that runs and fetches nothing: one of its followers on the host fetches for all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.scene import MIB, Scene, Supernode, scene, until

PIECE = 4 * MIB
SIZE = 8 * PIECE
UNDER_WAY = 4 * PIECE

DOWNLOAD = """
import hashlib, json, sys
import dfengine
from dfengine.client import host_leader_client, transfer

kind, stuck, node, home, url, output = sys.argv[1:]
host_leader_client.STALLED = 10.0
jobs, real = iter(range(3 if stuck == "stuck" else 1 << 30)), transfer.Transfer.next_job

def next_job(self, prefer):
    if next(jobs, None) is None:
        print("stuck", flush=True)
        sys.stdin.readline()
    return real(self, prefer)

transfer.Transfer.next_job = next_job
given = {"nodes": [node], "home": home, "ip": "127.0.0.2", "quiet": True}
if kind == "get":
    found = dfengine.get(url, output, **given)
    host, content = found.from_host, open(output, "rb").read()
elif kind == "stream":
    with dfengine.stream(url, **given) as file:
        content = file.read()
    host = file.result.from_host
else:
    with dfengine.open(url, **given) as file:
        content = file.pread(0, file.size)
        host = file.opened()._fetching.place.byte_counts.host
print(json.dumps([hashlib.sha256(content).hexdigest(), host]), flush=True)
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as found:
        yield found


def begin(stage: Scene, node: Supernode, url: str, kind: str, name: str, stuck: str = "") -> subprocess.Popen[bytes]:
    home = stage.path / "home-2"
    stage.homes.add(home)
    command = [sys.executable, "-c", DOWNLOAD, kind, stuck, node.node, str(home), url, str(stage.path / name)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE if stuck else subprocess.DEVNULL, stdout=subprocess.PIPE)
    stage.adopt(process)
    return process


def said(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode()


@pytest.mark.parametrize(("kind", "followers"), [("get", ("stream", "get", "open")), ("stream", ("stream",) * 2), ("open", ("open",) * 2)])
def test_one_follower_of_a_stalled_leader_fetches_for_all(stage: Scene, kind: str, followers: tuple[str, ...]) -> None:
    digest, url, node = stage.file("f", SIZE), f"{stage.origin()}/f", stage.supernode()
    leader = begin(stage, node, url, kind, "out", "stuck")
    assert said(leader) == "stuck\n"
    joined = [begin(stage, node, url, each, f"out-{n}") for n, each in enumerate(followers)]
    found = [json.loads(said(each)) for each in joined]
    assert [each[0] for each in found] == [digest] * len(joined)
    assert sorted(each[1] for each in found)[1:] == [SIZE] * (len(joined) - 1), "one follower fetched the missing pieces"
    assert SIZE <= node.metric("dfengine_sent_bytes_total") <= SIZE + UNDER_WAY + SIZE // PIECE * 1000
    assert leader.stdin is not None
    leader.stdin.close()
    until(lambda: (line := said(leader)).startswith("[") and json.loads(line)[0] == digest, "the leader's own end")
    assert [each.wait(60) for each in (leader, *joined)] == [0] * (len(joined) + 1)


INTERRUPTED = """
import sys, threading
import dfengine
from dfengine.client.download_thread import DownloadThread

node, home, url = sys.argv[1:]
file = dfengine.open(url, nodes=[node], home=home, ip="127.0.0.2", quiet=True)
file.pread(0, 5)
join = threading.Thread.join

def interrupted(self, timeout=None):
    if isinstance(self, DownloadThread):
        threading.Thread.join = join
        raise KeyboardInterrupt
    return join(self, timeout)

threading.Thread.join = interrupted
try:
    file.close()
except KeyboardInterrupt:
    print("interrupted", flush=True)
sys.stdin.readline()
"""


def test_a_leader_whose_close_was_interrupted_does_not_block_others(stage: Scene) -> None:
    digest, url, node = stage.file("f", SIZE), f"{stage.origin()}/f", stage.supernode()
    home = stage.path / "home-2"
    command = [sys.executable, "-c", INTERRUPTED, node.node, str(home), url]
    leader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stage.adopt(leader)
    assert said(leader) == "interrupted\n"
    other = begin(stage, node, url, "open", "")
    assert json.loads(said(other)) == [digest, PIECE - 5], "the second file continues in the memory that the first one left"
    assert leader.stdin is not None
    leader.stdin.close()
    assert [leader.wait(60), other.wait(60)] == [0, 0]
