"""Open files with random access: pieces of supernode, peers and origin, reads by many threads, and resources after they are closed."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import pickle
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import dfengine
from dfengine.client import swarm_recovery, swarm_session
from dfengine.errors import (
    BadValue,
    DigestMismatch,
    DiskFull,
    LocalError,
    OriginChanged,
    OriginError,
    OriginUnreachable,
    SupernodeError,
    TimedOut,
)
from dfengine.files import File
from dfengine.files import file as file_module
from dfengine.files import opened as opening
from dfengine.settings import GetSettings, SupernodeAddress
from tests.e2e.scene import MIB, SMALL, Scene, Supernode, until

PIECE = 4 * MIB - 5
SHAPES = [0, 1, PIECE, PIECE + 1, 5 * PIECE + 12345]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No thread, descriptor or memory of a file remains after it is closed."""
    threads, before = set(threading.enumerate()), held()
    yield
    until(lambda: set(threading.enumerate()) <= threads, "the end of every thread", 10.0)
    assert held() == before


def held() -> list[str]:
    """Memory, sockets and files of home directories that this process has open."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            path = os.readlink(f"/proc/self/fd/{fd}")
            if any(word in path for word in ("memfd:", "socket:", "home-", "eventfd")):
                found.append(path.split(" ")[0])
    return sorted(found)


def keywords(stage: Scene, host: int, nodes: tuple[Supernode, ...]) -> dict[str, Any]:
    home = stage.path / f"home-{host}"
    stage.homes.add(home)
    return {"nodes": [node.node for node in nodes] or None, "ip": f"127.0.0.{host}", "home": home, "quiet": True}


def opened(stage: Scene, url: str, *, host: int = 2, nodes: tuple[Supernode, ...] = (), **more: Any) -> File:
    file = dfengine.open(url, **keywords(stage, host, nodes), **more)
    assert isinstance(file, File)
    return file


def here(file: File) -> int:
    """Number of pieces on this host."""
    return file.opened()._file.available.count()


def counts(file: File) -> tuple[int, int, int]:
    """Bytes from peers, supernode and origin."""
    found = file.opened()._fetching.place.byte_counts
    return found.peers, found.supernode, found.origin


def reads(size: int, count: int, seed: int = 1, most: int = 100_000) -> list[tuple[int, int]]:
    generator = random.Random(seed)
    return [(generator.randrange(size + 10), generator.randrange(most)) for _ in range(count)]


@pytest.mark.parametrize("path", ["/f", "/noranges/f", "/chunked/f"])
@pytest.mark.parametrize("swarm", [False, True], ids=["origin", "swarm"])
@pytest.mark.parametrize("store", ["memory", "disk"])
def test_reads_maps_and_paths_of_files_of_every_size(stage: Scene, path: str, swarm: bool, store: str) -> None:
    base = stage.origin()
    nodes = (stage.supernode(),) if swarm else ()
    for size in SHAPES:
        stage.file("f", size)
        data = (stage.www / "f").read_bytes()
        with opened(stage, f"{base}{path}?{size}", nodes=nodes, store=store) as file:
            for offset, count in [(size // 2, 100), (0, 1), (max(0, size - 10), 100), (size, 10), (size + 5 * PIECE, 1), (0, 0)]:
                assert file.pread(offset, count) == data[offset : offset + count]
            assert file.readv(reads(size, 20)) == [data[offset : offset + count] for offset, count in reads(size, 20)]
            assert file.size == size
            assert file.read() == data
            assert file.read(1) == b""
            assert bytes(file.map()) == data
            assert Path(file.path()).read_bytes() == data
            if store == "memory":
                with pytest.raises(PermissionError), open(file.path(), "r+b", buffering=0) as again:
                    again.write(b"other")
            assert file.seek(-min(size, 3), os.SEEK_END) == size - min(size, 3)
            assert file.read(1 << 62) == data[-3:]


def test_only_pieces_that_are_read_are_fetched_from_the_origin(stage: Scene) -> None:
    size = 64 * MIB
    stage.file("f", size)
    data = (stage.www / "f").read_bytes()
    with opened(stage, stage.origin() + "/f") as file:
        touched = set()
        for offset, count in reads(size, 8):
            assert file.pread(offset, count) == data[offset : offset + count]
            touched |= set(range(offset // PIECE, -(-(offset + max(count, 1)) // PIECE)))
        assert here(file) <= len(touched) < 16
        before = len(stage.requests())
        time.sleep(0.3)
        assert len(stage.requests()) <= before + 1, "the first response is closed when no read needs it; no more is requested"


def test_random_reads_by_many_threads_use_the_swarm(stage: Scene) -> None:
    size = 96 * MIB + 7
    stage.file("f", size)
    data = (stage.www / "f").read_bytes()
    url = stage.origin() + "/f"
    node = stage.supernode()
    stage.get(url, "out", host=3, nodes=(node,))
    with opened(stage, url, nodes=(node,)) as file, ThreadPoolExecutor(16) as pool:
        wrong = [at for at, found in zip(reads(size, 300), pool.map(lambda at: file.pread(*at), reads(size, 300)), strict=True)
                 if found != data[at[0] : at[0] + at[1]]]  # fmt: skip
        assert wrong == []
        peers, supernode, origin = counts(file)
        assert peers > 0
        assert origin == 0
        assert peers + supernode <= size


def test_readinto_a_large_buffer_and_sequential_reads(stage: Scene) -> None:
    size = 60 * MIB + 3
    stage.file("f", size)
    data = (stage.www / "f").read_bytes()
    node = stage.supernode()
    with opened(stage, stage.origin() + "/f", nodes=(node,)) as file:
        buffer = bytearray(40 * MIB)
        assert file.readinto(buffer) == len(buffer)
        assert buffer == data[: len(buffer)]
        assert file.tell() == len(buffer)
        assert file.pread_into(size - 4, buffer) == 4
        assert buffer[:4] == data[-4:]
        got = b"".join(iter(lambda: file.read(MIB), b""))
        assert got == data[40 * MIB :]
        assert file.seek(0) == 0
        assert file.readall() == data


def test_a_buffered_reader_reads_seeks_and_can_be_pickled(stage: Scene) -> None:
    stage.file("f", 3 * MIB)
    data = (stage.www / "f").read_bytes()
    with dfengine.open(stage.origin() + "/f", buffering=-1, **keywords(stage, 2, ())) as file:
        assert isinstance(file, io.BufferedReader)
        assert file.read(10) == data[:10]
        file.seek(-5, os.SEEK_END)
        assert file.read() == data[-5:]
        assert isinstance(file.raw, File)
        assert file.raw.name.endswith("/f")
        file.seek(3)
        assert file.read(4) == data[3:7]
        with pickle.loads(pickle.dumps(file)) as other:
            assert (other.tell(), other.read(5)) == (7, data[7:12])
        assert file.read(5) == data[7:12]


def test_an_open_file_serves_its_pieces_to_peers(stage: Scene) -> None:
    size = 6 * PIECE
    digest = stage.file("f", size)
    url = stage.origin() + "/f"
    node = stage.supernode()
    for store in ("memory", "disk"):
        with opened(stage, url, host=2 if store == "memory" else 4, nodes=(node,), store=store) as file:
            file.map()
            stage.proved(node)
            result = stage.get(url, f"out-{store}", host=3, nodes=(node,))
            assert stage.digest(f"out-{store}") == digest
            assert result["from"]["peers"] == size
            stage.end(stage.start_get(url, "gone", "--pattern", "source", host=3))


def test_pieces_on_disk_are_reused_by_the_next_open(stage: Scene) -> None:
    size = 8 * PIECE
    stage.file("f", size)
    data = (stage.www / "f").read_bytes()
    url = stage.origin() + "/f"
    with opened(stage, url, store="disk") as file:
        assert file.pread(3 * PIECE, PIECE) == data[3 * PIECE : 4 * PIECE]
        kept = here(file)
        with opened(stage, url, store="disk") as other:
            assert other.pread(0, 10) == data[:10], "the place is in use: the second open has its own"
    names = [path.name for path in (stage.path / "home-2" / "files").iterdir()]
    assert sorted(name.rpartition(".")[2] for name in names) == ["part", "record"], "the files of the second open are deleted"
    with opened(stage, url, store="disk") as file:
        assert file.opened()._fetching.place.byte_counts.resumed == kept * PIECE
        assert file.pread(3 * PIECE, PIECE) == data[3 * PIECE : 4 * PIECE]
        assert counts(file) == (0, 0, 0)


def test_pieces_on_disk_of_an_older_version_are_not_used(stage: Scene) -> None:
    stage.file("f", 8 * PIECE)
    url = stage.origin() + "/f"
    with opened(stage, url, store="disk") as file:
        file.pread(0, 1)
    time.sleep(1.1)
    stage.file("f", 8 * PIECE, seed=1)
    data = (stage.www / "f").read_bytes()
    with opened(stage, url, store="disk") as file:
        assert file.read() == data


def test_reads_fail_after_the_origin_changes_while_the_file_is_open(stage: Scene) -> None:
    size = 30 * PIECE
    stage.file("f", size)
    data = (stage.www / "f").read_bytes()
    with opened(stage, stage.origin() + "/f") as file:
        assert file.pread(0, 10) == data[:10]
        assert file.pread(20 * PIECE, 10) == data[20 * PIECE : 20 * PIECE + 10]
        time.sleep(2.5)
        stage.file("f", size, seed=1)
        with pytest.raises(OriginChanged):
            file.pread(10 * PIECE, 10)
        with pytest.raises(OriginChanged):
            file.read()
        assert file.pread(20 * PIECE, 10) == data[20 * PIECE : 20 * PIECE + 10], "pieces on this host are of one version"


@pytest.mark.parametrize("read", [False, True])
def test_reads_fail_after_the_supernode_learns_of_another_version(stage: Scene, read: bool) -> None:
    """Also before the first read: the length of the older version was already stated."""
    size = 20 * PIECE
    stage.file("f", size)
    data = (stage.www / "f").read_bytes()
    url = stage.origin() + "/f"
    node = stage.supernode("--revalidate-interval", "0s")
    with opened(stage, url, nodes=(node,)) as file:
        if read:
            assert file.pread(3 * PIECE, 10) == data[3 * PIECE : 3 * PIECE + 10]
        time.sleep(1.1)
        digest = stage.file("f", size, seed=1)
        stage.get(url, "out", host=3, nodes=(node,))
        assert stage.digest("out") == digest
        with pytest.raises(OriginChanged):
            file.pread(9 * PIECE, 10)
        with opened(stage, url, nodes=(node,)) as other:
            assert other.pread(9 * PIECE, 10) == (stage.www / "f").read_bytes()[9 * PIECE : 9 * PIECE + 10]


def test_a_digest_is_checked_when_all_pieces_have_arrived(stage: Scene) -> None:
    digest = stage.file("f", 4 * PIECE)
    data = (stage.www / "f").read_bytes()
    url = stage.origin() + "/f"
    node = stage.supernode()
    for nodes in ((), (node,)):
        with opened(stage, url, nodes=nodes, digest=f"sha256:{digest}") as file:
            assert file.pread(2 * PIECE, 10) == data[2 * PIECE : 2 * PIECE + 10]
            assert file.map() == data
        with opened(stage, url, nodes=nodes, digest=f"sha256:{'0' * 64}") as file:
            assert file.pread(2 * PIECE, 10) == data[2 * PIECE : 2 * PIECE + 10]
            with pytest.raises(DigestMismatch, match="sha256"):
                file.map()
            with pytest.raises(DigestMismatch):
                file.pread(0, 1)


@pytest.mark.parametrize("size", [0, 1, 2 * PIECE])
@pytest.mark.parametrize("swarm", [False, True])
def test_every_way_to_read_a_whole_file_checks_its_digest(stage: Scene, size: int, swarm: bool) -> None:
    stage.file("f", size)
    url = stage.origin() + "/f"
    nodes = (stage.supernode(),) if swarm else ()

    def by_steps(file: File) -> None:
        for offset in (*range(PIECE, size, PIECE), 0):
            file.pread(offset, PIECE)

    ways: list[Callable[[File], object]] = [
        File.read, File.map, File.path, by_steps,
        lambda file: file.readinto(bytearray(size + 1)),
        lambda file: file.readv([(PIECE, PIECE), (0, PIECE)]),
        lambda file: [file.map(0, PIECE), file.map(PIECE)],
    ]  # fmt: skip
    for way in ways:
        with opened(stage, url, nodes=nodes, digest=f"sha256:{'0' * 64}") as file, pytest.raises(DigestMismatch, match="sha256"):
            way(file)


def test_errors_of_the_origin_and_of_the_caller(stage: Scene) -> None:
    base = stage.origin()
    stage.file("f", 100)
    with pytest.raises(OriginError, match="404"):
        opened(stage, base + "/none")
    with pytest.raises(BadValue):
        opened(stage, base + "/f", store="tape")
    with pytest.raises(SupernodeError):
        opened(stage, base + "/f", notbs=True)
    file = opened(stage, base + "/f")
    for call in (lambda: file.pread(-1, 1), lambda: file.pread(0, -1), lambda: file.seek(-1), lambda: file.seek(0, 9)):
        with pytest.raises(ValueError):  # noqa: PT011
            call()
    with pytest.raises(BadValue):
        file.pread(0.5, 1)  # type: ignore[arg-type]
    with pytest.raises(io.UnsupportedOperation):
        file.fileno()
    assert not file.writable()
    file.close()
    file.close()
    closed: tuple[Callable[[], object], ...] = (
        file.read, file.tell, lambda: file.pread(0, 1), file.map, file.path, file.readable, lambda: pickle.dumps(file),
    )  # fmt: skip
    for use in closed:
        with pytest.raises(ValueError, match="closed"):
            use()


def test_close_ends_reads_that_wait_in_other_threads(stage: Scene) -> None:
    """The reads wait for an origin that sends one piece in half a minute."""
    stage.file("f", 20 * PIECE)
    url = stage.origin(slow="128k") + "/slow/f"
    for nodes in ((), (stage.supernode(),)):
        file = opened(stage, url, nodes=nodes)
        with ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(file.pread, n * PIECE, 10) for n in range(4, 8)]
            until(partial(lambda file: len(file.opened()._transfer._tickets) == 4, file), "four waiting threads")
            begun = time.monotonic()
            file.close()
            for each in waiting:
                with pytest.raises(LocalError, match="closed"):
                    each.result(20)
            assert time.monotonic() - begun < 20


@pytest.mark.parametrize("swarm", [False, True], ids=["origin", "swarm"])
def test_a_full_disk_fails_reads_except_of_stored_pieces(stage: Scene, small: Path, swarm: bool) -> None:
    """A file longer than the disk can be opened; reading all of it raises the disk's error, and stored pieces remain readable."""
    with open(stage.www / "f", "wb") as out:
        out.truncate(2 * SMALL)
    url = stage.origin() + "/f"
    nodes = (stage.supernode(),) if swarm else ()
    with opened(stage, url, nodes=nodes, store="disk", pattern="cdn") as file:
        pass
    given = {**keywords(stage, 2, nodes), "home": small, "pattern": "cdn"}
    with dfengine.open(url, store="disk", **given) as file:
        assert isinstance(file, File)
        assert file.pread(SMALL, 10) == bytes(10)
        with pytest.raises(DiskFull):
            file.read()
        with pytest.raises(DiskFull):
            file.pread(2 * SMALL - 10, 10)
        assert file.pread(SMALL, 10) == bytes(10)


