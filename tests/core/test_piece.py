"""Geometry and framing of pieces, against plain arithmetic and recorded exchanges of 1.x."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine._piece import MAX_PIECE_SIZE, MIN_PIECE_SIZE, Geometry, frame_content, frame_head, parse_range, piece_size
from dfengine.errors import BadFrame, BadPiece, BadRange, BadValue

MIB = 1 << 20
HUGE = [-1, -(1 << 63), -(1 << 70), 1 << 31, 1 << 63, 1 << 64, 1 << 100]


@pytest.mark.parametrize(("length", "mib"), [
    (-1, 4), (0, 4), (1, 4), (200 * MIB, 4), (200 * MIB + 1, 4), (300 * MIB - 1, 4), (300 * MIB, 5), (1024 * MIB, 12),
    (1300 * MIB, 15), (1400 * MIB, 15), (1 << 50, 15),
])
def test_piece_size_follows_the_rule_of_1x(length: int, mib: int) -> None:
    assert piece_size(length) == mib * MIB
    assert Geometry(length).piece_size == mib * MIB


class TestRecordingsOf1x:
    """Values from recorded exchanges: a 9,000,000 byte file, an empty one, a request with a piece size of 100."""

    def test_geometry_of_nine_million_bytes(self) -> None:
        geometry = Geometry(9_000_000)
        assert (geometry.count, geometry.framed_length) == (3, 9_000_015)
        assert [geometry.range_text(n) for n in range(3)] == ["0-4194303", "4194304-8388607", "8388608-12582911"]
        assert [geometry.framed(n) for n in range(3)] == [4194304, 4194304, 611407]
        assert [geometry.head(n).hex() for n in range(3)] == ["043ffffb", "043ffffb", "0409544a"]

    def test_an_empty_file_has_one_piece(self) -> None:
        geometry = Geometry(0)
        assert (geometry.count, geometry.framed_length, geometry.content(0)) == (1, 5, (0, 0))
        framed = geometry.head(0) + b"\x7f"
        assert framed == bytes.fromhex("040000007f")
        assert hashlib.md5(framed).hexdigest() == "d6991051769098273e82477afd2bb93e"
        assert geometry.segments(0, 4194303) == [b"\x04\0\0\0", b"\x7f"]

    def test_any_piece_size_can_be_framed(self) -> None:
        assert frame_head(95, 100).hex() == "0000065f"


@given(st.integers(0, 3000), st.integers(6, 200))
@settings(deadline=None)
def test_geometry_agrees_with_slicing(length: int, size: int) -> None:
    geometry = Geometry(length, size)
    raw = bytes(i % 251 for i in range(length))
    slices = [raw[at : at + size - 5] for at in range(0, length, size - 5)] or [b""]
    assert geometry.count == len(slices)
    framed = b""
    for n, content in enumerate(slices):
        offset, count = geometry.content(n)
        assert raw[offset : offset + count] == content
        head = (len(content) | size << 4).to_bytes(4, "big")
        assert geometry.head(n) == head
        assert geometry.framed(n) == len(content) + 5
        assert geometry.number(*geometry.range(n)) == n
        framed += head + content + b"\x7f"
    assert geometry.framed_length == len(framed)
    with pytest.raises(BadPiece):
        geometry.content(len(slices))


@given(st.integers(0, 800), st.integers(6, 90), st.integers(0, 1200), st.integers(0, 1200))
@settings(deadline=None, max_examples=300)
def test_segments_of_any_range_agree_with_the_framed_file(length: int, size: int, a: int, b: int) -> None:
    geometry = Geometry(length, size)
    raw = bytes(i % 251 for i in range(length))
    framed = b""
    for n in range(geometry.count):
        offset, count = geometry.content(n)
        framed += geometry.head(n) + raw[offset : offset + count] + b"\x7f"
    start, end = min(a, b), max(a, b)
    if start >= len(framed):
        with pytest.raises(BadRange):
            geometry.segments(start, end)
        return
    got = b"".join(part if isinstance(part, bytes) else raw[part[0] : part[0] + part[1]] for part in geometry.segments(start, end))
    assert got == framed[start : end + 1]


@given(st.sampled_from([0, 6, 15]), st.integers(0, 30) | st.integers(0, 10**13), st.integers(0, 30) | st.integers(0, 10**9))
@settings(deadline=None)
def test_covering_returns_exactly_the_pieces_of_a_range(piece: int, offset: int, count: int) -> None:
    geometry = Geometry(10**6, piece)
    first, past = geometry.covering(offset, count)
    size = geometry.content_size
    assert first * size <= offset < (first + 1) * size
    if count:
        assert (past - 1) * size < offset + count <= past * size
    else:
        assert past == first


@pytest.mark.parametrize("n", HUGE)
def test_pieces_out_of_range_are_refused(n: int) -> None:
    geometry = Geometry(9_000_000)
    for call in (geometry.check, geometry.content, geometry.range, geometry.range_text, geometry.framed, geometry.head):
        with pytest.raises(BadPiece):
            call(n)
    with pytest.raises(BadRange):
        geometry.number(n, n + 4194303)
    with pytest.raises(BadPiece):
        Geometry(-1).check(n)


def test_ranges_that_match_no_piece_are_refused() -> None:
    geometry = Geometry(9_000_000)
    for start, end in ((0, 4194302), (1, 4194304), (0, 8388607), (12582912, 16777215), (4194304, 0)):
        with pytest.raises(BadRange):
            geometry.number(start, end)
    for start, end in ((-1, 5), (5, 4), (1 << 70, 1 << 71), (9_000_015, 9_000_020)):
        with pytest.raises(BadRange):
            geometry.segments(start, end)
    for offset, length in ((-1, 1), (0, -1), (1 << 62, 1), (1 << 80, 1)):
        with pytest.raises(BadRange):
            geometry.covering(offset, length)


@pytest.mark.parametrize(
    ("length", "size"), [(-2, 0), (1 << 62, 0), (1 << 90, 0), (10, 5), (10, -1), (10, 1 << 28), (10, 1 << 70), (-(1 << 80), 0)]
)
def test_invalid_geometries_are_rejected(length: int, size: int) -> None:
    with pytest.raises(BadValue):
        Geometry(length, size)


def test_geometry_of_unknown_length() -> None:
    geometry = Geometry(-1)
    assert (geometry.length, geometry.count, geometry.framed_length, geometry.piece_size) == (-1, -1, -1, 4 * MIB)
    assert geometry.content(1000) == (1000 * (4 * MIB - 5), 4 * MIB - 5)
    with pytest.raises(BadRange):
        geometry.segments(0, 10)


@pytest.mark.parametrize("text", [
    "", "-", "1", "1-", "-1", "5-5", "6-5", "0--1", "+0-5", " 0-5", "0-5 ", "0-5,7-9", "0x0-5", "1e3-5e3", "a-b", "0-9223372036854775808",
    "0-99999999999999999999", "٣-٤", "0-5\n", "0\0-5", "0-5-7",
])
def test_invalid_ranges_are_rejected(text: str) -> None:
    with pytest.raises(BadRange):
        parse_range(text)


def test_ranges_are_parsed() -> None:
    assert parse_range("0-4194303") == (0, 4194303)
    assert parse_range("0-9223372036854775807") == (0, (1 << 63) - 1)


@pytest.mark.parametrize(
    ("content", "size"), [(-1, MIN_PIECE_SIZE), (MIN_PIECE_SIZE - 4, MIN_PIECE_SIZE), (0, 4), (0, 1 << 28), (1 << 70, 1 << 71), (5, -5)]
)
def test_invalid_frames_are_rejected(content: int, size: int) -> None:
    with pytest.raises(BadFrame):
        frame_head(content, size)


@given(st.integers(1, 15), st.data())
def test_a_frame_states_the_length_of_its_content(mib: int, data: st.DataObject) -> None:
    content = data.draw(st.integers(0, (mib << 20) - 5))
    assert frame_content(frame_head(content, mib << 20)) == content


def test_geometries_are_compared_by_value() -> None:
    assert Geometry(5) == Geometry(5)
    assert hash(Geometry(5)) == hash(Geometry(5))
    assert Geometry(5) != Geometry(6)
    assert Geometry(5) != 5
    assert MAX_PIECE_SIZE == 15 * MIB
