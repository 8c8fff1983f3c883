"""Several processes of a host stream the same file: one of them fetches it, the others copy its pieces."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.scene import MIB, Scene, Supernode, descriptors, scene, until

PIECE = 4 * MIB
SIZE = 120 * MIB + 4321
PACED = ("--locallimit", "16M")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as found:
        yield found


@pytest.fixture
def file(stage: Scene) -> tuple[str, Supernode, str]:
    """URL, supernode, and what the file's sha256 is."""
    digest = stage.file("f", SIZE)
    return f"{stage.origin()}/f", stage.supernode(), digest


class Taken:
    """What a stream delivers, read by a thread; `paused`: it is not read."""

    def __init__(self, stage: Scene, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.found: tuple[str, Any] | None = None
        self._stage = stage
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.found = self._stage.drain(self.process)

    def end(self, digest: str) -> dict[str, Any]:
        """It delivered the file; what it got from where."""
        self._thread.join()
        assert self.found is not None
        assert self.found[0] == digest
        counts: dict[str, Any] = self.found[1]["from"]
        return counts


def leads(stage: Scene, url: str, node: Supernode, *options: str) -> subprocess.Popen[bytes]:
    """A stream that has begun."""
    process = stage.start_stream(url, *PACED, *options, nodes=(node,))
    until(lambda: "dfengine-stream" in str(descriptors(process.pid)), "memory of a stream")
    return process


def joins(stage: Scene, url: str, node: Supernode, count: int) -> list[subprocess.Popen[bytes]]:
    """So many that have joined it."""
    found = [stage.start_stream(url, *PACED, nodes=(node,)) for _ in range(count)]
    for each in found:
        maps = Path(f"/proc/{each.pid}/maps")
        until(partial(lambda maps: maps.read_text().count("dfengine-signals") >= 2, maps), "a stream that has joined")
    return found


def sent(node: Supernode) -> float:
    return node.metric("dfengine_sent_bytes_total")


def test_eight_streams_fetch_once(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    leader = leads(stage, url, node)
    streams = [Taken(stage, each) for each in (leader, *joins(stage, url, node, 7))]
    found = [each.end(digest) for each in streams]
    assert sorted(each["host"] for each in found) == [0, *[SIZE] * 7]
    assert SIZE <= sent(node) <= SIZE + 3 * PIECE


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_killed_leader_hands_over(stage: Scene, file: tuple[str, Supernode, str], deaths: int) -> None:
    url, node, digest = file
    doomed = [leads(stage, url, node)]
    doomed += joins(stage, url, node, deaths - 1)
    streams = [Taken(stage, each) for each in joins(stage, url, node, 3)]
    for turn, each in enumerate(doomed):
        assert each.stdout is not None
        assert len(each.stdout.read(SIZE * (turn + 1) // 4)) == SIZE * (turn + 1) // 4
        stage.kill(each)
    found = [each.end(digest) for each in streams]
    assert sum(each["host"] > SIZE // 4 for each in found) == 3
    # What the next leader cannot have: what was under way, and what the one that is killed had in its window and nobody has.
    assert sent(node) <= SIZE + 9 * deaths * PIECE


def test_a_leader_whose_reader_ends_hands_over(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    leader = leads(stage, url, node)
    streams = [Taken(stage, each) for each in joins(stage, url, node, 2)]
    assert leader.stdout is not None
    leader.stdout.read(SIZE // 3)
    leader.stdout.close()
    for each in streams:
        each.end(digest)
    leader.wait(30)
    assert sent(node) <= SIZE + 9 * PIECE


def test_a_leader_whose_reader_pauses_keeps_nobody(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    leader = leads(stage, url, node, "--window", "4", "--cache", "0")
    streams = [Taken(stage, each) for each in joins(stage, url, node, 2)]
    for each in streams:
        each.end(digest)
    assert sent(node) <= SIZE + 9 * PIECE, "one of them leads the other"
    Taken(stage, leader).end(digest)


def test_one_that_comes_too_late_for_the_beginning_goes_alone(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    leader = leads(stage, url, node, "--window", "4", "--cache", "0")
    assert leader.stdout is not None
    begun = leader.stdout.read(SIZE // 2)
    late = Taken(stage, joins(stage, url, node, 1)[0])
    assert late.end(digest)["host"] == 0
    assert stage.drain(leader, so_far=begun)[0] == digest


def test_a_stopped_leader_keeps_nobody(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    leader = leads(stage, url, node)
    streams = [Taken(stage, each) for each in joins(stage, url, node, 3)]
    assert leader.stdout is not None
    begun = leader.stdout.read(SIZE // 4)
    leader.send_signal(signal.SIGSTOP)
    found = [each.end(digest) for each in streams]
    assert sorted(each["host"] == SIZE for each in found) == [False, True, True]
    assert sent(node) <= SIZE + 9 * PIECE
    leader.send_signal(signal.SIGCONT)
    assert stage.drain(leader, so_far=begun)[0] == digest


def test_the_peer_server_killed(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    leader = leads(stage, url, node)
    streams = [Taken(stage, each) for each in (leader, *joins(stage, url, node, 2))]
    os.kill(stage.peer_pid(), signal.SIGKILL)
    (stage.path / "home-2" / "peer.lock").write_text("")
    for each in streams:
        each.end(digest)
    assert sent(node) <= SIZE + 3 * PIECE
