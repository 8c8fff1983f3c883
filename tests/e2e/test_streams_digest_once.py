"""Streams of one host with an expected digest of the file: one or two of them compute it, even if some are killed or stopped."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.scene import MIB, Scene, Supernode, scene, until

PIECE = 4 * MIB
SIZE = 80 * MIB + 4321
LIMIT = 8 * MIB

STREAM = """
import dfengine, hashlib, json, sys
url, node, home, limit, digest = sys.argv[1:]
seen, got, hashed, told = hashlib.sha256(), 0, False, False
with dfengine.stream(url, nodes=[node], ip="127.0.0.2", home=home, locallimit=int(limit), quiet=True, digest=digest) as stream:
    memory = stream._streaming.memory
    while content := stream.read(1 << 20):
        seen.update(content)
        got += len(content)
        if memory.transfer is not None and memory.transfer.digester is not None:
            hashed = True
        if got >= 20 << 20 and not told:
            told = True
            print("part", flush=True)
            sys.stdin.readline()
    counts = memory.byte_counts
    print(json.dumps({"sha256": seen.hexdigest(), "hashed": hashed, "verified": stream.verified, "host": counts.host}), flush=True)
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as found:
        yield found


@pytest.fixture
def file(stage: Scene) -> tuple[str, Supernode, str]:
    """URL, supernode, and the file's sha256."""
    digest = stage.file("f", SIZE)
    return f"{stage.origin()}/f", stage.supernode(), digest


class Stream:
    """A process that reads 20 MiB, reports it, and reads the rest on request; `joined`: wait until it has joined another download."""

    def __init__(self, stage: Scene, url: str, node: Supernode, digest: str, joined: bool = True) -> None:
        home = stage.path / "home-2"
        stage.homes.add(home)
        command = [sys.executable, "-c", STREAM, url, node.node, str(home), str(LIMIT), f"sha256:{digest}"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        stage._processes.append(self.process)
        maps = Path(f"/proc/{self.process.pid}/maps")
        until(lambda: maps.read_text().count("dfengine-signals") > joined, "a stream that has begun")

    def part(self) -> None:
        """Wait until the process has read 20 MiB."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        assert self.process.stdout.readline() == b"part\n", self.process.stderr.read().decode()

    def go_on(self) -> None:
        """Let the process read the rest."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """Wait for the end of the process; return its report."""
        out, err = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, err.decode()
        found: dict[str, Any] = json.loads(out)
        return found

    def kill(self) -> None:
        assert self.process.stdin is not None
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()


def sent(node: Supernode) -> float:
    return node.metric("dfengine_sent_bytes_total")


def started_streams(stage: Scene, file: tuple[str, Supernode, str], count: int) -> list[Stream]:
    """`count` streams that have read 20 MiB, in the order in which they joined."""
    streams = [Stream(stage, *file, joined=bool(n)) for n in range(count)]
    for each in streams:
        each.part()
    return streams


def end_all(streams: list[Stream], digest: str) -> list[dict[str, Any]]:
    for each in streams:
        each.go_on()
    found = [each.end() for each in streams]
    assert {(each["sha256"], each["verified"]) for each in found} == {(digest, True)}
    return found


def test_two_of_five_streams_hash_the_file(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    streams = started_streams(stage, file, 5)
    found = end_all(streams, file[2])
    assert [each["hashed"] for each in found] == [True, True, False, False, False]
    assert sent(file[1]) <= SIZE + 3 * PIECE


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_follower_continues_hashing_after_the_leader_is_lost(stage: Scene, file: tuple[str, Supernode, str], how: signal.Signals) -> None:
    streams = started_streams(stage, file, 4)
    lost = streams.pop(0)
    lost.process.send_signal(how)
    found = end_all(streams, file[2])
    if how == signal.SIGKILL:
        assert [each["hashed"] for each in found] == [True, False, False]
        assert sent(file[1]) <= SIZE + 9 * PIECE
    else:
        # On a busy machine a stream that does not hash may be the first to detect the stopped leader: it then reads the file again.
        assert [each["hashed"] for each in found][1:] == [False, False]
        assert sent(file[1]) <= 2 * SIZE + 9 * PIECE
    lost.kill()


def test_after_all_hashing_streams_are_killed_the_file_is_read_once_more(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    streams = started_streams(stage, file, 5)
    for _ in range(2):
        streams.pop(0).kill()
    found = end_all(streams, file[2])
    assert not any(each["hashed"] for each in found)
    assert sent(file[1]) <= 2 * SIZE + 18 * PIECE


def test_streams_take_the_digest_of_a_download_into_a_file(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    get = stage.start_get(url, "out", "--locallimit", str(LIMIT), "--digest", f"sha256:{digest}", nodes=(node,))
    until(lambda: list(stage.path.glob(".out.*.part")), "a part file")
    streams = [Stream(stage, *file) for _ in range(3)]
    for each in streams:
        each.part()
    found = end_all(streams, digest)
    assert not any(each["hashed"] for each in found)
    assert [each["host"] for each in found] == [SIZE] * 3
    stage.end(get)
    assert sent(node) <= SIZE + 3 * PIECE


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_one_stream_hashes_after_the_download_into_a_file_is_lost(
    stage: Scene, file: tuple[str, Supernode, str], how: signal.Signals
) -> None:
    url, node, digest = file
    get = stage.start_get(url, "out", "--locallimit", str(LIMIT), "--digest", f"sha256:{digest}", nodes=(node,))
    until(lambda: list(stage.path.glob(".out.*.part")), "a part file")
    streams = [Stream(stage, *file) for _ in range(2)]
    for each in streams:
        each.part()
    assert get.poll() is None, "it is slower than the streams start"
    get.send_signal(how)
    found = end_all(streams, digest)
    assert sorted(each["hashed"] for each in found) == [False, True], "one stream continues and hashes, and the other takes its digest"
    assert sent(node) <= SIZE + 10 * PIECE
    stage.kill(get)


def test_a_wrong_digest_fails_each_stream_that_expects_it(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    wrong = hashlib.sha256(b"another file").hexdigest()
    streams = [Stream(stage, url, node, digest if n == 1 else wrong, joined=bool(n)) for n in range(4)]
    for each in streams:
        each.part()
    for each in streams:
        each.go_on()
    for n, each in enumerate(streams):
        if n == 1:
            assert each.end()["verified"] is True
            continue
        _, err = each.process.communicate(timeout=120)
        assert each.process.returncode == 1
        assert "DigestMismatch" in err.decode()
