"""Verification of pieces, and the memory used by fetching."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest
import xxhash

from dfengine._piece import TAIL, Geometry, frame_head
from dfengine._window import Window
from dfengine.client import fetch
from dfengine.client.byte_counts import ByteCounts
from dfengine.client.messages import Source
from dfengine.client.plan import Plan
from dfengine.client.throttle import Throttle
from dfengine.client.transfer import Transfer
from dfengine.errors import DigestMismatch
from dfengine.net.dialer import Dialer
from dfengine.net.http_client import Head
from dfengine.storage.piece_file import PieceFile

MIB = 1 << 20
THREE = Geometry(2 * (MIB - 5) + 100, MIB)


class Line:
    """A kept connection of a source that has received one response."""

    name, answers_read, usable, total = "source", 0, True, 0

    def __init__(self, source: Source, answer: bytes) -> None:
        self.host, self.port = source.ip, source.port
        self._answer = answer
        self.receiver = self

    def send(self, method: str, target: str, headers: object) -> None:
        """The response arrived before the request."""

    def head(self, deadline: float) -> Head:
        return Head(206, {}, len(self._answer), False, True)

    def read(self, length: int, deadline: float) -> bytes:
        taken, self._answer = self._answer[:length], self._answer[length:]
        return taken

    def into(self, buffer: memoryview, at: int, length: int, **_: float) -> float:
        buffer[at : at + length] = self.read(length, 0.0)
        return 0.0

    def close(self) -> None:
        """No descriptor is open."""


class TestFrames:
    @pytest.mark.parametrize("at", [0, 3, -1], ids=["piece size", "length", "tail"])
    def test_a_native_piece_in_a_wrong_frame_is_fetched_from_another_source(self, tmp_path: Path, at: int) -> None:
        """Its digest covers the content only, so the frame is verified separately."""
        content = bytes(100)
        framed = frame_head(100, MIB) + content + TAIL
        wrong = bytearray(framed)
        wrong[at] ^= 1
        bad, good = Source("bad", "127.0.0.1", 15001, "/peer/file/f"), Source("good", "127.0.0.1", 15002, "/peer/file/f")
        file = PieceFile.create(str(tmp_path / "data"), str(tmp_path / "record"), Geometry(100, MIB))
        transfer = Transfer(file, Plan(Window(-1, 1), 1), ByteCounts())
        transfer.plan.offer(0, f"xxh3:{xxhash.xxh3_128_hexdigest(content)}", [bad, good], 0.0)
        transfer.connections.release(Line(bad, bytes(wrong)))  # type: ignore[arg-type]
        transfer.connections.release(Line(good, framed))  # type: ignore[arg-type]
        fetch.Fetcher(transfer, Dialer(), 0.0).run()
        assert transfer.error is None
        assert transfer.plan.drain() == ([(0, "good")], [(0, "bad", "other")])
        assert (tmp_path / "data").read_bytes() == content
        transfer.close()
        file.close()


def test_time_that_is_not_the_sources_does_not_count_against_its_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for this host's rate limit, and time in which this process was suspended while it received."""
    now, content = [100.0], bytes(600 << 10)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    allowed: list[float] = []

    class Suspended(Line):
        def into(self, buffer: memoryview, at: int, length: int, **rules: float) -> float:
            allowed.append(now[0] - rules["started"])
            now[0] += 60.0
            return super().into(buffer, at, length) + 59.0

    class Limit(Throttle):
        def acquire(self, want: int) -> int:
            now[0] += 20.0
            return want

    source = Source("a", "127.0.0.1", 15001, "/peer/file/f")
    file = PieceFile.create(str(tmp_path / "data"), str(tmp_path / "record"), Geometry(len(content), MIB))
    transfer = Transfer(file, Plan(Window(-1, 1), 1), ByteCounts(), throttle=Limit(1000))
    transfer.plan.offer(0, f"xxh3:{xxhash.xxh3_128_hexdigest(content)}", [source], now[0])
    transfer.connections.release(Suspended(source, frame_head(len(content), MIB) + content + TAIL))  # type: ignore[arg-type]
    fetch.Fetcher(transfer, Dialer(), 0.0).run()
    assert transfer.error is None
    assert transfer.finished
    assert allowed == [0.0, 1.0, 2.0]
    transfer.close()
    file.close()


class TestVerification:
    content = memoryview(b"some piece")
    frame = frame_head(10, MIB)

    def test_an_xxh3_digest_is_verified_and_returned(self) -> None:
        digest = xxhash.xxh3_128_hexdigest(self.content)
        assert fetch.verify(f"xxh3:{digest}", self.frame, self.content) == bytes.fromhex(digest)
        assert fetch.verify(f"xxh3:{digest.upper()}", self.frame, self.content) == bytes.fromhex(digest)

    def test_for_other_algorithms_no_xxh3_digest_is_returned(self) -> None:
        digest = hashlib.sha256(self.content).hexdigest()
        assert fetch.verify(f"sha256:{digest}", self.frame, self.content) is None

    def test_a_framed_digest_of_1x_is_verified(self) -> None:
        framed = self.frame + bytes(self.content) + b"\x7f"
        digest = f"framed:{hashlib.md5(framed).hexdigest()}:15"
        assert fetch.verify(digest, self.frame, self.content) is None
        with pytest.raises(DigestMismatch):
            fetch.verify(digest.replace(":15", ":16"), self.frame, self.content)

    def test_the_framed_digest_of_an_empty_file_of_1x_is_verified(self) -> None:
        """The digest is from a real exchange: see docs/protocol.md."""
        assert fetch.verify("framed:d6991051769098273e82477afd2bb93e:5", frame_head(0, 4 * MIB), memoryview(b"")) is None

    @pytest.mark.parametrize("algorithm", ["xxh3", "md5", "sha256", "blake3", "framed"])
    @pytest.mark.parametrize("value", ["", "00", "zz", "0" * 32])
    def test_a_wrong_digest_is_refused(self, algorithm: str, value: str) -> None:
        with pytest.raises(DigestMismatch):
            fetch.verify(f"{algorithm}:{value}", self.frame, self.content)


@pytest.mark.parametrize("length", [-1, 0, 1, 10_000, 5 * MIB, 1 << 30, 10 << 30, 1 << 40])
def test_threads_and_buffers_are_bounded_for_any_length(length: int) -> None:
    geometry = Geometry(length)
    threads = fetch.workers(geometry)
    assert 1 <= threads <= fetch.WORKERS
    assert threads * fetch.buffer_size(geometry) <= max(fetch.BUFFERS, fetch.buffer_size(geometry))
    assert fetch.buffer_size(geometry) > max(geometry.content(0)[1], 0)
    if 0 <= length < geometry.content_size:
        assert (threads, fetch.buffer_size(geometry)) == (1, length + 1)