def test_sequential_readers_in_several_threads_fetch_each_piece_once(stage: Scene) -> None:
    """Each thread has its own read-ahead."""
    size = 48 * PIECE
    stage.file("f", size)
    data = (stage.www / "f").read_bytes()
    node = stage.supernode()
    with opened(stage, stage.origin() + "/f", nodes=(node,)) as file, ThreadPoolExecutor(4) as pool:

        def quarter(at: int) -> bytes:
            found = bytearray()
            while len(found) < size // 4:
                found += file.pread(at * size // 4 + len(found), min(300_000, size // 4 - len(found)))
            return bytes(found)

        assert b"".join(pool.map(quarter, range(4))) == data
        assert sum(counts(file)) == size


def test_a_signal_handler_can_close_the_file_during_a_read(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler runs in the thread that reads, which cannot leave the read while the handler waits."""
    monkeypatch.setattr(opening, "READERS_TIMEOUT", 0.2)
    stage.file("f", 20 * PIECE)
    file = opened(stage, stage.origin(slow="128k") + "/slow/f")
    before = signal.signal(signal.SIGALRM, lambda *_: file.close())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(LocalError, match="closed"):
            file.pread(9 * PIECE, 10)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_read_times_out_and_a_later_one_may_succeed(stage: Scene) -> None:
    stage.file("f", 20 * PIECE)
    url = stage.origin(slow="3m") + "/slow/f"
    with opened(stage, url, timeout=0.6) as file:
        with pytest.raises(TimedOut, match=r"0\.6 s"):
            file.pread(8 * PIECE, 10)
        data = (stage.www / "f").read_bytes()

        def read() -> bytes:
            with contextlib.suppress(TimedOut):
                return file.pread(8 * PIECE, 10)
            return b""

        assert until(read, "the piece") == data[8 * PIECE : 8 * PIECE + 10]


def test_a_file_waits_for_its_killed_supernode_and_reads_the_origin_in_the_end(stage: Scene) -> None:
    """The file waits for a restarted supernode with and without pending reads; without a restart, reads use the origin."""
    size = 30 * PIECE
    stage.file("f", size)
    data = (stage.www / "f").read_bytes()
    url = stage.origin() + "/f"
    node = stage.supernode()
    with opened(stage, url, nodes=(node,)) as file:
        assert file.pread(0, 10) == data[:10]
        stage.kill(node.process)
        again = stage.supernode(home=node.home, port=node.port, download_port=int(node.download.rpartition(":")[2]))
        for offset, count in reads(size, 20):
            assert file.pread(offset, count) == data[offset : offset + count]
        assert counts(file)[2] == 0, "nothing came from the origin"
        stage.kill(again.process)
    with opened(stage, url, nodes=(again,)) as file:
        for offset, count in reads(size, 20):
            assert file.pread(offset, count) == data[offset : offset + count]
        assert counts(file)[2] > 0


def test_concurrent_reads_succeed_after_the_supernode_is_killed(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarm_session, "RETRY", 2.0)
    size = 40 * PIECE
    stage.file("f", size)
    data = (stage.www / "f").read_bytes()
    url = stage.origin() + "/f"
    node = stage.supernode()
    with opened(stage, url, nodes=(node,)) as file, ThreadPoolExecutor(4) as pool:
        assert file.pread(0, 10) == data[:10]
        stage.kill(node.process)
        wanted = reads(size, 12, seed=3)
        for at, found in zip(wanted, pool.map(lambda at: file.pread(*at), wanted), strict=True):
            assert found == data[at[0] : at[0] + at[1]]


def test_a_file_that_reads_the_origin_returns_to_the_swarm(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It returns when its supernode runs again and a read needs a piece; pieces that it fetches then are served to peers, too."""
    monkeypatch.setattr(swarm_session, "RETRY", 0.5)
    monkeypatch.setattr(swarm_recovery, "PAUSES", (0.2, 0.5))
    size = 60 * PIECE
    stage.file("f", size)
    data = (stage.www / "f").read_bytes()
    url = stage.origin() + "/f"
    node = stage.supernode()
    with opened(stage, url, nodes=(node,)) as file:
        assert file.pread(0, 10) == data[:10]
        turn = iter(range(1, 60))

        def read() -> tuple[int, int, int]:
            """Read one more piece; the file's counts."""
            offset = next(turn) * PIECE
            assert file.pread(offset, 10) == data[offset : offset + 10]
            return counts(file)

        for _ in range(2):
            stage.kill(node.process)
            before = counts(file)
            until(partial(lambda before: read()[2] > before[2], before), "a piece from the origin")
            node = stage.supernode(home=node.home, port=node.port, download_port=int(node.download.rpartition(":")[2]))
            before = counts(file)
            until(partial(lambda before: read()[:2] > before[:2], before), "a piece from the swarm", 60.0)
            origin = counts(file)[2]
            for _ in range(3):
                read()
            assert counts(file)[2] == origin, "nothing more comes from the origin"
        assert sum(counts(file)) <= size
        assert file.read() == data
        assert stage.get(url, "out", host=3, nodes=(node,))["from"]["peers"] > 0, "pieces of the open file"


@pytest.mark.parametrize("store", ["memory", "disk"])
def test_a_file_can_be_read_again_after_its_supernode_and_origin_return(stage: Scene, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    """Reads in between raise the origin's error; stored pieces remain readable."""
    monkeypatch.setattr(swarm_session, "RETRY", 0.5)
    monkeypatch.setattr(file_module, "AGAIN", 0.2)
    size = 20 * PIECE
    stage.file("f", size)
    data = (stage.www / "f").read_bytes()
    url = stage.origin() + "/f"
    node = stage.supernode()
    with opened(stage, url, nodes=(node,), retry=0, store=store) as file:
        assert file.pread(0, 10) == data[:10]
        stage.kill(node.process)
        stage.nginx.terminate()
        stage.nginx.wait()
        for _ in range(3):
            with pytest.raises(OriginUnreachable, match="refused"):
                file.pread(9 * PIECE, 10)
            assert file.pread(0, 10) == data[:10]
        stage.origin()
        node = stage.supernode(home=node.home, port=node.port, download_port=int(node.download.rpartition(":")[2]))

        def read() -> bytes:
            with contextlib.suppress(OriginUnreachable):
                return file.pread(9 * PIECE, 10)
            return b""

        assert until(read, "a successful read") == data[9 * PIECE : 9 * PIECE + 10]
        assert file.read() == data
        assert Path(file.path()).read_bytes() == data


def test_a_file_does_not_return_to_a_supernode_with_another_version(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new supernode has fetched a newer version: the open file stays with the origin, and reads raise OriginChanged."""
    monkeypatch.setattr(swarm_session, "RETRY", 0.5)
    monkeypatch.setattr(swarm_recovery, "PAUSES", (0.2, 0.5))
    size = 40 * PIECE
    stage.file("f", size)
    data = (stage.www / "f").read_bytes()
    url = stage.origin() + "/f"
    node = stage.supernode()
    with opened(stage, url, nodes=(node,)) as file:
        assert file.pread(0, 10) == data[:10]
        stage.kill(node.process)
        until(lambda: file.pread(20 * PIECE, 10) == data[20 * PIECE : 20 * PIECE + 10] and counts(file)[2], "a piece from the origin")
        time.sleep(1.1)
        stage.file("f", size, seed=1)
        other = stage.supernode(port=node.port)
        stage.get(url, "out", host=3, nodes=(other,))
        with pytest.raises(OriginChanged):
            file.read()
        assert file.pread(20 * PIECE, 10) == data[20 * PIECE : 20 * PIECE + 10]


def wakeups() -> dict[str, int]:
    """Thread of this process -> number of its voluntary context switches."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        lines = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines() if ":" in line)
        found[task.name] = int(lines["voluntary_ctxt_switches"])
    return found


@pytest.mark.parametrize("swarm", [False, True], ids=["origin", "swarm"])
def test_an_open_file_without_reads_sends_no_requests_and_wakes_no_thread(stage: Scene, swarm: bool) -> None:
    stage.file("f", 20 * PIECE)
    url = stage.origin() + "/f"
    nodes = (stage.supernode(),) if swarm else ()
    with opened(stage, url, nodes=nodes) as file:
        file.pread(7 * PIECE, 10)
        transfer, main = file.opened()._transfer, str(threading.get_native_id())
        until(lambda: transfer.parked and not transfer.plan.done, "a parked download that has sent its reports")
        time.sleep(3.0)  # until the origin's first response is closed
        pulls, before = [node.metric("dfengine_pulls_total") for node in nodes], wakeups()
        assert all(pulls)
        time.sleep(1.5)
        after = wakeups()
        assert [node.metric("dfengine_pulls_total") for node in nodes] == pulls
        assert {name: count for name, count in after.items() if count > before[name] and name != main} == {}
        assert len(file.pread(8 * PIECE, 10)) == 10


def read_in_child(file: File, offset: int, count: int, out: Any) -> None:
    try:
        inherited = [name for name in held() if "dfengine-file" in name]  # the parent's pages
        out.put(file.pread(offset, count) if not inherited else repr(inherited))
        file.close()
    except BaseException as error:
        out.put(repr(error))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_file_can_be_passed_to_other_processes(stage: Scene, method: str) -> None:
    size = 6 * PIECE
    stage.file("f", size)
    data = (stage.www / "f").read_bytes()
    context: Any = multiprocessing.get_context(method)
    with opened(stage, stage.origin() + "/f") as file:
        file.seek(7)
        assert file.pread(0, 10) == data[:10]
        out = context.Queue()
        workers = [context.Process(target=read_in_child, args=(file, n * PIECE, 1000, out)) for n in (1, 3)]
        for worker in workers:
            worker.start()
        found = {out.get(timeout=30) for _ in workers}
        for worker in workers:
            worker.join(20)
            assert worker.exitcode == 0
        out.close()
        out.join_thread()
        assert found == {data[n * PIECE : n * PIECE + 1000] for n in (1, 3)}
        assert file.pread(5 * PIECE, 10) == data[5 * PIECE : 5 * PIECE + 10], "the parent's file is unchanged"
        with pickle.loads(pickle.dumps(file)) as other:
            assert other.tell() == 7
            assert other.read(5) == data[7:12]


def test_a_file_can_be_pickled_before_its_length_is_known(stage: Scene) -> None:
    size = 6 * PIECE
    stage.file("f", size)
    node = stage.supernode()
    with opened(stage, stage.origin() + "/chunked/f", nodes=(node,)) as file:
        kept = pickle.dumps(file)
        assert file.size == size
    with pickle.loads(kept) as other:
        assert other.size == size


def test_close_ends_an_open_that_waits_for_a_silent_supernode(stage: Scene) -> None:
    """Another thread closes the file."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        settings = keywords(stage, 2, ())
        stage.homes.clear()
        file = File(GetSettings(url="http://127.0.0.1:1/f", output="-", nodes=(SupernodeAddress("127.0.0.1", mute.getsockname()[1]),),
                                pattern="cdn", home=str(settings["home"]), quiet=True))  # fmt: skip
        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(file.read, 10), pool.submit(file.pread, 5, 10)]
            until(lambda: file._opened is not None and file._opened._download_thread.is_alive(), "a running engine")
            time.sleep(0.3)
            begun = time.monotonic()
            file.close()
            for each in waiting:
                with pytest.raises((LocalError, ValueError), match="closed"):
                    each.result(20)
            assert time.monotonic() - begun < 20, "the supernode never responds"


def test_a_pickled_file_whose_version_has_changed_is_not_read(stage: Scene) -> None:
    stage.file("f", 6 * PIECE)
    with opened(stage, stage.origin() + "/f") as file:
        kept = pickle.dumps(file)
    time.sleep(1.1)
    stage.file("f", 6 * PIECE, seed=1)
    with pickle.loads(kept) as other, pytest.raises(OriginChanged, match="differs from the file that was opened before"):
        other.read(1)


def anonymous() -> int:
    """Anonymous memory of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


@pytest.mark.parametrize("store", ["memory", "disk"])
def test_safetensors_reads_from_the_path_and_from_the_map_without_a_copy(stage: Scene, store: str) -> None:
    import numpy
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    weights = numpy.arange(12 * MIB, dtype=numpy.float32).reshape(12, MIB)
    save_file({"weights": weights, "bias": weights[0, :7].copy()}, stage.www / "model.safetensors")
    with opened(stage, stage.origin() + "/model.safetensors", store=store) as file:
        with safe_open(file.path(), framework="numpy") as tensors:
            assert sorted(tensors.keys()) == ["bias", "weights"]
            before = anonymous()
            part = tensors.get_slice("weights")[3:4, :10]
            assert (part == weights[3:4, :10]).all()
            assert anonymous() - before < 4 * MIB, "a slice is not the tensor's 48 MiB"
        assert (load_file(file.path())["weights"] == weights).all()
        # The format itself (8 bytes of length, a header in JSON, the tensors), read over the mapped pages.
        before, view = anonymous(), file.map()
        begin = 8 + int.from_bytes(view[:8], "little")
        about = json.loads(bytes(view[8:begin]))["weights"]
        first, past = about["data_offsets"]
        tensor = numpy.frombuffer(view[begin + first : begin + past], about["dtype"].replace("F32", "<f4")).reshape(about["shape"])
        assert (tensor[7] == weights[7]).all()
        assert not tensor.flags.writeable
        assert not tensor.flags.owndata
        assert anonymous() - before < 12 * MIB, "no copy of 48 MiB"
        del view, tensor


def test_a_view_outlives_the_file(stage: Scene) -> None:
    stage.file("f", 3 * PIECE)
    data = (stage.www / "f").read_bytes()
    url = stage.origin() + "/f"
    for store in ("memory", "disk"):
        with opened(stage, url, store=store) as file:
            part, whole = file.map(PIECE - 5, 10), file.map()
            assert whole.readonly
        assert (bytes(part), bytes(whole)) == (data[PIECE - 5 : PIECE + 5], data)
        del part, whole


def test_a_dropped_file_is_closed_with_a_warning(stage: Scene) -> None:
    stage.file("f", 3 * PIECE)
    file = opened(stage, stage.origin() + "/f")
    with pytest.warns(ResourceWarning, match="not closed"):
        del file


@pytest.mark.parametrize("changes", [False, True])
def test_swarm_pieces_are_compared_with_an_origin_without_validators(stage: Scene, changes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supernode's pieces are compared before reads return bytes of the origin; if they differ, versions are not mixed."""
    monkeypatch.setattr(swarm_session, "RETRY", 2.0)
    size = 24 * PIECE
    stage.file("f", size)
    data = (stage.www / "f").read_bytes()
    url = stage.origin(odd='etag off; add_header Last-Modified "";') + "/odd/f"
    node = stage.supernode()
    with opened(stage, url, nodes=(node,)) as file:
        for n in (2, 9):
            assert file.pread(n * PIECE, 10) == data[n * PIECE : n * PIECE + 10]
        stage.kill(node.process)
        if changes:
            stage.file("f", size, seed=1)
            with pytest.raises(OriginChanged):
                file.pread(15 * PIECE, 10)
            assert here(file) == 2
        else:
            for offset, count in reads(size, 10):
                assert file.pread(offset, count) == data[offset : offset + count]
            assert counts(file)[2] > 0
        assert file.pread(9 * PIECE, 10) == data[9 * PIECE : 9 * PIECE + 10]
