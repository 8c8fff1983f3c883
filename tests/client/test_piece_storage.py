"""Places of files and streams: which transfer continues, and counters over all transfers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfengine._piece import Geometry
from dfengine.client.assembly import Assembly
from dfengine.client.piece_storage import PieceStorage
from dfengine.errors import OriginChanged, SupernodeError
from dfengine.settings import GetSettings
from dfengine.streaming.stream_buffer import StreamBuffer
from dfengine.task import Digest

MIB = 1 << 20


@pytest.fixture(params=["file", "stream"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PieceStorage]:
    made: PieceStorage
    if request.param == "file":
        made = Assembly(GetSettings(url="http://o/f", output=str(tmp_path / "out")), "t" * 64)
    else:
        made = StreamBuffer(GetSettings(url="http://o/f", output="-"))
    yield made
    made.close()


def test_the_same_file_continues_and_another_one_starts_over(place: PieceStorage) -> None:
    unknown = place.open(Geometry(-1, MIB), b"one")
    assert place.open(Geometry(3 * MIB, MIB), b"one") is unknown
    assert unknown.file.geometry.length == 3 * MIB, "the length was not learnt"
    assert place.open(Geometry(3 * MIB, MIB), b"") is unknown, "a supernode without generations"
    for geometry, generation in ((Geometry(3 * MIB, MIB), b"two"), (Geometry(4 * MIB, MIB), b"two"), (Geometry(4 * MIB, 2 * MIB), b"two")):
        before = place.transfer
        place.drop_unprovable(generation)
        assert place.open(geometry, generation) is not before
        assert before is not None
        assert before.stopping


@pytest.mark.parametrize("expected", [(), (Digest("md5", "0" * 32),)])
def test_pieces_that_no_generation_names_are_kept_only_for_a_digest(tmp_path: Path, expected: tuple[Digest, ...]) -> None:
    """A supernode that names generations sends no md5 of the whole file."""
    settings = GetSettings(url="http://o/f", output=str(tmp_path / "out"), digest=expected[0] if expected else None)
    place = Assembly(settings, "t" * 64)
    try:
        transfer = place.open(Geometry(3 * MIB, MIB), b"one")
        place.drop_unprovable(b"two")
        assert place.transfer is transfer, "`open` compares the generations"
        assert place.open(Geometry(3 * MIB, MIB), b"") is transfer
        assert place.doubtful
        assert not transfer.file.record.generation, "the next download would resume from pieces of two versions"
        place.drop_unprovable(b"one")
        assert (place.transfer is transfer) == bool(expected)
        place.open(Geometry(3 * MIB, MIB), b"one")
        assert place.doubtful == bool(expected)
    finally:
        place.close()


def test_a_second_registration_without_a_version_makes_a_file_doubtful(tmp_path: Path) -> None:
    """This holds without a stored piece, too: one of the first registration may be under way."""
    place = Assembly(GetSettings(url="http://o/f", output=str(tmp_path / "out")), "t" * 64)
    try:
        transfer = place.open(Geometry(3 * MIB, MIB), b"")
        assert not place.doubtful
        assert place.open(Geometry(3 * MIB, MIB), b"") is transfer
        assert place.doubtful
    finally:
        place.close()


def test_a_stream_adds_no_piece_to_those_that_no_generation_names() -> None:
    """They were copied from a leader whose supernode speaks 1.x."""
    memory = StreamBuffer(GetSettings(url="http://o/f", output="-"))
    try:
        transfer = memory.open(Geometry(3 * MIB, MIB), b"")
        assert memory.open(Geometry(3 * MIB, MIB), b"one") is transfer, "nothing is stored"
        transfer.plan.add_stored([0])
        with pytest.raises(SupernodeError):
            memory.open(Geometry(3 * MIB, MIB), b"one")
        assert memory.transfer is transfer
    finally:
        memory.close()


@pytest.mark.parametrize("pieces", [0, 1])
def test_a_download_without_pieces_leaves_no_part(tmp_path: Path, pieces: int) -> None:
    place = Assembly(GetSettings(url="http://o/f", output=str(tmp_path / "out")), "t" * 64)
    transfer = place.open(Geometry(3 * MIB, MIB), b"one")
    for n in range(pieces):
        transfer.file.write(n, bytes(transfer.file.geometry.content(n)[1]), bytes(16))
    assert len(os.listdir(tmp_path)) == 2
    place.close()
    assert len(os.listdir(tmp_path)) == 2 * pieces


def test_hedges_of_all_transfers_are_counted(place: PieceStorage) -> None:
    place.open(Geometry(3 * MIB, MIB), b"one").plan.hedged = 2
    place.open(Geometry(3 * MIB, MIB), b"two").plan.hedged = 1
    assert place.hedged == 3
    place.close()
    place.close()
    assert place.hedged == 3


@pytest.mark.parametrize("n", [0, 4])
def test_a_stream_does_not_continue_with_another_file(n: int) -> None:
    """This holds once its consumer has a part of a piece, or knows where the file ends."""
    memory = StreamBuffer(GetSettings(url="http://o/f", output="-"))
    try:
        first = memory.open(Geometry(3 * MIB, MIB), b"zero")
        transfer = memory.open(Geometry(3 * MIB, MIB), b"one")
        assert memory.piece_location(first, n) is None, "a piece of the previous version is served"
        assert memory.piece_location(transfer, n) == (transfer.file.locate(0) if n == 0 else (-1, 0, 0))
        with pytest.raises(OriginChanged):
            memory.open(Geometry(3 * MIB, MIB), b"two")
        assert memory.transfer is transfer
    finally:
        memory.close()
