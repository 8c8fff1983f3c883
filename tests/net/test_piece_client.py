"""The length that a source announces for a piece, and the verification of the piece's frame."""

from __future__ import annotations

import time
from typing import Any

import pytest

from dfengine._piece import TAIL, Geometry, frame_head
from dfengine.errors import BadFrame, ProtocolViolation
from dfengine.net.http_client import Head
from dfengine.net.piece_client import PieceBody, announced_length, framed_length

MIB = 1 << 20
THREE = Geometry(2 * (MIB - 5) + 100, MIB)


def head(length: int, chunked: bool = False, **headers: str) -> Head:
    return Head(206, {name.replace("_", "-"): value for name, value in headers.items()}, length, chunked, True)


class TestAnnouncements:
    def test_the_exact_length_of_the_piece_is_accepted(self) -> None:
        assert announced_length(head(MIB), THREE, 0) == MIB - 5
        assert announced_length(head(105), THREE, 2) == 100
        assert announced_length(head(105, content_range=f"bytes {2 * MIB}-{2 * MIB + 104}/2097257"), THREE, 2) == 100
        assert announced_length(head(5), Geometry(0, MIB), 0) == 0

    @pytest.mark.parametrize("length", [0, 4, 5, 104, 106, MIB])
    def test_other_lengths_are_refused(self, length: int) -> None:
        with pytest.raises(ProtocolViolation):
            announced_length(head(length), THREE, 2)

    def test_without_an_announced_length_the_frame_states_it(self) -> None:
        for chunked in (False, True):
            assert announced_length(head(-1, chunked=chunked), THREE, 2) == -1
        assert framed_length(frame_head(100, MIB), THREE, 2) == 100
        assert framed_length(frame_head(7, MIB), Geometry(-1, MIB), 2) == 7
        for wrong in (0, 99, 101, MIB - 5):
            with pytest.raises(ProtocolViolation):
                framed_length(frame_head(wrong, MIB), THREE, 2)
        with pytest.raises(ProtocolViolation):
            framed_length(b"\xff" * 4, Geometry(-1, MIB), 2)

    @pytest.mark.parametrize("named", ["bytes 0-104/2097257", "bytes */105", "nonsense", ""])
    def test_another_content_range_is_refused(self, named: str) -> None:
        with pytest.raises(ProtocolViolation):
            announced_length(head(105, content_range=named), THREE, 2)

    def test_for_files_of_unknown_length_any_length_that_fits_is_accepted(self) -> None:
        unknown = Geometry(-1, MIB)
        assert announced_length(head(5), unknown, 7) == 0
        assert announced_length(head(MIB), unknown, 7) == MIB - 5
        for length in (4, MIB + 1):
            with pytest.raises(ProtocolViolation):
                announced_length(head(length), unknown, 7)


class Answer:
    """A connection whose receiver holds `sent`."""

    def __init__(self, sent: bytes) -> None:
        self.receiver, self._left = self, sent

    def read(self, length: int, deadline: float) -> bytes:
        taken, self._left = self._left[:length], self._left[length:]
        return taken

    def into(self, buffer: Any, offset: int, length: int, **_: float) -> float:
        buffer[offset : offset + length] = self.read(length, 0.0)
        return 0.0


@pytest.mark.parametrize("at", [0, 3, -1], ids=["piece size", "length", "tail"])
def test_every_field_of_the_frame_is_verified(at: int) -> None:
    whole = bytearray(frame_head(100, MIB) + bytes(range(100)) + TAIL)

    def receive() -> bytes:
        answer: Any = Answer(bytes(whole))
        body: Any = PieceBody(answer, head(105), THREE, 2, time.monotonic() + 9)
        content = bytearray(body.length)
        body.into(content, 0, body.length)
        body.end(answer, time.monotonic() + 9)
        return bytes(content)

    assert receive() == bytes(range(100))
    whole[at] ^= 1
    with pytest.raises(BadFrame):
        receive()
