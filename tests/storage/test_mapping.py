"""Memory that is shared with a file, and its descriptors."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfengine.errors import BadValue
from dfengine.storage._mapping import Mapping

SIZE = 100_000


@pytest.fixture
def fd() -> Iterator[int]:
    made = os.memfd_create("mapped", os.MFD_CLOEXEC)
    os.pwrite(made, bytes(range(200)) * (SIZE // 200), 0)
    yield made
    os.close(made)


def descriptors(fd: int) -> int:
    """Number of this process's descriptors of that file."""
    file, count = os.fstat(fd).st_ino, 0
    for each in os.listdir("/proc/self/fd"):
        try:
            count += os.stat(f"/proc/self/fd/{each}").st_ino == file
        except OSError:
            continue
    return count


def mapped() -> bool:
    return "memfd:mapped" in Path("/proc/self/maps").read_text()


def test_a_mapping_is_the_files_memory_without_a_descriptor(fd: int) -> None:
    memory = Mapping(fd, SIZE, writable=True).memory()
    assert descriptors(fd) == 1
    memory[5:8] = b"abc"
    assert os.pread(fd, 3, 5) == b"abc"
    os.pwrite(fd, b"x", 6)
    assert bytes(memory[5:8]) == b"axc"
    assert len(memory) == SIZE


def test_memory_of_a_read_only_mapping_cannot_be_written(fd: int) -> None:
    memory = Mapping(fd, SIZE).memory()
    assert memory.readonly
    with pytest.raises(TypeError):
        memory[0] = 1


def test_the_memory_stays_mapped_as_long_as_a_view_exists(fd: int) -> None:
    part = Mapping(fd, SIZE).memory()[1000:1010]
    gc.collect()
    assert mapped()
    assert bytes(part) == bytes(range(10))
    del part
    assert not mapped()


def test_a_mapping_that_keeps_the_file_holds_its_lock(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(10))
    fd, other = (os.open(tmp_path / "f", os.O_RDWR) for _ in range(2))
    fcntl.flock(fd, fcntl.LOCK_EX)
    kept = Mapping(fd, 10, keep=True)
    [own] = kept.descriptors
    assert own not in (-1, fd)
    assert not os.get_inheritable(own)
    os.close(fd)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    del kept
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


@pytest.mark.parametrize("length", [0, -1, -(1 << 60)])
def test_a_length_of_zero_or_less_is_refused(fd: int, length: int) -> None:
    with pytest.raises(BadValue):
        Mapping(fd, length)


def test_invalid_descriptors_raise_the_systems_error() -> None:
    read, write = os.pipe()
    for given, number in ((-1, errno.EBADF), (read, errno.ENODEV)):
        with pytest.raises(OSError) as raised:  # noqa: PT011
            Mapping(given, 10)
        assert raised.value.errno == number
    os.close(read)
    os.close(write)
