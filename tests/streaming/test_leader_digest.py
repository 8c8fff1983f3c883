"""Streams that delegate hashing, digests of leaders, and hashing of pieces that a leader has left."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import xxhash

from dfengine._piece import Geometry
from dfengine.client.leader_place import LeaderPlace
from dfengine.errors import TimedOut
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.signal_page import SignalPage
from dfengine.storage.stream_memory import StreamMemory
from dfengine.streaming.leader_digest import can_delegate, hash_from_places, published_digests

GEOMETRY = Geometry(3 * (1 << 20) - 100, 1 << 20)
CONTENT = [bytes([n]) * GEOMETRY.content(n)[1] for n in range(3)]
SHA256 = hashlib.sha256(b"".join(CONTENT)).hexdigest()


def filled(file: PieceFile) -> PieceFile:
    """A file with all pieces."""
    for n, content in enumerate(CONTENT):
        file.write(n, content, xxhash.xxh3_128_digest(content))
    return file


@pytest.fixture
def own() -> Iterator[StreamMemory]:
    """The file of a stream that has delivered and evicted all pieces."""
    file = StreamMemory.allocate(GEOMETRY, b"g")
    filled(file)
    for n in range(3):
        file.evict(n)
    yield file
    file.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[LeaderPlace]:
    """The place of a download into a file that has all pieces, and computes SHA-256 and XXH3."""
    file = filled(PieceFile.create(str(tmp_path / "data"), str(tmp_path / "record"), GEOMETRY, b"g"))
    page = SignalPage.create()
    found = LeaderPlace(file, page, "x", ["sha256", "xxh3"])
    yield found
    found.close()
    page.close()


def test_hashing_is_delegated_only_for_expensive_digests_that_the_leader_computes(place: LeaderPlace) -> None:
    assert can_delegate(place, 0, ["sha256"])
    assert can_delegate(place, 0, ["sha256", "xxh3"])
    assert not can_delegate(place, 0, ["sha512"])
    assert not can_delegate(place, 0, ["xxh3"]), "XXH3 is cheap, and not lost with the leader"
    assert not can_delegate(place, 0, [])
    stream = StreamMemory.allocate(GEOMETRY, b"g")
    leader = LeaderPlace(stream, place.page, "", ["sha256"])
    assert not can_delegate(leader, 0, ["sha256"]), "this stream is the next leader"
    assert can_delegate(leader, 1, ["sha256"])
    leader.close()


def test_a_leaders_digest_is_used_if_all_its_pieces_are_the_delivered_ones(place: LeaderPlace, own: StreamMemory) -> None:
    assert published_digests([place], own.record, ["sha256"]) == {}, "no digest is published yet"
    place.page.publish_digests({"sha256": SHA256, "xxh3": "0"})
    assert published_digests([place], own.record, ["sha256"]) == {"sha256": SHA256}
    assert published_digests([place], own.record, ["sha512"]) == {}
    own.record.set_digest(1, bytes(16))
    assert published_digests([place], own.record, ["sha256"]) == {}, "another piece was delivered"


def test_a_leaders_digest_of_another_length_is_not_used(place: LeaderPlace) -> None:
    place.page.publish_digests({"sha256": SHA256})
    other = StreamMemory.allocate(Geometry(2 << 20, 1 << 20), b"g")
    assert published_digests([place], other.record, ["sha256"]) == {}
    other.close()


def test_pieces_in_a_leaders_place_are_hashed(place: LeaderPlace, own: StreamMemory) -> None:
    hashes = hash_from_places([place], own.record, 3, ["sha256"], lambda: None)
    assert hashes is not None
    assert hashes["sha256"].hexdigest() == SHA256
    half = hash_from_places([place], own.record, 1, ["sha256"], lambda: None)
    assert half is not None
    for content in CONTENT[1:]:
        half["sha256"].update(content)
    assert half["sha256"].hexdigest() == SHA256


@pytest.mark.parametrize("what", ["changed", "cut", "gone"])
def test_a_changed_place_is_not_hashed(place: LeaderPlace, own: StreamMemory, tmp_path: Path, what: str) -> None:
    if what == "changed":
        place.file.write_part(1, 5, b"another program's")
    elif what == "cut":
        (tmp_path / "data").write_bytes(b"")
    else:
        place.file.record.unpublish(1)
    assert hash_from_places([place], own.record, 3, ["sha256"], lambda: None) is None
    assert hash_from_places([], own.record, 1, ["sha256"], lambda: None) is None


def test_hashing_can_be_interrupted(place: LeaderPlace, own: StreamMemory) -> None:
    def late() -> None:
        raise TimedOut("too late")

    with pytest.raises(TimedOut):
        hash_from_places([place], own.record, 3, ["sha256"], late)
