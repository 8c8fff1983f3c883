"""Files of a broken or hostile leader of the same user: they are refused, or their pieces not copied, and no descriptor remains open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xxhash

from dfengine._piece import Geometry
from dfengine._window import Window
from dfengine.client.byte_counts import ByteCounts
from dfengine.client.file_from_leader import FileCopier
from dfengine.client.leader_place import LeaderPlace
from dfengine.client.plan import Plan
from dfengine.client.transfer import Transfer
from dfengine.errors import StorageError
from dfengine.storage.memory_file import MemoryFile
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.signal_page import SignalPage
from tests.own_descriptors import own_descriptors

GEOMETRY = Geometry(3 * (1 << 20) - 100, 1 << 20)
TOLD: dict[str, Any] = {"memory": False, "output": "x", "algorithms": []}


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[PieceFile]:
    """A leader's file with pieces 0 and 1."""
    file = PieceFile.create(str(tmp_path / "data"), str(tmp_path / "record"), GEOMETRY, b"g1")
    for n in (0, 1):
        content = bytes([n]) * GEOMETRY.content(n)[1]
        file.write(n, content, xxhash.xxh3_128_digest(content))
    yield file
    file.close()


@pytest.fixture
def page() -> Iterator[SignalPage]:
    found = SignalPage.create()
    yield found
    found.close()


def handed(file: PieceFile) -> list[int]:
    """Descriptors as they arrive from the leader."""
    return [os.dup(file.fd), os.dup(file.record.fd)]


def opened() -> int:
    return len(own_descriptors())


@pytest.mark.parametrize(
    "told",
    [{}, {"memory": True, "output": 1, "algorithms": []}, {"output": "x", "algorithms": "xxh3"}, {"output": "x", "algorithms": [1]}],
)
def test_malformed_descriptions_are_refused(leader: PieceFile, page: SignalPage, told: dict[str, Any]) -> None:
    descriptors = handed(leader)
    with pytest.raises(StorageError):
        LeaderPlace.adopt(told, descriptors, page)
    for fd in descriptors:
        os.close(fd)


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_descriptors_of_other_kinds_are_refused_and_stay_the_callers(page: SignalPage, memory: bool, count: int) -> None:
    pipes = [os.pipe() for _ in range(count)]
    before = opened()
    with pytest.raises((StorageError, OSError)):
        LeaderPlace.adopt({**TOLD, "memory": memory}, [read for read, _ in pipes], page)
    assert opened() == before
    for pair in pipes:
        for fd in pair:
            os.close(fd)


def test_unsealed_memory_is_refused(page: SignalPage) -> None:
    """After a truncation, access to its mapping would kill this process."""
    file = MemoryFile.allocate(GEOMETRY, b"g1")
    data = os.memfd_create("cut", os.MFD_ALLOW_SEALING)
    os.ftruncate(data, GEOMETRY.length)
    record = os.dup(file.record.fd)
    before = opened()
    with pytest.raises(StorageError):
        LeaderPlace.adopt({**TOLD, "memory": True}, [data, record], page)
    assert opened() == before
    os.close(data)
    os.close(record)
    file.close()


class Joined:
    """A download that copies from the leader's place."""

    def __init__(self, leader: PieceFile, page: SignalPage, path: Path) -> None:
        self.place = LeaderPlace.adopt(TOLD, handed(leader), page)
        self.file = PieceFile.create(str(path / "own"), str(path / "own-record"), GEOMETRY, b"g1")
        self.transfer = Transfer(self.file, Plan(Window(-1, GEOMETRY.count), 1), ByteCounts())
        self.copier = FileCopier(self.place, self.transfer, lambda: None)

    def run(self) -> list[int]:
        """Pieces that were copied when none is waited for any more."""
        self.copier.finish()
        self.copier.run()
        found = list(self.file.available)
        self.transfer.close()
        self.place.close()
        self.file.close()
        return found


def test_pieces_are_copied(leader: PieceFile, page: SignalPage, tmp_path: Path) -> None:
    joined = Joined(leader, page, tmp_path)
    assert joined.run() == [0, 1]
    assert not joined.copier.broken
    assert (tmp_path / "own").read_bytes()[: GEOMETRY.content(2)[0]] == (tmp_path / "data").read_bytes()[: GEOMETRY.content(2)[0]]


def test_a_bit_ahead_of_its_bytes_is_detected(leader: PieceFile, page: SignalPage, tmp_path: Path) -> None:
    leader.record.set_digest(2, bytes(16))
    leader.record.publish(2)
    joined = Joined(leader, page, tmp_path)
    assert joined.run() == [0, 1]
    assert "piece 2" in joined.copier.broken


def test_a_truncated_file_is_detected(leader: PieceFile, page: SignalPage, tmp_path: Path) -> None:
    os.truncate(tmp_path / "data", 100)
    joined = Joined(leader, page, tmp_path)
    assert joined.run() == []
    assert "cut short" in joined.copier.broken


def test_no_piece_is_copied_from_a_file_of_possibly_two_versions(leader: PieceFile, page: SignalPage, tmp_path: Path) -> None:
    joined = Joined(leader, page, tmp_path)
    page.mark_unproved()
    assert joined.run() == []


def test_no_piece_is_copied_after_the_version_was_forgotten(leader: PieceFile, page: SignalPage, tmp_path: Path) -> None:
    joined = Joined(leader, page, tmp_path)
    leader.record.forget_generation()
    assert joined.run() == []


def test_pieces_of_a_verified_file_are_copied(leader: PieceFile, page: SignalPage, tmp_path: Path) -> None:
    page.mark_unproved()
    content = b"2" * GEOMETRY.content(2)[1]
    leader.write(2, content, xxhash.xxh3_128_digest(content))
    leader.mark_complete()
    assert Joined(leader, page, tmp_path).run() == [0, 1, 2]


def test_a_verified_file_without_a_piece_is_detected(leader: PieceFile, page: SignalPage, tmp_path: Path) -> None:
    leader.mark_complete()
    joined = Joined(leader, page, tmp_path)
    assert joined.run() == [0, 1]
    assert "missing" in joined.copier.broken
