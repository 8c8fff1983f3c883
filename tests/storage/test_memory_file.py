"""A file in one memfd: its memory use, and its use by another process."""

from __future__ import annotations

import mmap
import os

import pytest
import xxhash

from dfengine._piece import Geometry
from dfengine.errors import StorageError
from dfengine.storage.memory_file import MemoryFile, adopt
from dfengine.storage.stream_memory import StreamMemory

SIZE = 1 << 20
GEOMETRY = Geometry(3 * (SIZE - 5) + 7, SIZE)


def test_memory_is_allocated_for_stored_pieces_only() -> None:
    file = MemoryFile.allocate(Geometry(1 << 40))
    file.write_part(7, 0, b"x" * 100)
    assert os.fstat(file.fd).st_blocks * 512 < SIZE
    file.close()


def test_another_process_sees_bits_and_bytes() -> None:
    file = MemoryFile.allocate(GEOMETRY, b"v1")
    other = adopt([os.dup(fd) for fd in file.descriptors])
    assert not other.record.has_range(3, 4)
    file.write(3, b"content", xxhash.xxh3_128_digest(b"content"))
    assert other.record.has_range(3, 4)
    fd, offset, length = other.locate(3)
    assert os.pread(fd, length, offset) == b"content"
    assert (other.geometry, other.record.generation, other.unchanged()) == (GEOMETRY, b"v1", True)
    file.close()
    assert os.pread(other.fd, 7, offset) == b"content", "the other process has no descriptors of its own"
    other.close()


def test_a_protected_file_cannot_be_written() -> None:
    file = MemoryFile.allocate(GEOMETRY, b"v1")
    file.write(3, b"content", xxhash.xxh3_128_digest(b"content"))
    file.protect()
    with open(f"/proc/self/fd/{file.fd}", "r+b", buffering=0) as again:
        with pytest.raises(PermissionError):
            again.write(b"other")
        with pytest.raises(PermissionError):
            mmap.mmap(again.fileno(), 0)
        with mmap.mmap(again.fileno(), 0, prot=mmap.PROT_READ) as read:
            assert len(read) == GEOMETRY.length
    file.protect()
    file.close()


def test_a_learnt_length_truncates_the_memory() -> None:
    file = MemoryFile.allocate(Geometry(-1, SIZE))
    other = adopt([os.dup(fd) for fd in file.descriptors])
    file.learn_length(5)
    assert (os.fstat(file.fd).st_size, other.geometry.length) == (5, 5)
    other.close()
    file.close()


def test_invalid_descriptors_are_refused() -> None:
    file, stream = MemoryFile.allocate(GEOMETRY), StreamMemory.allocate(GEOMETRY)
    adopted = adopt([os.dup(fd) for fd in stream.descriptors])
    assert isinstance(adopted, StreamMemory)
    adopted.close()
    for descriptors in ([file.fd], [], [file.fd, file.fd], [file.record.fd] * 3):
        with pytest.raises(StorageError):
            adopt(descriptors)
    file.close()
    stream.close()


def test_replacing_the_storage_keeps_pieces_and_open_readers() -> None:
    file, other = MemoryFile.allocate(GEOMETRY, b"v1"), MemoryFile.allocate(GEOMETRY, b"v1")
    digest = xxhash.xxh3_128_digest(b"content")
    file.write(3, b"content", digest)
    other.copy_missing(file)
    before, moves = file.fd, file.sequence
    fresh = other.fd
    file.replace_storage(other)
    assert (file.fd, list(file.available), file.record.digest(3)) == (fresh, [3], digest)
    assert file.sequence == moves + 2
    fd, offset, length = file.locate(3)
    assert os.pread(fd, length, offset) == os.pread(before, length, offset) == b"content", "a reader may still use the previous storage"
    file.close()
    for each in (before, fresh):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(each)


def test_a_piece_that_differs_from_its_digest_is_not_copied() -> None:
    file, other = MemoryFile.allocate(GEOMETRY), MemoryFile.allocate(GEOMETRY)
    file.write(3, b"content", xxhash.xxh3_128_digest(b"contents"))
    with pytest.raises(StorageError):
        other.copy_missing(file)
    assert list(other.available) == []
    file.close()
    other.close()


def test_memory_can_be_handed_over_after_its_length_was_learnt() -> None:
    file = MemoryFile.allocate(Geometry(-1, 105), b"g")
    file.learn_length(250)
    adopted = MemoryFile.adopt([os.dup(fd) for fd in file.descriptors])
    assert adopted.geometry.length == 250
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(file.fd, 100)
    adopted.close()
    file.close()
