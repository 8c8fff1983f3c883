"""Streams of real files: every size and window, swarms of streams and files, and parties that die in the middle."""

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


def read_bytes(process: subprocess.Popen[bytes], count: int) -> bytes:
    """Read some bytes of a stream."""
    assert process.stdout is not None
    parts = []
    while count and (block := process.stdout.read(min(count, MIB))):
        parts.append(block)
        count -= len(block)
    return b"".join(parts)


@pytest.mark.parametrize("path", ["/f", "/chunked/f"])
def test_streams_of_every_size_and_window(stage: Scene, path: str) -> None:
    """From the supernode and from peers, which serve the pieces in their memory."""
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
        assert result["from"]["peers"] == size, "earlier streams serve their cached pieces"


def test_streams_without_a_supernode_read_the_origin(stage: Scene) -> None:
    base = stage.origin()
    digest = stage.file("f", 7 * PIECE + 5)
    for path in ("/f", "/noranges/f", "/chunked/f"):
        got, result = stage.drain(stage.start_stream(base + path, "--window", "2", "--digest", f"sha256:{digest}"))
        assert got == digest
        assert result["from"]["origin"] == 7 * PIECE + 5


def test_a_file_a_hundred_times_its_window_stays_within_window_and_cache(stage: Scene) -> None:
    """500 pieces through a window of 5 exceed neither window nor cache.

    The length is unknown, since a file of known length would have larger and fewer pieces.
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


def test_streams_and_files_in_one_swarm_serve_each_other(stage: Scene) -> None:
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
    # A later stream is served from files and from streams' memory.
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
    until(lambda: not node.metric("dfengine_unproved_peers"), "the proof of the address of the stream's peer server")
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


def test_a_paused_consumer_pauses_the_download_until_it_reads_again(stage: Scene) -> None:
    digest = stage.file("f", 40 * PIECE)
    node = stage.supernode()
    process = stage.start_stream(stage.origin() + "/f", "--window", "3", "--cache", "0", nodes=(node,))
    begun = read_bytes(process, 100_000)

    def at_rest() -> bool:
        before = stage_sent()
        time.sleep(0.5)
        return before == stage_sent() > 0

    def stage_sent() -> float:
        return node.metric("dfengine_sent_bytes_total")

    until(at_rest, "the pause of the download")
    assert stage_sent() <= 6 * 4 * MIB, "no more bytes than window and pipe take"
    got, result = stage.drain(process, so_far=begun)
    assert got == digest
    assert result["from"]["supernode"] == 40 * PIECE


def test_a_closed_pipe_ends_a_stream_with_23_and_no_message(stage: Scene) -> None:
    stage.file("f", 40 * PIECE)
    node = stage.supernode()
    process = stage.start_stream(stage.origin() + "/f", "--window", "3", nodes=(node,))
    assert len(read_bytes(process, 1000)) == 1000
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(20) == 23
    assert process.stderr.read() == b""


class TestPartiesThatDie:
    """A party dies while a stream runs: no byte is lost, repeated or wrong."""

    size = 40 * PIECE

    def begin(self, stage: Scene, *nodes: Any, window: str = "4", digest: str = "") -> tuple[subprocess.Popen[bytes], bytes, str]:
        """Start a stream and read from it. digest: of an existing file, which must not be written again: that would be another version."""
        digest = digest or stage.file("f", self.size)
        process = stage.start_stream(stage.origin() + "/f", "--window", window, host=9, nodes=nodes)
        return process, read_bytes(process, 5 * PIECE + 1), digest

    def test_a_stream_continues_after_its_serving_peer_is_killed(self, stage: Scene) -> None:
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

    def test_a_stream_continues_after_its_supernode_is_restarted(self, stage: Scene) -> None:
        node = stage.supernode()
        process, begun, digest = self.begin(stage, node)
        stage.kill(node.process)
        port, download = (int(address.rpartition(":")[2]) for address in (node.node, node.download))
        stage.supernode(home=node.home, port=port, download_port=download)
        got, result = stage.drain(process, so_far=begun)
        assert got == digest
        assert result["back_to_source"] is None

    def test_a_stream_continues_from_another_supernode(self, stage: Scene) -> None:
        nodes = stage.supernode(), stage.supernode()
        process, begun, digest = self.begin(stage, *nodes)
        # The task's id decides which of them the stream uses.
        used = max(nodes, key=lambda node: node.metric("dfengine_sent_bytes_total"))
        stage.kill(used.process)
        got, result = stage.drain(process, so_far=begun)
        assert got == digest
        assert result["back_to_source"] is None

    def test_a_stream_continues_from_the_origin_after_its_only_supernode_is_killed(self, stage: Scene) -> None:
        node = stage.supernode()
        process, begun, digest = self.begin(stage, node)
        stage.kill(node.process)
        got, result = stage.drain(process, so_far=begun)
        assert got == digest
        assert result["back_to_source"]
        assert result["from"]["origin"] > 0

    @pytest.mark.parametrize("path", ["/f", "/noranges/f"])
    def test_a_stream_continues_after_the_origin_cuts_its_responses(self, stage: Scene, path: str) -> None:
        digest = stage.file("f", self.size)
        process = stage.start_stream(stage.origin() + path, "--window", "3", host=9)
        begun = read_bytes(process, 5 * PIECE + 1)
        for worker in Path(f"/proc/{stage.nginx.pid}/task/{stage.nginx.pid}/children").read_text().split():
            os.kill(int(worker), 9)  # nginx's master starts another
        got, result = stage.drain(process, so_far=begun)
        assert got == digest
        assert result["from"]["origin"] == self.size

    def test_a_stream_whose_supernode_and_origin_end_fails_with_the_bytes_delivered(self, stage: Scene) -> None:
        node = stage.supernode()
        process, begun, _ = self.begin(stage, node)
        stage.kill(node.process)
        stage.nginx.terminate()  # and its workers
        stage.nginx.wait()
        assert process.stdout is not None
        delivered = len(begun)
        while block := process.stdout.read(MIB):
            delivered += len(block)
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert process.wait(20) in (3, 4)
        assert f"({delivered} bytes were delivered)" in said, said


def test_a_wrong_digest_fails_a_stream_at_its_end(stage: Scene) -> None:
    size = 3 * PIECE
    stage.file("f", size)
    node = stage.supernode()
    process = stage.start_stream(stage.origin() + "/f", "--digest", "sha256:" + "0" * 64, nodes=(node,))
    _, said = stage.drain(process, status=5)
    assert f"({size} bytes were delivered)" in said


def test_a_changed_file_ends_a_stream_with_pieces_of_the_old_version_only(stage: Scene) -> None:
    """The consumer has a part of the old version: it receives the old pieces that are in memory, then an error, and no new bytes."""
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
        begun, read = read_bytes(process, 1000), bytearray(reader.read(1000) or b"")
        stage.file("f", size, seed=1)
        os.utime(stage.www / "f", (1, 1))
        stage.get(url, "out", host=3, nodes=(node,))
        until(lambda: node.metric("dragonfly_supernode_dfgettasks_registered_total") >= 5, "another registration of both streams")
        with pytest.raises(OriginChanged):
            rest()
    assert read == old[: len(read)]
    assert len(read) < size
    assert process.stdout is not None
    begun += process.stdout.read()
    assert begun == old[: len(begun)]
    assert process.wait(60) == 4


def test_streams_of_programs_are_readable_and_iterable_and_leave_no_threads(stage: Scene) -> None:
    size = 5 * PIECE + 9
    digest = stage.file("f", size)
    url = stage.origin() + "/f"
    node = stage.supernode()
    stage.get(url, "out", nodes=(node,))  # the host's peer server runs already, and is no child of this process
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
