"""Chunked bodies: content does not depend on chunk boundaries; malformed, endless and too long bodies are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import ProtocolViolation, SourceGone
from dfengine.net import chunks
from dfengine.net.chunks import Chunks

RULES = {"silence": 1.0, "floor": 0.0, "grace": 1.0, "started": 0.0}


class Bytes:
    """A receiver over bytes in memory."""

    def __init__(self, content: bytes) -> None:
        self._left = content

    def line(self, deadline: float) -> bytes:
        line, feed, self._left = self._left.partition(b"\n")
        if not feed:
            raise SourceGone("closed")
        return line + feed

    def read(self, length: int, deadline: float) -> bytes:
        if length > len(self._left):
            raise SourceGone("closed")
        taken, self._left = self._left[:length], self._left[length:]
        return taken

    def into(self, buffer: memoryview, offset: int, length: int, **rules: float) -> float:
        buffer[offset : offset + length] = self.read(length, 0.0)
        return 0.0


class Suspended(Bytes):
    """A receiver of a process that is suspended for 50 s during each receive."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.started: list[float] = []

    def into(self, buffer: memoryview, offset: int, length: int, **rules: float) -> float:
        self.started.append(rules["started"])
        return super().into(buffer, offset, length) + 50.0


def test_time_in_which_this_process_is_suspended_is_passed_on_from_chunk_to_chunk() -> None:
    receiver = Suspended(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    rules = RULES | {"started": 7.0}
    assert Chunks(receiver).into(memoryview(bytearray(5)), 0, 5, **rules) == 100.0  # type: ignore[arg-type]
    assert receiver.started == [7.0, 57.0]


def chunked(parts: list[bytes], end: bytes = b"0\r\n\r\n") -> Chunks:
    return Chunks(Bytes(b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + end))  # type: ignore[arg-type]


PARTS = st.lists(st.binary(min_size=1, max_size=9), max_size=9)


@given(PARTS, st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=12))
def test_content_does_not_depend_on_chunk_boundaries(parts: list[bytes], steps: list[tuple[bool, int]]) -> None:
    whole, source, got = b"".join(parts), chunked(parts), b""
    for into, wanted in steps:
        length = min(wanted, len(whole) - len(got))
        if into:
            buffer = bytearray(length + 2)
            source.into(memoryview(buffer), 1, length, before=0, after=0, **RULES)
            got += buffer[1:-1]
        else:
            got += source.read(length, 0.0)
    assert got == whole[: len(got)]
    if len(got) < len(whole):
        with pytest.raises(ProtocolViolation, match="longer"):
            source.end(0.0)
    else:
        source.end(0.0)


@given(PARTS, st.integers(0, 90))
def test_read_all_returns_the_body_up_to_a_limit(parts: list[bytes], limit: int) -> None:
    whole = b"".join(parts)
    if limit < len(whole):
        with pytest.raises(ProtocolViolation, match="longer"):
            chunked(parts).read_all(0.0, limit)
    else:
        assert chunked(parts).read_all(0.0, limit) == whole


@pytest.mark.parametrize("size", [b"x", b"", b"-1", b"+1", b" 1", b"0x1", b"1_0", b"123456789", b"1\r\nab"])
def test_malformed_chunk_sizes_are_refused(size: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        Chunks(Bytes(size + b"\r\na\r\n0\r\n\r\n")).read_all(0.0, 100)  # type: ignore[arg-type]


def test_a_body_that_ends_early_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match="early"):
        chunked([b"abc"]).read(4, 0.0)


def test_chunk_extensions_and_trailers_are_ignored() -> None:
    assert Chunks(Bytes(b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n")).read_all(0.0, 3) == b"abc"  # type: ignore[arg-type]


def test_endless_chunks_and_trailers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "MAX_CHUNKS", 5)
    with pytest.raises(ProtocolViolation, match="without end"):
        chunked([b"a"] * 6).read_all(0.0, 100)
    with pytest.raises(ProtocolViolation, match="trailers"):
        chunked([], b"0\r\n" + b"X: y\r\n" * 65).read_all(0.0, 100)
