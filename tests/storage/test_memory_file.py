"""A file in one memfd: what it takes, and how another process has it."""

from __future__ import annotations

import mmap
import os

import pytest
import xxhash

from dfengine._piece import Geometry
from dfengine.errors import StorageError
from dfengine.storage.memory_file import MemoryFile, adopt
from dfengine.storage.slots import SlotFile

SIZE = 1 << 20
GEOMETRY = Geometry(3 * (SIZE - 5) + 7, SIZE)


def test_memory_is_taken_where_pieces_are() -> None:
    file = MemoryFile.allocate(Geometry(1 << 40))
    file.write_part(7, 0, b"x" * 100)
    assert os.fstat(file.fd).st_blocks * 512 < SIZE
    file.close()


def test_another_process_sees_the_bits_and_the_bytes() -> None:
    file = MemoryFile.allocate(GEOMETRY, b"v1")
    other = adopt([os.dup(fd) for fd in file.descriptors])
    assert not other.record.has_range(3, 4)
    file.write(3, b"content", xxhash.xxh3_128_digest(b"content"))
    assert other.record.has_range(3, 4)
    fd, offset, length = other.locate(3)
    assert os.pread(fd, length, offset) == b"content"
    assert (other.geometry, other.record.generation, other.unchanged()) == (GEOMETRY, b"v1", True)
    file.close()
    assert os.pread(other.fd, 7, offset) == b"content", "it has descriptors of its own"
    other.close()


def test_where_everything_is_here_nobody_writes_any_more() -> None:
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


def test_a_length_that_is_learnt_late() -> None:
    file = MemoryFile.allocate(Geometry(-1, SIZE))
    other = adopt([os.dup(fd) for fd in file.descriptors])
    file.learn_length(5)
    assert (os.fstat(file.fd).st_size, other.geometry.length) == (5, 5)
    other.close()
    file.close()


def test_descriptors_that_are_no_file_are_refused() -> None:
    file, stream = MemoryFile.allocate(GEOMETRY), SlotFile.allocate(GEOMETRY)
    adopted = adopt([os.dup(fd) for fd in stream.descriptors])
    assert isinstance(adopted, SlotFile)
    adopted.close()
    for descriptors in ([file.fd], [], [file.fd, file.fd], [file.record.fd] * 3):
        with pytest.raises(StorageError):
            adopt(descriptors)
    file.close()
    stream.close()


def test_a_file_becomes_another_while_it_is_read() -> None:
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
    assert os.pread(fd, length, offset) == os.pread(before, length, offset) == b"content", "a reader may still be there"
    file.close()
    for each in (before, fresh):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(each)


def test_a_piece_that_is_not_what_its_record_says_is_not_taken() -> None:
    file, other = MemoryFile.allocate(GEOMETRY), MemoryFile.allocate(GEOMETRY)
    file.write(3, b"content", xxhash.xxh3_128_digest(b"contents"))
    with pytest.raises(StorageError):
        other.copy_missing(file)
    assert list(other.available) == []
    file.close()
    other.close()


def test_memory_whose_length_became_known_can_be_handed_over() -> None:
    file = MemoryFile.allocate(Geometry(-1, 105), b"g")
    file.learn_length(250)
    adopted = MemoryFile.adopt([os.dup(fd) for fd in file.descriptors])
    assert adopted.geometry.length == 250
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(file.fd, 100)
    adopted.close()
    file.close()
