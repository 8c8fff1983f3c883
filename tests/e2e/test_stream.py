"""Streams on real input: every shape and window, hybrid swarms, and what happens when parties die in the middle."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import dfengine
from dfengine.errors import OriginChanged
from tests.e2e.scene import MIB, Scene, until
from tests.e2e.test_legacy_client import LegacyClient

PIECE = 4 * MIB - 5
SHAPES = [0, 1, PIECE, PIECE + 1, 7 * PIECE + 12345]


def took(process: subprocess.Popen[bytes], count: int) -> bytes:
    """Read some bytes of a stream."""
    assert process.stdout is not None
    parts = []
    while count and (block := process.stdout.read(min(count, MIB))):
        parts.append(block)
        count -= len(block)
    return b"".join(parts)


@pytest.mark.parametrize("path", ["/f", "/chunked/f"])
def test_every_shape_and_window(stage: Scene, path: str) -> None:
    """From the supernode and from a peer; the last one serves from memory what the first ones left."""
    stage_url = stage.origin()
    node = stage.supernode()
    for size in SHAPES:
        digest = stage.file("f", size)
        url = f"{stage_url}{path}?{size}"
        for host, window in ((2, "1"), (3, "2"), (4, "5"), (5, "64"), (6, "9M")):
            got, result = stage.drain(stage.start_stream(url, "--window", window, host=host, nodes=(node,)))
            assert got == digest
            assert (result["length"], result["output"], result["back_to_source"]) == (size, "-", None)
            assert sum(result["from"].values()) == size
        assert result["from"]["peers"] == size, "cached pieces are served by who streamed before"


def test_without_a_supernode(stage: Scene) -> None:
    base = stage.origin()
    digest = stage.file("f", 7 * PIECE + 5)
    for path in ("/f", "/noranges/f", "/chunked/f"):
        got, result = stage.drain(stage.start_stream(base + path, "--window", "2", "--digest", f"sha256:{digest}"))
        assert got == digest
        assert result["from"]["origin"] == 7 * PIECE + 5


def test_a_file_a_hundred_times_its_window(stage: Scene) -> None:
    """500 pieces through a window of 5, and neither window nor cache is ever exceeded.

    Of unknown length, since a file of known length would come in larger pieces, and fewer.
    """
    size = 499 * PIECE + 77
    path = stage.www / "long"
    with path.open("wb") as out:
        out.truncate(size)
        for n in range(500):
            out.seek(n * PIECE + n % 60)
            out.write(f"piece {n}".encode())
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    node = stage.supernode()
    process = stage.start_stream(stage.origin() + "/chunked/long", "--window", "5", "--cache", "32M", nodes=(node,))
    most = 0

    def watch() -> None:
        nonlocal most
        while process.poll() is None:
            taken = 0
            for fd in Path(f"/proc/{process.pid}/fd").glob("*"):
                try:
                    if "dfengine-stream" in os.readlink(fd):
                        taken += os.stat(fd).st_blocks * 512
                except OSError:
                    continue
            most = max(most, taken)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    got, result = stage.drain(process)
    watcher.join()
    assert got == digest
    assert result["length"] == size
    assert 0 < most <= 5 * 4 * MIB + 32 * MIB


def test_streams_and_files_in_one_swarm_feed_each_other(stage: Scene) -> None:
    digest = stage.file("f", 30 * PIECE)
    url = stage.origin(slow="40m") + "/slow/f"
    node = stage.supernode()
    files = [stage.start_get(url, f"out{host}", host=host, nodes=(node,)) for host in (2, 3)]
    streams = [stage.start_stream(url, "--window", "8", host=host, nodes=(node,)) for host in (4, 5, 6)]
    outcomes: dict[int, tuple[str, Any]] = {}
    readers = [
        threading.Thread(target=lambda at=at, process=process: outcomes.__setitem__(at, stage.drain(process)))
        for at, process in enumerate(streams)
    ]
    for reader in readers:
        reader.start()
    results = [stage.end(process) for process in files]
    for reader in readers:
        reader.join()
    assert {stage.digest("out2"), stage.digest("out3"), *(outcomes[at][0] for at in range(3))} == {digest}
    results += [outcomes[at][1] for at in range(3)]
    assert sum(result["from"]["peers"] for result in results) > 0
    assert all(result["back_to_source"] is None for result in results)
    stage.check_read_once("/slow/f", 30 * PIECE, node)
    # Who comes later is served from files and from streams' memory alike.
    got, late = stage.drain(stage.start_stream(url, host=7, nodes=(node,)))
    assert got == digest
    assert late["from"]["supernode"] == 0


def test_a_stream_alone_serves_a_file_from_its_memory_and_writes_none(stage: Scene) -> None:
    size = 12 * PIECE
    digest = stage.file("f", size)
    url = stage.origin() + "/f"
    node = stage.supernode()
    got, _ = stage.drain(stage.start_stream(url, nodes=(node,)))
    assert got == digest
    held = {path.name for path in (stage.path / "home-2").rglob("*") if path.is_file() and path.stat().st_size > 4096}
    assert held == set()
    result = stage.get(url, "out", host=3, nodes=(node,))
    assert result["from"] == {"peers": size, "supernode": 0, "origin": 0, "host": 0, "resumed": 0}
    assert stage.digest("out") == digest


def test_a_1x_client_is_served_from_a_streams_memory(stage: Scene) -> None:
    size = 9 * PIECE + 17
    digest = stage.file("f", size)
    url = stage.origin() + "/f"
    node = stage.supernode()
    stage.drain(stage.start_stream(url, nodes=(node,)))
    stage.peer_pid(2)
    client = LegacyClient(node, url, "127.0.0.1")
    assert hashlib.sha256(client.download()).hexdigest() == digest
    assert {cid.partition("-")[0] for cid in client.sources.values()} >= {"127.0.0.2"}


def test_a_consumer_that_pauses_stops_the_download_and_goes_on(stage: Scene) -> None:
    digest = stage.file("f", 40 * PIECE)
    node = stage.supernode()
    process = stage.start_stream(stage.origin() + "/f", "--window", "3", "--cache", "0", nodes=(node,))
    begun = took(process, 100_000)

    def at_rest() -> bool:
        before = stage_sent()
        time.sleep(0.5)
        return before == stage_sent() > 0

    def stage_sent() -> float:
        return node.metric("dfengine_sent_bytes_total")

    until(at_rest, "the download to stop")
    assert stage_sent() <= 6 * 4 * MIB, "no more than window and pipe hold"
    got, result = stage.drain(process, so_far=begun)
    assert got == digest
    assert result["from"]["supernode"] == 40 * PIECE


def test_a_consumer_that_goes_away_ends_it_quietly(stage: Scene) -> None:
    stage.file("f", 40 * PIECE)
    node = stage.supernode()
    process = stage.start_stream(stage.origin() + "/f", "--window", "3", nodes=(node,))
    assert len(took(process, 1000)) == 1000
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(20) == 23
    assert process.stderr.read() == b""


class TestParties:
    """A party dies while a stream runs: not a byte is lost, repeated or wrong."""

    size = 40 * PIECE

    def begin(self, stage: Scene, *nodes: Any, window: str = "4", digest: str = "") -> tuple[subprocess.Popen[bytes], bytes, str]:
        """digest: of the file, where it is there; written again it would be another version."""
        digest = digest or stage.file("f", self.size)
        process = stage.start_stream(stage.origin() + "/f", "--window", window, host=9, nodes=nodes)
        return process, took(process, 5 * PIECE + 1), digest

    def test_the_peer_that_serves_it(self, stage: Scene) -> None:
        digest = stage.file("f", self.size)
        node = stage.supernode()
        stage.get(stage.origin() + "/f", "out", host=2, nodes=(node,))
        peer = stage.peer_pid(2)
        process, begun, _ = self.begin(stage, node, digest=digest)
        os.kill(peer, 9)
        (stage.path / "home-2" / "peer.lock").write_text("")
        got, result = stage.drain(process, so_far=begun)
        assert got == digest
        assert result["from"]["peers"] > 0
        assert result["back_to_source"] is None

    def test_the_supernode_which_comes_back(self, stage: Scene) -> None:
        node = stage.supernode()
        process, begun, digest = self.begin(stage, node)
        stage.kill(node.process)
        port, download = (int(address.rpartition(":")[2]) for address in (node.node, node.download))
        stage.supernode(home=node.home, port=port, download_port=download)
        got, result = stage.drain(process, so_far=begun)
        assert got == digest
        assert result["back_to_source"] is None

    def test_the_supernode_whose_place_another_takes(self, stage: Scene) -> None:
        nodes = stage.supernode(), stage.supernode()
        process, begun, digest = self.begin(stage, *nodes)
        # Which of them it went to, the task decides.
        used = max(nodes, key=lambda node: node.metric("dfengine_sent_bytes_total"))
        stage.kill(used.process)
        got, result = stage.drain(process, so_far=begun)
        assert got == digest
        assert result["back_to_source"] is None

    def test_the_only_supernode_and_the_origin_takes_over(self, stage: Scene) -> None:
        node = stage.supernode()
        process, begun, digest = self.begin(stage, node)
        stage.kill(node.process)
        got, result = stage.drain(process, so_far=begun)
        assert got == digest
        assert result["back_to_source"]
        assert result["from"]["origin"] > 0

    @pytest.mark.parametrize("path", ["/f", "/noranges/f"])
    def test_the_origin_cuts_its_answers(self, stage: Scene, path: str) -> None:
        digest = stage.file("f", self.size)
        process = stage.start_stream(stage.origin() + path, "--window", "3", host=9)
        begun = took(process, 5 * PIECE + 1)
        for worker in Path(f"/proc/{stage.nginx.pid}/task/{stage.nginx.pid}/children").read_text().split():
            os.kill(int(worker), 9)  # the master starts another
        got, result = stage.drain(process, so_far=begun)
        assert got == digest
        assert result["from"]["origin"] == self.size

    def test_everybody(self, stage: Scene) -> None:
        node = stage.supernode()
        process, begun, _ = self.begin(stage, node)
        stage.kill(node.process)
        stage.nginx.terminate()  # its workers too
        stage.nginx.wait()
        assert process.stdout is not None
        delivered = len(begun)
        while block := process.stdout.read(MIB):
            delivered += len(block)
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert process.wait(20) in (3, 4)
        assert f"({delivered} bytes were delivered)" in said or delivered % PIECE, said


def test_a_wrong_digest_is_told_at_the_end(stage: Scene) -> None:
    size = 3 * PIECE
    stage.file("f", size)
    node = stage.supernode()
    process = stage.start_stream(stage.origin() + "/f", "--digest", "sha256:" + "0" * 64, nodes=(node,))
    _, said = stage.drain(process, status=5)
    assert f"({size} bytes were delivered)" in said


def test_another_version_while_the_consumer_has_a_part_of_the_first_piece(stage: Scene) -> None:
    """What it has of the old one is not followed by the new one: it gets the pieces of the old one that are here, and an error."""
    size = 10 * PIECE
    stage.file("f", size)
    old = (stage.www / "f").read_bytes()
    url, node = stage.origin() + "/f", stage.supernode("--revalidate-interval", "0")
    settings: dict[str, Any] = {"nodes": [node.node], "window": 8, "locallimit": "1500K", "quiet": True}

    def rest() -> None:
        while block := reader.read(MIB):
            read.extend(block)

    process = stage.start_stream(url, "--window", "8", "--locallimit", "1500K", host=4, nodes=(node,))
    stage.homes.add(stage.path / "home-5")
    with dfengine.stream(url, ip="127.0.0.5", home=str(stage.path / "home-5"), **settings) as reader:
        begun, read = took(process, 1000), bytearray(reader.read(1000) or b"")
        stage.file("f", size, seed=1)
        os.utime(stage.www / "f", (1, 1))
        stage.get(url, "out", host=3, nodes=(node,))
        until(lambda: node.metric("dragonfly_supernode_dfgettasks_registered_total") >= 5, "both have registered anew")
        with pytest.raises(OriginChanged):
            rest()
    assert read == old[: len(read)]
    assert len(read) < size
    assert process.stdout is not None
    begun += process.stdout.read()
    assert begun == old[: len(begun)]
    assert process.wait(60) == 4


def test_for_programs(stage: Scene) -> None:
    size = 5 * PIECE + 9
    digest = stage.file("f", size)
    url = stage.origin() + "/f"
    node = stage.supernode()
    stage.get(url, "out", nodes=(node,))  # the host's peer server runs already, and is nobody's child here
    settings: dict[str, Any] = {"nodes": [node.node], "ip": "127.0.0.2", "home": str(stage.path / "home-2"), "window": 2}
    with dfengine.stream(url, **settings) as reader:
        assert hashlib.file_digest(reader, "sha256").hexdigest() == digest
        assert reader.result is not None
        assert reader.result.length == size

    async def whole() -> str:
        found = hashlib.sha256()
        with dfengine.stream(url, **settings) as reader:
            async for content in reader:
                found.update(content)
        return found.hexdigest()

    assert asyncio.run(whole()) == digest
    with dfengine.stream(url, **settings) as reader:
        assert len(reader.read(10) or b"") == 10
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("fetch-", "stream", "digest"))]
