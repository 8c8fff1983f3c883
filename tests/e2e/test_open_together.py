"""Several processes of a host open the same file: one of them fetches it, and all read the same pages."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from readers import Reader, memory
from scene import MIB, Scene, Supernode, scene, until

PIECE = 4 * MIB
SIZE = 100 * MIB + 12345

@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as found:
        yield found


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
