"""Slices that must come from a disk are found before they are sent, and memory never counts as such."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfengine.net._sendfile import FileSlice, Upload

MIB = 1 << 20
SIZE = 8 * MIB + 5


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[int]:
    """A file whose pages can be taken out of memory; its directory must be on a disk."""
    with open(tmp_path / "file", "w+b") as file:
        file.write(os.urandom(SIZE))
        file.flush()
        os.fsync(file.fileno())
        yield file.fileno()


def forget(fd: int, offset: int = 0, length: int = 0) -> None:
    """Take the pages out of memory."""
    os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)


def test_it_is_known_where_a_slice_is(disk: int) -> None:
    whole, first = FileSlice(disk, 0, SIZE), FileSlice(disk, 0, MIB)
    assert whole.resident()
    forget(disk)
    assert not whole.resident()
    assert not first.resident()
    first.load()
    assert first.resident()
    assert not whole.resident()
    whole.load()
    assert whole.resident()


@pytest.mark.parametrize("gone", [0, 3 * MIB, SIZE - 2 * MIB])
def test_two_missing_megabytes_are_noticed_wherever_they_are(disk: int, gone: int) -> None:
    os.posix_fadvise(disk, 0, 0, os.POSIX_FADV_RANDOM)  # nothing is read ahead
    forget(disk)
    FileSlice(disk, 0, gone).load()
    FileSlice(disk, gone + 2 * MIB, SIZE - gone - 2 * MIB).load()
    assert not FileSlice(disk, 0, SIZE).resident()


def test_an_upload_stops_before_a_cold_slice_and_goes_on_once_it_is_loaded(disk: int) -> None:
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        b.setblocking(False)
        forget(disk)
        upload = Upload((b"head", FileSlice(disk, 5, 100), b"tail", FileSlice(disk, 2 * MIB, 100), b"end"))
        assert (upload.advance(a.fileno(), 1 << 20), b.recv(1000)) == (4, b"head")
        assert upload.cold is not None
        upload.cold.load()
        # Reading ahead may have brought the second one, too.
        forget(disk, MIB, 2 * MIB)
        assert upload.advance(a.fileno(), 1 << 20) == 104
        assert b.recv(1000) == os.pread(disk, 100, 5) + b"tail"
        assert upload.cold is not None
        # Asked again without having been loaded it is sent nevertheless: the disk may have lost it again.
        assert upload.advance(a.fileno(), 1 << 20) == 103
        assert b.recv(1000) == os.pread(disk, 100, 2 * MIB) + b"end"
        assert (upload.cold, upload.left) == (None, 0)


def test_memory_an_empty_slice_and_a_bad_descriptor_wait_for_no_disk() -> None:
    fd = os.memfd_create("slots")
    try:
        os.ftruncate(fd, SIZE)
        assert FileSlice(fd, 0, SIZE).resident()
        assert FileSlice(fd, 0, 0).resident()
        FileSlice(fd, SIZE - 3, 100).load()
    finally:
        os.close(fd)
    assert FileSlice(fd, 0, 1).resident()
    FileSlice(fd, 0, 1).load()
