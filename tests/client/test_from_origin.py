"""State that a download from the origin publishes, and the name of a file's version."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dfengine._piece import Geometry
from dfengine._window import Window
from dfengine.client.assembly import Assembly
from dfengine.client.byte_counts import ByteCounts
from dfengine.client.from_origin import PAUSE, FromOrigin, _Sink
from dfengine.client.monitor import Monitor
from dfengine.client.plan import Plan
from dfengine.client.transfer import Transfer
from dfengine.errors import OriginUnreachable
from dfengine.origin.cancel import Cancel
from dfengine.origin.connection_limits import ConnectionLimits
from dfengine.origin.piece_claims import ENDLESS
from dfengine.origin.reader import Reader
from dfengine.origin.retry import Retry
from dfengine.origin.version import Version
from dfengine.settings import GetSettings
from dfengine.storage.hashing import content_digest
from dfengine.storage.piece_file import PieceFile
from dfengine.streaming.stream_buffer import StreamBuffer
from dfengine.task import generation


def test_a_version_is_named_by_its_validators() -> None:
    names = [
        generation('"a"', "", 5),
        generation('"b"', "", 5),
        generation('"a"', "", 6),
        generation("", '"a"', 5),
        generation('"a"', "Tue, 01 Jan 2026 00:00:00 GMT", 5),
    ]
    assert len(set(names)) == len(names)
    assert all(len(name) == 16 for name in names)
    assert generation('"a"', "", 5) == names[0]
    assert generation("", "", 5) == "", "without a validator a version has a name"


class Body:
    """A response of three bytes of unstated length."""

    place = "127.0.0.1:80"
    start, length, remaining = 0, -1, -1
    ranged = bounded = not_modified = end_unknown = False
    version = Version()

    def read_into(self, view: memoryview, waiting: object = None) -> int:
        part = b"abc"[self.start :]
        view[: len(part)] = part
        self.start += len(part)
        return len(part)

    def close(self) -> None:
        pass


class Origin:
    """An origin that must not receive further requests."""

    key = "http://127.0.0.1:80"
    cancel = Cancel()
    floor = 0.0

    def open(self, *asked: object, **more: object) -> Body:
        raise AssertionError(asked, more)


def test_a_length_known_only_to_the_record_is_adopted_by_the_transfer() -> None:
    """The record may be written by another process, which learns the length first."""
    settings = GetSettings(url="http://o/f", output="-")
    place = StreamBuffer(settings)
    try:
        transfer = place.open(Geometry(-1, 1 << 20), b"one")
        transfer.file.write(0, bytes(transfer.file.geometry.content(0)[1]), bytes(16))
        transfer.add_shared(0, 1)
        transfer.file.learn_length(3 << 20)
        origin = FromOrigin(settings, place, Monitor(0.0, None, "", True))
        assert origin._open(Body()) == (transfer, True)  # type: ignore[arg-type]
        assert transfer.plan.window.count == transfer.file.geometry.count
    finally:
        place.close()


def test_an_open_file_is_retried_for_longer() -> None:
    """A failure loses a response that has begun; before that, other sources can be tried."""
    settings = GetSettings(url="http://o/f", output="-", retry=1, retry_max_time=5.0, open_retry_time=120.0)
    place = StreamBuffer(settings)

    def tries(origin: FromOrigin) -> int:
        now = 0.0
        for n in range(100):
            wait = origin._retry.pause(OriginUnreachable("refused"), now, 0.5)
            if wait is None:
                return n
            now += wait
            assert wait <= 1.5 * PAUSE
        raise AssertionError("it is tried for ever")

    try:
        assert tries(FromOrigin(settings, place, Monitor(0.0, None, "", True))) == 1
        place.open(Geometry(-1, 1 << 20), b"one")
        assert tries(FromOrigin(settings, place, Monitor(0.0, None, "", True))) > 20
        assert tries(FromOrigin(settings.replace(open_retry_time=0.0), place, Monitor(0.0, None, "", True))) == 1
    finally:
        place.close()


def test_the_length_is_known_before_the_last_piece_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a consumer or a peer that takes the last piece would consider it a full one."""
    file = PieceFile.create(str(tmp_path / "data"), str(tmp_path / "record"), Geometry(-1))
    transfer = Transfer(file, Plan(Window(-1, -1), 1), ByteCounts())
    lengths: list[int] = []
    keep = transfer.add_from_origin

    def kept(n: int, length: int, xxh3: bytes) -> None:
        lengths.append(file.geometry.length)
        keep(n, length, xxh3)

    monkeypatch.setattr(transfer, "add_from_origin", kept)
    reader = Reader(
        Origin(), _Sink(transfer, print), Body(), [(0, ENDLESS)], connections=1, longest=1,  # type: ignore[arg-type]
        retry=Retry(0), connection_limits=ConnectionLimits(), chance=float,
    )
    reader.work()
    assert reader.error is None
    assert lengths == [3]
    assert transfer.plan.finished
    transfer.close()
    file.close()


class Whole(Origin):
    """An origin whose file is `abc`, of three bytes. `opened`: how often it was requested."""

    def __init__(self) -> None:
        self.opened = 0

    def open(self, *asked: object, **more: object) -> Body:
        self.opened += 1
        body = Body()
        body.length = 3
        body.version = Version('"v1"', "", 3)
        return body


@pytest.mark.parametrize(("stored", "requests"), [(b"abc", 1), (b"abd", 2)])
def test_a_file_that_is_complete_already_is_proved_only_by_the_comparison(tmp_path: Path, stored: bytes, requests: int) -> None:
    """Its pieces are of a 1.x supernode, which names no version. Of another version than the origin's, all of it starts over."""
    settings = GetSettings(url="http://o/f", output=str(tmp_path / "out"))
    place = Assembly(settings, "t" * 64)
    try:
        transfer = place.open(Geometry(3, 1 << 20), b"")
        transfer.file.write(0, stored, content_digest(stored))
        transfer.add_shared(0, 3)
        assert transfer.finished
        place.doubtful, origin = True, Whole()
        FromOrigin(settings, place, Monitor(0.0, None, "", True), None, lambda *given: origin).run()  # type: ignore[arg-type]
        assert origin.opened == requests
        assert (place.transfer is transfer) == (stored == b"abc")
        assert not place.doubtful
        assert place.version == Version('"v1"', "", 3)
        assert place.transfer is not None
        assert os.pread(place.transfer.file.fd, 9, 0) == b"abc"
    finally:
        place.close()
