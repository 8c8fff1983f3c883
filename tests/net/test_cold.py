"""Slices that are not in the page cache are detected before they are sent; slices in memory never count as cold."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfengine.net._sendfile import FileSlice, Upload

MIB = 1 << 20
SIZE = 8 * MIB + 5


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[int]:
    """A file whose pages can be evicted from memory; its directory must be on a disk."""
    with open(tmp_path / "file", "w+b") as file:
        file.write(os.urandom(SIZE))
        file.flush()
        os.fsync(file.fileno())
        yield file.fileno()


def in_memory(fd: int) -> set[int]:
    """Numbers of the file's pages that are in memory; the check loads no pages."""
    with mmap.mmap(fd, SIZE, access=mmap.ACCESS_COPY) as mapped:
        first = ctypes.c_char.from_buffer(mapped)
        found = (ctypes.c_ubyte * (SIZE // mmap.PAGESIZE + 1))()
        assert ctypes.CDLL(None).mincore(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(SIZE), found) == 0
        del first
    return {n for n, resident in enumerate(found) if resident & 1}


def forget(fd: int, offset: int = 0, length: int = SIZE) -> None:
    """Evict the pages from memory. The kernel keeps pages that were just used, so the request is repeated until all are gone."""
    pages = set(range(offset // mmap.PAGESIZE, (offset + length) // mmap.PAGESIZE))
    end = time.monotonic() + 20
    while True:
        os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)
        if not pages & in_memory(fd):
            return
        assert time.monotonic() < end
        os.fsync(fd)


TRIES = 50
"""The check makes the kernel read ahead; a fast disk may have loaded the page before it is checked."""


@pytest.mark.parametrize("gone", [0, 3 * MIB, SIZE - 2 * MIB])
def test_two_missing_megabytes_are_detected_anywhere_in_a_slice(disk: int, gone: int) -> None:
    os.posix_fadvise(disk, 0, 0, os.POSIX_FADV_RANDOM)  # reads cause no read-ahead
    whole = FileSlice(disk, 0, SIZE)
    assert whole.resident()

    def noticed() -> bool:
        forget(disk)
        FileSlice(disk, 0, gone).load()
        FileSlice(disk, gone + 2 * MIB, SIZE - gone - 2 * MIB).load()
        return not whole.resident()

    def loaded() -> bool:
        whole.load()
        return whole.resident() and in_memory(disk) == set(range(SIZE // mmap.PAGESIZE + 1))

    assert any(noticed() for _ in range(TRIES))
    assert any(loaded() for _ in range(TRIES)), "the kernel may evict single pages meanwhile"


def test_an_upload_stops_before_a_cold_slice_and_continues_after_it_is_loaded(disk: int) -> None:
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        b.setblocking(False)

        def stopped_twice() -> bool:
            forget(disk)
            upload = Upload((b"head", FileSlice(disk, 5, 100), b"tail", FileSlice(disk, 2 * MIB, 100), b"end"))
            stops = []
            while upload.left:
                upload.advance(a.fileno(), 1 << 20)
                if upload.cold is None:
                    continue
                stops.append(upload.left)
                # The first is loaded. The second, which read-ahead may have loaded too, is evicted; the second try sends it nevertheless.
                if upload.left == 207:
                    upload.cold.load()
                    forget(disk, MIB, 2 * MIB)
            assert upload.cold is None
            assert b.recv(1000) == b"head" + os.pread(disk, 100, 5) + b"tail" + os.pread(disk, 100, 2 * MIB) + b"end"
            return stops == [207, 103]

        assert any(stopped_twice() for _ in range(TRIES))


def test_memory_files_empty_slices_and_bad_descriptors_are_never_cold() -> None:
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


@pytest.mark.parametrize("says", [True, False, None])
def test_a_slice_with_a_required_check_is_sent_only_after_the_check_succeeds(disk: int, says: bool | None) -> None:
    """None: the check itself fails."""
    def check() -> bool:
        if says is None:
            raise OSError
        return says

    there, here = socket.socketpair()
    with there, here:
        part = FileSlice(disk, 0, 1000, None, None, 0, check, True)
        upload = Upload((part,))
        assert upload.advance(here.fileno(), SIZE) == 0
        assert upload.cold is part
        try:
            part.load()
        except OSError:
            assert says is None
        if says:
            assert upload.advance(here.fileno(), SIZE) == 1000
        else:
            with pytest.raises(EOFError, match="digest"):
                upload.advance(here.fileno(), SIZE)
            with pytest.raises(EOFError, match="digest"):
                part.read(0, 10)
