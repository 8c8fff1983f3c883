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
    """URL, supernode, and the file's sha256."""
    digest = stage.file("f", SIZE)
    return f"{stage.origin()}/f", stage.supernode(), digest


class StreamReader:
    """Reads a stream by a thread, up to its end."""

    def __init__(self, stage: Scene, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.found: tuple[str, Any] | None = None
        self._stage = stage
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.found = self._stage.drain(self.process)

    def end(self, digest: str) -> dict[str, Any]:
        """Check that the stream delivered the file; return its bytes per source."""
        self._thread.join()
        assert self.found is not None
        assert self.found[0] == digest
        counts: dict[str, Any] = self.found[1]["from"]
        return counts


def start_leader(stage: Scene, url: str, node: Supernode, *options: str) -> subprocess.Popen[bytes]:
    """Start a stream that leads; return once it has begun."""
    process = stage.start_stream(url, *PACED, *options, nodes=(node,))
    until(lambda: "dfengine-stream" in str(descriptors(process.pid)), "the memory of the stream")
    return process


def start_followers(stage: Scene, url: str, node: Supernode, count: int) -> list[subprocess.Popen[bytes]]:
    """Start `count` streams; return once all have joined the leader."""
    found = [stage.start_stream(url, *PACED, nodes=(node,)) for _ in range(count)]
    for each in found:
        maps = Path(f"/proc/{each.pid}/maps")
        until(partial(lambda maps: maps.read_text().count("dfengine-signals") >= 2, maps), "a stream that has joined")
    return found


def sent(node: Supernode) -> float:
    return node.metric("dfengine_sent_bytes_total")


def test_eight_streams_of_a_host_fetch_the_file_once(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    leader = start_leader(stage, url, node)
    streams = [StreamReader(stage, each) for each in (leader, *start_followers(stage, url, node, 7))]
    found = [each.end(digest) for each in streams]
    assert sorted(each["host"] for each in found) == [0, *[SIZE] * 7]
    assert SIZE <= sent(node) <= SIZE + 3 * PIECE


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_follower_continues_after_the_leading_stream_is_killed(stage: Scene, file: tuple[str, Supernode, str], deaths: int) -> None:
    url, node, digest = file
    doomed = [start_leader(stage, url, node)]
    doomed += start_followers(stage, url, node, deaths - 1)
    streams = [StreamReader(stage, each) for each in start_followers(stage, url, node, 3)]
    for turn, each in enumerate(doomed):
        assert each.stdout is not None
        assert len(each.stdout.read(SIZE * (turn + 1) // 4)) == SIZE * (turn + 1) // 4
        stage.kill(each)
    found = [each.end(digest) for each in streams]
    assert sum(each["host"] > SIZE // 4 for each in found) == 3
    # The next leader fetches again the pieces in flight, and those that only the killed leader had, in its window.
    assert sent(node) <= SIZE + 9 * deaths * PIECE


def test_a_follower_continues_after_the_leading_streams_reader_ends(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    leader = start_leader(stage, url, node)
    streams = [StreamReader(stage, each) for each in start_followers(stage, url, node, 2)]
    assert leader.stdout is not None
    leader.stdout.read(SIZE // 3)
    leader.stdout.close()
    for each in streams:
        each.end(digest)
    leader.wait(30)
    assert sent(node) <= SIZE + 9 * PIECE


def test_a_leader_whose_reader_pauses_does_not_block_its_followers(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    leader = start_leader(stage, url, node, "--window", "4", "--cache", "0")
    streams = [StreamReader(stage, each) for each in start_followers(stage, url, node, 2)]
    for each in streams:
        each.end(digest)
    assert sent(node) <= SIZE + 9 * PIECE, "one of the two streams leads the other"
    StreamReader(stage, leader).end(digest)


def test_a_stream_that_joins_after_the_first_pieces_are_evicted_fetches_alone(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    leader = start_leader(stage, url, node, "--window", "4", "--cache", "0")
    assert leader.stdout is not None
    begun = leader.stdout.read(SIZE // 2)
    late = StreamReader(stage, start_followers(stage, url, node, 1)[0])
    assert late.end(digest)["host"] == 0
    assert stage.drain(leader, so_far=begun)[0] == digest


def test_a_stopped_leader_does_not_block_its_followers(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    leader = start_leader(stage, url, node)
    streams = [StreamReader(stage, each) for each in start_followers(stage, url, node, 3)]
    assert leader.stdout is not None
    begun = leader.stdout.read(SIZE // 4)
    leader.send_signal(signal.SIGSTOP)
    found = [each.end(digest) for each in streams]
    assert sorted(each["host"] == SIZE for each in found) == [False, True, True]
    assert sent(node) <= SIZE + 9 * PIECE
    leader.send_signal(signal.SIGCONT)
    assert stage.drain(leader, so_far=begun)[0] == digest


def test_streams_continue_after_the_peer_server_is_killed(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    leader = start_leader(stage, url, node)
    streams = [StreamReader(stage, each) for each in (leader, *start_followers(stage, url, node, 2))]
    os.kill(stage.peer_pid(), signal.SIGKILL)
    (stage.path / "home-2" / "peer.lock").write_text("")
    for each in streams:
        each.end(digest)
    assert sent(node) <= SIZE + 3 * PIECE
