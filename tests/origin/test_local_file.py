"""A local file as an origin."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfengine.errors import BadValue, OriginChanged, OriginError, SourceGone
from dfengine.location import Location
from dfengine.origin import local_file
from dfengine.origin.cancel import Cancel
from dfengine.origin.local_file import FileBody, FileOrigin
from dfengine.origin.local_root import UnrestrictedRoots
from dfengine.origin.local_version import COARSE, FINE, MAX_WRITE, settles
from tests.own_descriptors import own_descriptors

BODY = bytes(range(256)) * 4


@pytest.fixture(name="path")
def one_path(tmp_path: Path) -> Path:
    (tmp_path / "f").write_bytes(BODY)
    return tmp_path / "f"


@pytest.fixture(name="cancel")
def one_cancel() -> Iterator[Cancel]:
    before = len(own_descriptors())
    cancel = Cancel()
    yield cancel
    cancel.close()
    assert len(os.listdir("/proc/self/fd")) == before, "a descriptor remains open"


def origin(path: Path, cancel: Cancel, *headers: tuple[str, str]) -> FileOrigin:
    return FileOrigin(Location("file", "", str(path)), UnrestrictedRoots(), headers, cancel=cancel)


def read(body: FileBody, step: int = 100) -> bytes:
    whole, part = b"", memoryview(bytearray(step))
    with contextlib.closing(body):
        while got := body.read_into(part):
            whole += part[:got]
    return whole


def test_the_whole_file_and_parts_are_read(path: Path, cancel: Cancel) -> None:
    body = origin(path, cancel).open()
    assert (body.length, body.start, body.ranged) == (len(BODY), 0, False)
    version = body.version
    assert version.binds
    assert read(body) == BODY
    body = origin(path, cancel).open(100, 300, version=version)
    assert (body.length, body.start, body.ranged, body.bounded) == (len(BODY), 100, True, True)
    assert read(body) == BODY[100:300]
    assert read(origin(path, cancel).open(1000)) == BODY[1000:]
    again = origin(path, cancel).open(unless=version)
    assert again.not_modified
    again.close()


@pytest.mark.parametrize(("asked", "part"), [("bytes=10-19", BODY[10:20]), ("bytes=1000-", BODY[1000:]), ("bytes=-24", BODY[1000:]),
                                             ("bytes=-9999", BODY), ("bytes=1000-9999", BODY[1000:])])
def test_a_users_range_is_read_as_a_file(path: Path, cancel: Cancel, asked: str, part: bytes) -> None:
    body = origin(path, cancel, ("Range", asked)).open()
    assert body.length == len(part)
    assert read(body) == part
    assert read(origin(path, cancel, ("Range", asked)).open(5, 9)) == part[5:9]


def test_unreadable_files_and_ranges_are_refused(path: Path, cancel: Cancel) -> None:
    for given, status in (((path, ("Range", "bytes=5000-")), 416), ((path.parent,), 403), ((path / "x",), 404)):
        with pytest.raises(OriginError) as error:
            origin(given[0], cancel, *given[1:]).open()
        assert error.value.status == status
    with pytest.raises(BadValue):
        origin(path, cancel, ("Range", "bytes=x"))


@pytest.mark.parametrize("how", ["write", "append", "truncate", "touch", "chmod"])
def test_a_changed_file_delivers_no_further_byte(path: Path, cancel: Cancel, how: str) -> None:
    body = origin(path, cancel).open()
    part = memoryview(bytearray(100))
    assert body.read_into(part) == 100
    if how in ("write", "append"):
        with open(path, "r+b") as file:
            file.seek(0, os.SEEK_END if how == "append" else os.SEEK_SET)
            file.write(b"x" * 10)
    elif how == "truncate":
        os.truncate(path, 50)
    elif how == "touch":
        os.utime(path)
    else:
        path.chmod(0o600)
    with pytest.raises(OriginChanged):
        body.read_into(part)
    version = body.version
    body.close()
    with pytest.raises(OriginChanged):
        origin(path, cancel).open(100, version=version)


def test_a_replaced_file_is_an_error_and_the_new_one_is_read(path: Path, cancel: Cancel, tmp_path: Path) -> None:
    body = origin(path, cancel).open()
    (tmp_path / "new").write_bytes(BODY[::-1])
    (tmp_path / "new").rename(path)
    with pytest.raises(OriginChanged):
        # The link count is part of the file's status.
        read(body)
    assert read(origin(path, cancel).open()) == BODY[::-1]


def test_a_file_open_for_writing_is_waited_for(path: Path, cancel: Cancel, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(path, "r+b") as writer:
        threading.Timer(0.3, writer.close).start()
        assert read(origin(path, cancel).open()) == BODY
    monkeypatch.setattr(local_file, "PATIENCE", 0.2)
    with open(path, "r+b"), pytest.raises(OriginChanged, match="open for writing"):
        origin(path, cancel).open()
    os.utime(path, (1, 1))
    cancel.set()
    with open(path, "r+b"), pytest.raises(SourceGone):
        origin(path, cancel).open()


def test_the_time_until_a_file_is_settled(path: Path) -> None:
    status = os.stat(path)
    at = status.st_ctime
    grain = FINE if status.st_ctime_ns % 1_000_000_000 else COARSE
    assert settles(status, at, False) == pytest.approx(grain)
    assert settles(status, at + 2 * grain, False) == 0
    assert settles(status, at + 2 * COARSE, True) > 0
    assert settles(status, at + MAX_WRITE + 1, True) == 0
    assert settles(status, at - 5000, False) == grain
