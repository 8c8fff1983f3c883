"""Several processes of a host open the same file: one of them fetches it, and all read the same pages."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scene import MIB, Scene, Supernode, scene, until

PIECE = 4 * MIB
SIZE = 100 * MIB + 12345
LIMIT = 24 * MIB

READER = """
import dfengine, hashlib, json, sys
url, node, ip, home, limit, start = sys.argv[1:]
with dfengine.open(url, nodes=[node], ip=ip, home=home, locallimit=int(limit), quiet=True) as file:
    digest, size, at = hashlib.sha256(), file.size, 0
    print("opened", flush=True)
    if start == "back":
        for offset in range(size - 1, -1, -(1 << 20)):
            assert len(file.pread(max(0, offset - 99), 100)) == min(100, offset + 1)
    while at < size:
        content = file.pread(at, 1 << 20)
        digest.update(content)
        at += len(content)
    counts = file.opened()._fetching.place.byte_counts
    fetched = counts.peers + counts.supernode + counts.origin
    print(json.dumps({"sha256": digest.hexdigest(), "host": counts.host, "fetched": fetched}), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as found:
        yield found


class Reader:
    """A process that opens the file, says so, reads all of it, says how that went, and keeps it open until it is told to end."""

    def __init__(self, stage: Scene, url: str, node: Supernode, start: str = "") -> None:
        home = stage.path / "home-2"
        stage.homes.add(home)
        command = [sys.executable, "-c", READER, url, node.node, "127.0.0.2", str(home), str(LIMIT), start]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        stage._processes.append(self.process)

    def line(self) -> str:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        return self.process.stdout.readline().decode() or self.process.stderr.read().decode()

    def opened(self) -> None:
        assert self.line() == "opened\n"

    def read(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.line())
        return found

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0

    def kill(self) -> None:
        assert self.process.stdin is not None
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()


def memory(readers: list[Reader]) -> int:
    """Bytes of the files' memory that these processes have, each memory counted once."""
    found = {}
    for reader in readers:
        folder = f"/proc/{reader.process.pid}/fd"
        for fd in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if "dfengine-file" in os.readlink(f"{folder}/{fd}"):
                    state = os.stat(f"{folder}/{fd}")
                    found[state.st_ino] = state.st_blocks * 512
    return sum(found.values())


def sent(node: Supernode) -> float:
    return node.metric("dfengine_sent_bytes_total")


@pytest.fixture
def file(stage: Scene) -> tuple[str, Supernode, str]:
    """URL, supernode, and what the file's sha256 is."""
    digest = stage.file("f", SIZE)
    return f"{stage.origin()}/f", stage.supernode(), digest


def test_eight_processes_read_one_memory(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    readers = [Reader(stage, url, node, "back" if n % 2 else "") for n in range(8)]
    for reader in readers:
        reader.opened()
    found = [reader.read() for reader in readers]
    assert {each["sha256"] for each in found} == {digest}
    assert sorted(each["host"] for each in found) == [0, *[SIZE] * 7]
    assert SIZE <= sent(node) <= SIZE + PIECE + 100_000
    assert SIZE <= memory(readers) <= SIZE + PIECE
    assert node.metric("dragonfly_supernode_dfgettasks_registered_total") == 1
    for reader in readers:
        reader.end()


def test_one_that_comes_when_all_is_here_fetches_nothing(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    first = Reader(stage, url, node)
    first.opened()
    assert first.read()["sha256"] == digest
    before = sent(node)
    second = Reader(stage, url, node)
    second.opened()
    assert second.read() == {"sha256": digest, "host": SIZE, "fetched": 0}
    first.end()
    second.end()
    assert sent(node) == before


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_killed_leader_hands_over_its_memory(stage: Scene, file: tuple[str, Supernode, str], deaths: int) -> None:
    url, node, digest = file
    readers = []
    for _ in range(4):
        readers.append(Reader(stage, url, node))
        readers[-1].opened()
    for death in range(deaths):
        until(lambda death=death: memory(readers) >= SIZE * (death + 1) // 4, "a part of the file")
        readers.pop(0).kill()
    found = [reader.read() for reader in readers]
    assert {each["sha256"] for each in found} == {digest}
    assert sorted(each["host"] == SIZE for each in found) == [False, *[True] * (3 - deaths)]
    assert sent(node) <= SIZE + 9 * deaths * PIECE
    assert memory(readers) <= SIZE + PIECE
    for reader in readers:
        reader.end()


def test_a_leader_that_closes_hands_over(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    first, second = Reader(stage, url, node), None
    first.opened()
    assert first.read()["sha256"] == digest
    second = Reader(stage, url, node)
    second.opened()
    first.end()
    assert second.read()["sha256"] == digest
    third = Reader(stage, url, node)
    third.opened()
    assert third.read()["sha256"] == digest
    second.end()
    third.end()


def test_a_stopped_leader_keeps_nobody(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    readers = []
    for _ in range(3):
        readers.append(Reader(stage, url, node))
        readers[-1].opened()
    until(lambda: memory(readers) >= SIZE // 4, "a part of the file")
    os.kill(readers[0].process.pid, signal.SIGSTOP)
    found = [reader.read() for reader in readers[1:]]
    os.kill(readers[0].process.pid, signal.SIGCONT)
    found.append(readers[0].read())
    assert {each["sha256"] for each in found} == {digest}
    for reader in readers:
        reader.end()


def test_the_peer_server_killed(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    readers = []
    for _ in range(3):
        readers.append(Reader(stage, url, node))
        readers[-1].opened()
    os.kill(stage.peer_pid(), signal.SIGKILL)
    (stage.path / "home-2" / "peer.lock").write_text("")
    assert {reader.read()["sha256"] for reader in readers} == {digest}
    assert sent(node) <= SIZE + PIECE + 100_000
    for reader in readers:
        reader.end()
    assert hashlib.sha256((stage.www / "f").read_bytes()).hexdigest() == digest
