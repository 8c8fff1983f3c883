"""The digest of the whole file is right for any order of pieces, and reads back only pieces that arrived early."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from pathlib import Path

import blake3
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfengine._piece import Geometry
from dfengine.client.digest import FileDigester
from dfengine.errors import StorageError
from dfengine.storage.hashing import hasher
from dfengine.storage.piece_file import PieceFile
from dfengine.task import ALGORITHMS

SIZE = 4096


def content(length: int) -> bytes:
    return random.Random(length).randbytes(length)


def piece_file(folder: Path, geometry: Geometry) -> PieceFile:
    number = len(list(folder.iterdir()))
    return PieceFile.create(str(folder / f"d{number}"), str(folder / f"r{number}"), geometry)


def buffers(count: int) -> list[memoryview]:
    return [memoryview(bytearray(SIZE)) for _ in range(count)]


def put(file: PieceFile, digester: FileDigester, whole: bytes, n: int, mine: memoryview) -> memoryview:
    """Do what a fetch thread does with a piece."""
    offset, length = file.geometry.content(n)
    mine[:length] = whole[offset : offset + length]
    file.write(n, mine[:length], xxhash.xxh3_128_digest(mine[:length]))
    return digester.submit(n, mine, length) or mine


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, 12 * (SIZE - 5)), spares=st.integers(0, 3), data=st.data())
def test_the_digests_are_right_for_any_order_of_pieces(tmp_path: Path, length: int, spares: int, data: st.DataObject) -> None:
    geometry, whole = Geometry(length, SIZE), content(length)
    file = piece_file(tmp_path, geometry)
    digester = FileDigester(file, list(ALGORITHMS), buffers(spares))
    thread = threading.Thread(target=digester.run)
    thread.start()
    mine = memoryview(bytearray(SIZE))
    for n in data.draw(st.permutations(range(geometry.count))):
        mine = put(file, digester, whole, n, mine)
    assert digester.result(30.0) == {
        "md5": hashlib.md5(whole).hexdigest(),
        "sha1": hashlib.sha1(whole).hexdigest(),
        "sha256": hashlib.sha256(whole).hexdigest(),
        "sha512": hashlib.sha512(whole).hexdigest(),
        "blake3": blake3.blake3(whole).hexdigest(),
        "xxh3": xxhash.xxh3_128_hexdigest(whole),
    }
    thread.join()
    assert digester.read_back <= length
    file.close()


def test_pieces_in_order_are_not_read_back(tmp_path: Path) -> None:
    geometry = Geometry(9 * (SIZE - 5) + 17, SIZE)
    whole = content(geometry.length)
    file = piece_file(tmp_path, geometry)
    digester = FileDigester(file, ["sha256"], buffers(1))
    mine = memoryview(bytearray(SIZE))
    for n in range(geometry.count):
        mine = put(file, digester, whole, n, mine)
        assert digester.step()
    assert not digester.step()
    assert digester.result(1.0) == {"sha256": hashlib.sha256(whole).hexdigest()}
    assert digester.read_back == 0
    file.close()


def test_pieces_stored_before_are_read_back(tmp_path: Path) -> None:
    geometry = Geometry(3 * (SIZE - 5), SIZE)
    whole = content(geometry.length)
    file = piece_file(tmp_path, geometry)
    early = FileDigester(file, [], ())
    for n in range(3):
        put(file, early, whole, n, memoryview(bytearray(SIZE)))
    digester = FileDigester(file, ["md5"])
    digester.run()
    assert digester.result(0.0) == {"md5": hashlib.md5(whole).hexdigest()}
    assert digester.read_back == geometry.length
    file.close()


def test_a_length_learnt_after_all_pieces_completes_the_digest(tmp_path: Path) -> None:
    whole = content(2 * (SIZE - 5) + 3)
    file = piece_file(tmp_path, Geometry(-1, SIZE))
    digester = FileDigester(file, ["md5"], buffers(1))
    thread = threading.Thread(target=digester.run)
    thread.start()
    for n in (2, 0, 1):
        part = whole[n * (SIZE - 5) : (n + 1) * (SIZE - 5)]
        file.write(n, part, xxhash.xxh3_128_digest(part))
        digester.advance()
    file.learn_length(len(whole))
    digester.advance()
    assert digester.result(30.0) == {"md5": hashlib.md5(whole).hexdigest()}
    thread.join()
    file.close()


class LengthLearntAfterLocate(PieceFile):
    """The file's length becomes known just after a piece was located."""

    known = -1

    def locate(self, n: int) -> tuple[int, int, int]:
        place = super().locate(n)
        if self.geometry.length < 0 <= self.known:
            self.learn_length(self.known)
        return place


