"""Streams and open files that join a download into a file on their host: the download fetches, and they copy its pieces."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.readers import Reader, memory
from tests.e2e.scene import MIB, Scene, Supernode, descriptors, scene, until

PIECE = 4 * MIB
SIZE = 100 * MIB + 12345
LIMIT = 12 * MIB
PACED = ("--locallimit", "12M")
UNDER_WAY = 8 * PIECE
"""Bytes that four threads may have in flight, two pieces each."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as found:
        yield found
    left = [str(path) for path in tmp_path.rglob("*") if path.name.endswith((".part", ".record")) and "supernode" not in str(path)]
    assert not left, "part files and records are left behind"


@pytest.fixture
def file(stage: Scene) -> tuple[str, Supernode, str]:
    """URL, supernode, and the file's sha256."""
    digest = stage.file("f", SIZE)
    return f"{stage.origin()}/f", stage.supernode(), digest


def sent(node: Supernode) -> float:
    return node.metric("dfengine_sent_bytes_total")


def part(stage: Scene, name: str) -> Path | None:
    return next((path for path in stage.path.glob(f".{name}.*.part")), None)


def wait_for_bytes(stage: Scene, name: str, size: int) -> None:
    """Wait until the output's part file has `size` bytes."""

    def enough() -> bool:
        found = part(stage, name)
        return found is not None and found.stat().st_blocks * 512 >= size

    until(enough, f"{size} bytes of {name}")


def start_leader(stage: Scene, url: str, node: Supernode, name: str = "out") -> subprocess.Popen[bytes]:
    """Start a download into a file; return once it has begun."""
    process = stage.start_get(url, name, *PACED, nodes=(node,))
    wait_for_bytes(stage, name, 1)
    return process


