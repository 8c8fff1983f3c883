"""Memory of closed files and streams that a host's peer server keeps."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

import dfengine
from tests.e2e.scene import MIB, Scene, until

SIZE = 8 * MIB + 77


def held(pid: int) -> int:
    """Memory in bytes of the files and streams that a process has open, each counted once."""
    found = {}
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if "memfd:dfengine-file" in os.readlink(fd) or "memfd:dfengine-stream" in os.readlink(fd):
                state = fd.stat()
                found[state.st_ino] = state.st_blocks * 512
        except OSError:
            continue
    return sum(found.values())


def test_a_host_keeps_one_copy_of_a_version(stage: Scene) -> None:
    url, digest, node = f"{stage.origin()}/f", stage.file("f", SIZE), stage.supernode()
    home = stage.path / "home-2"
    stage.homes.add(home)
    settings: dict[str, Any] = {"nodes": [node.node], "ip": "127.0.0.2", "home": home, "quiet": True}

    def read(*ways: Any) -> None:
        for way in ways:
            with way(url, **settings) as file:
                assert hashlib.sha256(file.read()).hexdigest() == digest

    read(*[dfengine.open] * 4)
    pid = stage.peer_pid()
    until(lambda: held(pid) < 2 * SIZE, "one copy of the opened files")
    read(dfengine.stream, dfengine.open, dfengine.stream)
    until(lambda: held(pid) < 2 * SIZE, "one copy of the opened and streamed files")
    assert held(pid) >= SIZE
    result = stage.get(url, "out", host=3, nodes=(node,))
    assert stage.digest("out") == digest
    assert sum(result["from"].values()) == SIZE


@pytest.mark.parametrize("first", ["open", "stream"])
def test_later_readers_use_the_memory_that_the_peer_server_keeps(stage: Scene, first: str) -> None:
    """Nothing is sent, hashed or stored a second time, neither by the supernode nor by the host's own peer server."""
    url, digest, node = f"{stage.origin()}/f", stage.file("f", SIZE), stage.supernode()
    home = stage.path / "home-2"
    stage.homes.add(home)
    settings: dict[str, Any] = {"nodes": [node.node], "ip": "127.0.0.2", "home": home, "quiet": True, "digest": f"sha256:{digest}"}

    def opened() -> tuple[int, int]:
        """Bytes of an opened file: (fetched, taken from the host)."""
        with dfengine.open(url, **settings) as file:
            assert hashlib.sha256(file.map()).hexdigest() == digest
            counts = file.opened()._fetching.place.byte_counts
            assert (file.opened()._transfer.digester is None) is bool(counts.host), "it is hashed once"
            memory_sizes.append(held(os.getpid()))
            return counts.peers + counts.supernode + counts.origin, counts.host

    def streamed() -> tuple[int, int]:
        with dfengine.stream(url, **settings) as file:
            assert hashlib.sha256(file.read()).hexdigest() == digest
            assert file.result is not None
            memory = file._streaming.memory
            assert (memory.digests == memory.delegated_digests) is bool(file.result.from_host), "it is hashed once"
            return file.result.from_peers + file.result.from_supernode + file.result.from_origin, file.result.from_host

    memory_sizes: list[int] = []
    assert {"open": opened, "stream": streamed}[first]() == (SIZE, 0)
    before, pid = node.metric("dfengine_sent_bytes_total"), stage.peer_pid()
    for way in (streamed, opened, opened, streamed) if first == "open" else (streamed, streamed):
        assert way() == (0, SIZE)
        until(lambda: SIZE <= held(pid) < 2 * SIZE, "one copy")
    result = stage.get(url, "out", "--digest", f"sha256:{digest}", nodes=(node,))
    assert stage.digest("out") == digest
    assert result["from"]["host"] == SIZE
    assert node.metric("dfengine_sent_bytes_total") == before
    if first == "open":
        assert len({*memory_sizes}) == 1, "every reader holds the same memory, once"


def test_bytes_read_of_a_closed_file_are_not_fetched_again(stage: Scene) -> None:
    url, node = f"{stage.origin()}/f", stage.supernode()
    digest = stage.file("f", SIZE)
    home = stage.path / "home-2"
    stage.homes.add(home)
    settings: dict[str, Any] = {"nodes": [node.node], "ip": "127.0.0.2", "home": home, "quiet": True}
    with dfengine.open(url, **settings) as file:
        file.pread(SIZE - 1, 1)
    with dfengine.open(url, **settings) as file:
        counts = file.opened()._fetching.place.byte_counts
        assert 0 < counts.host < 100
        assert hashlib.sha256(file.map()).hexdigest() == digest
        assert counts.host + counts.supernode == SIZE


def test_memory_that_failed_its_digest_is_not_reused(stage: Scene) -> None:
    origin, node = stage.origin(), stage.supernode()
    home = stage.path / "home-2"
    stage.homes.add(home)
    settings: dict[str, Any] = {"nodes": [node.node], "ip": "127.0.0.2", "home": home, "quiet": True}
    for way in (dfengine.open, dfengine.stream):
        url, digest = f"{origin}/{way.__name__}", stage.file(way.__name__, SIZE)
        with pytest.raises(dfengine.DigestMismatch), way(url, digest="sha256:" + 64 * "0", **settings) as file:
            file.read()
        with dfengine.open(url, **settings) as file:
            assert hashlib.sha256(file.map()).hexdigest() == digest
            assert file.opened()._fetching.place.byte_counts.host == 0
