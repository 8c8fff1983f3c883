"""Several processes of a host open the same file: one of them fetches it, and all read the same pages."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.readers import Reader, in_a_quarter, memory, quarters
from tests.e2e.scene import MIB, Scene, Supernode, scene

PIECE = 4 * MIB
SIZE = 100 * MIB + 12345
UNDER_WAY = 8 * PIECE
"""Bytes that four threads may have requested, twice each."""

@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as found:
        yield found


def sent(node: Supernode) -> float:
    return node.metric("dfengine_sent_bytes_total")


@pytest.fixture
def file(stage: Scene) -> tuple[str, Supernode, str]:
    """URL, supernode and sha256 of the file."""
    digest = stage.file("f", SIZE)
    return f"{stage.origin()}/f", stage.supernode(), digest


@pytest.mark.parametrize("store", ["memory", "disk"])
def test_eight_processes_fetch_a_file_once_and_share_its_memory(stage: Scene, file: tuple[str, Supernode, str], store: str) -> None:
    url, node, digest = file
    readers = [Reader(stage, url, node, "back" if n % 2 else "", store) for n in range(8)]
    for reader in readers:
        reader.opened()
    found = [reader.read() for reader in readers]
    assert {each["sha256"] for each in found} == {digest}
    assert sorted(each["host"] for each in found) == [0, *[SIZE] * 7]
    assert SIZE <= sent(node) <= SIZE + PIECE + 100_000
    assert SIZE <= memory(readers) <= SIZE + PIECE
    for reader in readers:
        reader.end()


def test_a_process_that_opens_a_complete_file_fetches_nothing(stage: Scene, file: tuple[str, Supernode, str]) -> None:
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
@pytest.mark.parametrize("store", ["memory", "disk"])
def test_a_follower_takes_over_a_killed_leaders_place(stage: Scene, file: tuple[str, Supernode, str], store: str, deaths: int) -> None:
    url, node, digest = file
    readers = []
    for _ in range(4):
        readers.append(Reader(stage, url, node, "quarters", store))
        readers[-1].opened()
    for _ in range(deaths):
        in_a_quarter(readers)
        readers.pop(0).kill()
        for reader in readers:
            reader.part()
    quarters(readers, 4 - deaths)
    found = [reader.read() for reader in readers]
    assert {each["sha256"] for each in found} == {digest}
    assert sorted(each["host"] == SIZE for each in found) == [False, *[True] * (3 - deaths)]
    assert sent(node) <= SIZE + 9 * deaths * PIECE
    assert memory(readers) <= SIZE + PIECE
    for reader in readers:
        reader.end()


def test_processes_can_read_after_the_leader_closes(stage: Scene, file: tuple[str, Supernode, str]) -> None:
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


@pytest.mark.parametrize("before", [-1, 0, 1, 3])
@pytest.mark.parametrize("store", ["memory", "disk"])
def test_one_follower_takes_over_from_a_stopped_leader(stage: Scene, file: tuple[str, Supernode, str], store: str, before: int) -> None:
    """before: quarters that were read before the leader stops; -1: no read was begun."""
    url, node, digest = file
    readers = []
    for _ in range(4):
        readers.append(Reader(stage, url, node, "quarters", store))
        readers[-1].opened()
    if before >= 0:
        quarters(readers, before)
        in_a_quarter(readers)
    leader = readers.pop(0)
    os.kill(leader.process.pid, signal.SIGSTOP)
    for reader in readers if before >= 0 else []:
        reader.part()
    quarters(readers, 3 - before)
    found = [reader.read() for reader in readers]
    assert {each["sha256"] for each in found} == {digest}
    assert sorted(each["host"] == SIZE for each in found) == [False, True, True]
    assert sent(node) <= SIZE + UNDER_WAY
    os.kill(leader.process.pid, signal.SIGCONT)
    for _ in range(3 - before):
        leader.go_on()
    for _ in range(4 if before < 0 else 4 - before):
        leader.part()
    assert leader.read()["sha256"] == digest
    leader.end()
    for reader in readers:
        reader.end()


def test_processes_fetch_once_after_the_peer_server_is_killed(stage: Scene, file: tuple[str, Supernode, str]) -> None:
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


def test_one_process_computes_the_digest_for_all(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    readers = [Reader(stage, url, node, digest=f"sha256:{digest}") for _ in range(5)]
    for reader in readers:
        reader.opened()
    found = [reader.read() for reader in readers]
    assert {each["sha256"] for each in found} == {digest}
    assert sorted(bool(each["hashed"]) for each in found) == [False, False, False, False, True]
    for reader in readers:
        reader.end()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_next_leader_computes_the_digest(stage: Scene, file: tuple[str, Supernode, str], how: signal.Signals) -> None:
    url, node, digest = file
    readers = []
    for _ in range(4):
        readers.append(Reader(stage, url, node, "quarters", digest=f"sha256:{digest}"))
        readers[-1].opened()
    quarters(readers, 3)
    leader = readers.pop(0)
    leader.process.send_signal(how)
    quarters(readers, 1)
    found = [reader.read() for reader in readers]
    assert {each["sha256"] for each in found} == {digest}
    assert sorted(bool(each["hashed"]) for each in found) == [False, False, True]
    leader.kill()
    for reader in readers:
        reader.end()


def test_a_failed_leader_that_stays_open_does_not_block_its_followers(stage: Scene, file: tuple[str, Supernode, str]) -> None:
    url, node, digest = file
    wrong = Reader(stage, url, node, "fails", digest=f"sha256:{'0' * 64}")
    wrong.opened()
    readers = [Reader(stage, url, node, "", digest=f"sha256:{digest}") for _ in range(3)]
    for reader in readers:
        reader.opened()
    assert wrong.line() == "failed\n"
    assert {reader.read()["sha256"] for reader in readers} == {digest}
    assert sent(node) <= SIZE + UNDER_WAY
    for reader in readers:
        reader.end()
    wrong.kill()