def wait_until_joined(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """Wait until the process has joined a leader: it has mapped that one's page of signals beside its own."""
    until(lambda: Path(f"/proc/{process.pid}/maps").read_text().count("dfengine-signals") >= 2, "a download that has joined")
    return process


def start_reader(stage: Scene, url: str, node: Supernode, start: str = "", store: str = "memory", digest: str = "") -> Reader:
    """Open a file; return once it has joined a leader."""
    found = Reader(stage, url, node, start, store, LIMIT, digest)
    wait_until_joined(found.process)
    return found


def start_stream(stage: Scene, url: str, node: Supernode, *more: str) -> subprocess.Popen[bytes]:
    return wait_until_joined(stage.start_stream(url, *PACED, *more, nodes=(node,)))


def end_all(readers: list[Reader]) -> None:
    """Let the readers close their file and end."""
    for reader in readers:
        reader.end()


def assert_descriptors_are_closed(stage: Scene) -> None:
    """The peer server has closed the descriptors of ended downloads, except for registered memory, which it serves until it expires."""
    pid = stage.peer_pid()
    until(lambda: not [name for name in descriptors(pid) if "signals" in name or ".part" in name], "the close of their descriptors")


def test_streams_and_open_files_join_a_download_into_a_file(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    get = start_leader(stage, url, node)
    stream = start_stream(stage, url, node)
    readers = [start_reader(stage, url, node, start) for start in ("", "back", "")]
    delivered, told = stage.drain(stream)
    assert delivered == digest
    assert told["from"]["host"] == SIZE
    for reader in readers:
        reader.opened()
        assert reader.read() == {"sha256": digest, "host": SIZE, "fetched": 0}
    assert SIZE <= memory(readers) <= SIZE + PIECE
    assert stage.end(get)["from"]["host"] == 0
    assert stage.digest("out") == digest
    assert SIZE <= sent(node) <= SIZE + PIECE + 100_000
    end_all(readers)
    assert_descriptors_are_closed(stage)


@pytest.mark.parametrize("window", [1, 2])
def test_a_stream_with_a_small_window_copies_all_pieces_of_a_download(stage: Scene, file: tuple[str, Supernode, str], window: int) -> None:
    url, node, digest = file
    get = start_leader(stage, url, node)
    delivered, told = stage.drain(start_stream(stage, url, node, "--window", str(window)))
    assert delivered == digest
    assert told["from"]["host"] == SIZE
    stage.end(get)
    assert_descriptors_are_closed(stage)


def test_a_piece_that_an_open_file_reads_at_the_end_is_fetched_first(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    get = start_leader(stage, url, node)
    reader = start_reader(stage, url, node, "one")
    reader.opened()
    assert reader.line().strip() == hashlib.sha256((stage.www / "f").read_bytes()[-1000:]).hexdigest()
    assert get.poll() is None, "the read does not wait for the whole file"
    reader.go_on()
    assert reader.read() == {"sha256": digest, "host": SIZE, "fetched": 0}
    stage.end(get)
    assert sent(node) <= SIZE + PIECE + 100_000
    end_all([reader])


@pytest.mark.parametrize("tenths", [0, 3, 6])
def test_a_killed_download_leaves_one_leader_of_open_files_and_one_of_streams(
    stage: Scene, file: tuple[str, Supernode, str], tenths: int
) -> None:
    url, node, digest = file
    get = start_leader(stage, url, node)
    stream = start_stream(stage, url, node)
    readers = [start_reader(stage, url, node, start) for start in ("", "back")]
    wait_for_bytes(stage, "out", SIZE * tenths // 10)
    stage.kill(get)
    assert stage.drain(stream)[0] == digest
    found = [reader.opened_and_read() for reader in readers]
    assert {each["sha256"] for each in found} == {digest}
    assert sorted(each["host"] == SIZE for each in found) == [False, True]
    assert SIZE <= memory(readers) <= SIZE + PIECE
    # The stream and one of the open files lead separately.
    assert sent(node) <= 2 * (SIZE + PIECE) + UNDER_WAY
    end_all(readers)
    assert_descriptors_are_closed(stage)
    stage.get(url, "out", "--pattern", "source")


def test_after_a_killed_download_all_join_the_next_one_into_a_file(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    first = start_leader(stage, url, node)
    second = wait_until_joined(stage.start_get(url, "out-2", *PACED, nodes=(node,)))
    stream, reader = start_stream(stage, url, node), start_reader(stage, url, node)
    wait_for_bytes(stage, "out-2", SIZE // 4)
    stage.kill(first)
    assert stage.drain(stream)[0] == digest
    reader.opened()
    assert reader.read() == {"sha256": digest, "host": SIZE, "fetched": 0}
    stage.end(second)
    assert stage.digest("out-2") == digest
    assert sent(node) <= SIZE + PIECE + UNDER_WAY
    end_all([reader])
    stage.get(url, "out", "--pattern", "source")


def test_a_stopped_download_does_not_block_its_followers(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    get = start_leader(stage, url, node)
    stream = start_stream(stage, url, node)
    readers = [start_reader(stage, url, node) for _ in range(2)]
    wait_for_bytes(stage, "out", SIZE // 4)
    get.send_signal(signal.SIGSTOP)
    assert stage.drain(stream)[0] == digest
    found = [reader.opened_and_read() for reader in readers]
    assert {each["sha256"] for each in found} == {digest}
    assert memory(readers) <= SIZE + PIECE
    get.send_signal(signal.SIGCONT)
    stage.end(get)
    assert stage.digest("out") == digest
    assert sent(node) <= 3 * SIZE
    end_all(readers)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_followers_survive_a_lost_leader_while_the_peer_server_is_stopped(
    stage: Scene, file: tuple[str, Supernode, str], how: signal.Signals
) -> None:
    url, node, digest = file
    limit = 6 * MIB
    slow = ("--locallimit", str(limit))
    get = stage.start_get(url, "out", *slow, nodes=(node,))
    wait_for_bytes(stage, "out", 1)
    other, same = (stage.start_get(url, name, *slow, nodes=(node,)) for name in ("out-2", "out"))
    stream = stage.start_stream(url, *slow, nodes=(node,))
    readers = [Reader(stage, url, node, store=store, limit=limit) for store in ("memory", "memory", "disk")]
    for process in (other, same, stream, *(reader.process for reader in readers)):
        wait_until_joined(process)
    peer = stage.peer_pid()
    os.kill(peer, signal.SIGSTOP)
    try:
        get.send_signal(how)
        assert stage.drain(stream)[0] == digest
        for reader in readers:
            reader.opened()
            assert reader.read()["sha256"] == digest
        stage.end(other)
        stage.end(same)
    finally:
        os.kill(peer, signal.SIGCONT)
    assert stage.digest("out") == stage.digest("out-2") == digest
    get.send_signal(signal.SIGCONT)
    get.wait(60)
    end_all(readers)
    for path in (stage.path / "home-2" / "files").iterdir():
        path.unlink()


@pytest.mark.parametrize("how", ["cut", "written", "removed"])
def test_an_output_changed_while_an_open_file_reads_it_is_not_trusted(stage: Scene, file: tuple[str, Supernode, str], how: str) -> None:
    url, node, digest = file
    get = start_leader(stage, url, node)
    reader = start_reader(stage, url, node, "one")
    reader.opened()
    reader.line()
    stage.end(get)
    if how == "cut":
        os.truncate(stage.path / "out", SIZE // 2)
    elif how == "written":
        with open(stage.path / "out", "r+b") as out:
            out.seek(SIZE // 3)
            out.write(b"another program's")
    else:
        os.unlink(stage.path / "out")
    reader.go_on()
    found = reader.read()
    assert found["sha256"] == digest
    assert (found["host"] == SIZE) == (how == "removed")
    end_all([reader])


def test_an_open_file_stored_on_disk_joins_a_download(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    get = start_leader(stage, url, node)
    reader = start_reader(stage, url, node, "back", "disk")
    reader.opened()
    assert reader.read() == {"sha256": digest, "host": SIZE, "fetched": 0}
    stage.end(get)
    reader.end()
    assert sent(node) <= SIZE + PIECE + 100_000
    kept = next((stage.path / "home-2" / "files").glob("*.part"))
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == digest
    for path in kept.parent.iterdir():
        path.unlink()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_open_files_survive_the_loss_of_their_leader_during_a_download(
    stage: Scene, file: tuple[str, Supernode, str], how: signal.Signals
) -> None:
    url, node, digest = file
    get = start_leader(stage, url, node)
    readers = [start_reader(stage, url, node) for _ in range(3)]
    for reader in readers:
        reader.opened()
    until(lambda: memory(readers) >= SIZE // 4, "a part of the file")
    lost = readers.pop(0)
    lost.process.send_signal(how)
    found = [reader.read() for reader in readers]
    lost.kill()
    assert {each["sha256"] for each in found} == {digest}
    assert {"sha256": digest, "host": SIZE, "fetched": 0} in found
    stage.end(get)
    if how == signal.SIGKILL:
        assert [each["fetched"] for each in found] == [0, 0]
        assert memory(readers) <= SIZE + PIECE
        assert sent(node) <= SIZE + PIECE + 100_000
    else:
        # The download may end before the leader is detected as stopped: the next leader then fetches the rest.
        assert memory(readers) <= 2 * (SIZE + PIECE)
        assert sent(node) <= 2 * SIZE + UNDER_WAY
    end_all(readers)


def test_streams_and_open_files_join_a_download_of_unknown_length(stage: Scene) -> None:
    digest = stage.file("f", SIZE // 2)
    url, node = f"{stage.origin()}/chunked/f", stage.supernode()
    get = start_leader(stage, url, node)
    stream, reader = start_stream(stage, url, node), start_reader(stage, url, node)
    assert stage.drain(stream)[0] == digest
    reader.opened()
    assert reader.read()["sha256"] == digest
    stage.end(get)
    assert stage.digest("out") == digest
    end_all([reader])


@pytest.mark.parametrize("killed", [False, True])
def test_open_files_take_the_digest_of_a_download(stage: Scene, file: tuple[str, Supernode, str], killed: bool) -> None:
    url, node, digest = file
    get = stage.start_get(url, "out", *PACED, "--digest", f"sha256:{digest}", nodes=(node,))
    wait_for_bytes(stage, "out", 1)
    readers = [start_reader(stage, url, node, digest=f"sha256:{digest}") for _ in range(3)]
    if killed:
        wait_for_bytes(stage, "out", SIZE // 3)
        stage.kill(get)
    found = [reader.opened_and_read() for reader in readers]
    assert {each["sha256"] for each in found} == {digest}
    assert [bool(each["hashed"]) for each in found].count(True) == killed
    if killed:
        get = stage.start_get(url, "out", "--pattern", "source")
    stage.end(get)
    end_all(readers)