@pytest.mark.parametrize("length", [1, SIZE - 6, SIZE - 5, SIZE - 4])
def test_a_length_learnt_while_the_last_piece_is_read_does_not_change_the_digest(tmp_path: Path, length: int) -> None:
    whole = content(length)
    made = piece_file(tmp_path, Geometry(-1, SIZE))
    file = LengthLearntAfterLocate(made.path, made.fd, made.record)
    for n in range(0, -(-length // (SIZE - 5))):
        part = whole[n * (SIZE - 5) : (n + 1) * (SIZE - 5)]
        file.write(n, part, xxhash.xxh3_128_digest(part))
    digester = FileDigester(file, ["md5"])
    file.known = length
    digester.run()
    assert digester.result(0.0) == {"md5": hashlib.md5(whole).hexdigest()}
    file.close()


def test_a_piece_read_while_the_length_is_learnt_has_its_own_length(tmp_path: Path) -> None:
    made = piece_file(tmp_path, Geometry(-1, SIZE))
    file = LengthLearntAfterLocate(made.path, made.fd, made.record)
    file.write(0, b"short", xxhash.xxh3_128_digest(b"short"))
    file.known = 5
    buffer = memoryview(bytearray(SIZE))
    assert file.read_into(0, buffer) == 5
    assert bytes(buffer[:5]) == b"short"
    os.truncate(made.path, 3)
    with pytest.raises(StorageError, match="cut short"):
        file.read_into(0, buffer)
    file.close()


def test_a_file_truncated_during_hashing_is_an_error(tmp_path: Path) -> None:
    geometry = Geometry(2 * (SIZE - 5), SIZE)
    file = piece_file(tmp_path, geometry)
    early = FileDigester(file, [], ())
    for n in range(2):
        put(file, early, content(geometry.length), n, memoryview(bytearray(SIZE)))
    os.truncate(tmp_path / "d0", 10)
    digester = FileDigester(file, ["md5"])
    digester.run()
    with pytest.raises(StorageError, match="cut short"):
        digester.result(1.0)
    file.close()


def test_an_unfinished_and_a_stopped_digest_have_no_result(tmp_path: Path) -> None:
    file = piece_file(tmp_path, Geometry(10, SIZE))
    digester = FileDigester(file, ["md5"], buffers(1))
    assert digester.result(0.0) is None
    digester.stop()
    digester.run()
    assert digester.result(0.0) is None
    assert digester.submit(0, memoryview(bytearray(SIZE)), 10) is None, "a stopped digest keeps the buffer"
    file.close()


@pytest.mark.parametrize(
    ("algorithm", "empty"),
    [
        ("md5", "d41d8cd98f00b204e9800998ecf8427e"),
        ("sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("blake3", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        ("xxh3", "99aa06d3014798d86001c324468d497f"),
    ],
)
def test_algorithms_have_the_published_digest_of_no_bytes(algorithm: str, empty: str) -> None:
    assert hasher(algorithm).hexdigest() == empty


def test_a_piece_is_read_from_the_place_where_its_bit_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise zeros are hashed when the file has moved to a place without the piece."""
    geometry, whole = Geometry(SIZE - 5, SIZE), content(SIZE - 5)
    file, other = (piece_file(tmp_path, geometry) for _ in range(2))
    file.write(0, whole, bytes(16))
    digester = FileDigester(file, ["md5"])
    ready = digester._ready

    def moves() -> bool:
        seen = ready()
        if not file.sequence:
            file.replace_storage(other)
        return seen

    monkeypatch.setattr(digester, "_ready", moves)
    assert digester.step()
    assert not digester.step()
    file.write(0, whole, bytes(16))
    assert digester.step()
    assert digester.result(0) == {"md5": hashlib.md5(whole).hexdigest()}
    file.close()
