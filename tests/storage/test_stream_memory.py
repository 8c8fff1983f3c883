"""Slots in memory: results of `locate`, and the effect of eviction on readers that hold pages."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
import xxhash

from dfengine._piece import Geometry
from dfengine.errors import BadRange, StorageError
from dfengine.net._sendfile import FileSlice, Upload
from dfengine.storage.home import Entry
from dfengine.storage.served_file import ServedFile
from dfengine.storage.stream_memory import MEMORIES, StreamMemory

MIB = 1 << 20
PIECE = MIB - 5


def put(file: StreamMemory, n: int, byte: bytes) -> bytes:
    content = byte * file.geometry.content(n)[1]
    file.write(n, content, xxhash.xxh3_128_digest(content))
    return content


@pytest.fixture
def file() -> Iterator[StreamMemory]:
    made = StreamMemory.allocate(Geometry(3 * PIECE + 7, MIB), b"v1")
    yield made
    made.close()


def resident(file: StreamMemory) -> int:
    return sum(os.fstat(fd).st_blocks * 512 for fd in file.descriptors[:-1])


def test_pieces_are_stored_in_slots_of_whole_pages() -> None:
    file = StreamMemory.allocate(Geometry(5 * PIECE + 7, MIB))
    data = file.descriptors[:-1]
    assert len(set(data)) == MEMORIES
    assert [file.locate(n) for n in range(6)] == [(data[n % MEMORIES], n * MIB, PIECE if n < 5 else 7) for n in range(6)]
    assert resident(file) == 0
    content = put(file, 2, b"x")
    assert os.pread(data[2], PIECE, 2 * MIB) == content
    assert list(file.available) == [2]
    assert resident(file) == MIB
    put(file, 1, b"y")
    put(file, 5, b"z")
    assert resident(file) == 2 * MIB + os.sysconf("SC_PAGESIZE")
    file.evict(1)
    assert resident(file) == MIB + os.sysconf("SC_PAGESIZE")
    assert os.pread(data[1], 8, 5 * MIB) == b"z" * 7
    file.evict(2)
    file.evict(5)
    assert resident(file) == 0
    assert list(file.available) == []
    file.close()
    for fd in data:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_pages_in_a_pipe_survive_eviction_and_a_new_piece(file: StreamMemory) -> None:
    first = put(file, 0, b"a")
    reader, writer = os.pipe()
    try:
        moved = os.splice(file.fd, writer, 16384, offset_src=0)
        file.evict(0)
        put(file, 0, b"b")
        assert os.read(reader, moved) == first[:moved]
    finally:
        os.close(reader)
        os.close(writer)


def test_another_process_sees_stored_and_evicted_pieces(file: StreamMemory) -> None:
    other = StreamMemory.adopt([os.dup(fd) for fd in file.descriptors])
    content = put(file, 1, b"y")
    shared = ServedFile(Entry("name", "task", "cid", "", [], "", 0, 0, 1.0), other)
    assert shared.has_range(PIECE, PIECE)
    fd, place, bits, n, _ = shared.locate(PIECE, PIECE)
    assert (place, n) == (MIB, 1)
    assert os.pread(fd, PIECE, place) == content
    put(file, 0, b"x")
    assert shared.locate(7, 9)[:2] == (other.fd, 7)
    assert 1 in file.record.used, "the request is not recorded"
    with pytest.raises(BadRange):
        shared.locate(PIECE - 1, 2)
    file.evict(1)
    assert not shared.has_range(PIECE, PIECE)
    assert bits is not None
    assert 1 not in bits
    shared.close()


def test_a_second_close_leaves_descriptors_that_were_opened_since(file: StreamMemory) -> None:
    other = StreamMemory.allocate(file.geometry)
    other.close()
    since = [os.dup(file.fd) for _ in range(8)]
    other.close()
    for fd in since:
        os.close(fd)


def test_a_piece_evicted_while_it_is_sent_is_cut_off_before_following_bytes(file: StreamMemory) -> None:
    put(file, 0, b"z")
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5)
    got = 0

    def gone(upload: Upload, ours: socket.socket, theirs: socket.socket) -> bool:
        nonlocal got
        try:
            while upload.left:
                upload.advance(ours.fileno(), upload.left)
                got += len(theirs.recv(1 << 20))
        except EOFError:
            return True
        return False

    try:
        upload = Upload((b"head", FileSlice(file.fd, 0, PIECE, file, file.available, 0), b"\x7f"))
        upload.advance(ours.fileno(), PIECE // 2)
        file.evict(0)
        assert gone(upload, ours, theirs)
        ours.close()
        while block := theirs.recv(1 << 20):
            got += len(block)
        assert got <= 4 + PIECE
    finally:
        ours.close()
        theirs.close()


def test_a_stored_piece_is_sent_completely(file: StreamMemory) -> None:
    put(file, 3, b"q")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Upload((b"h", FileSlice(*file.locate(3), file, file.available, 3), b"\x7f")).advance(ours.fileno(), 100)
        assert theirs.recv(100) == b"h" + b"q" * 7 + b"\x7f"


def test_invalid_descriptors_are_refused(file: StreamMemory) -> None:
    *data, record = file.descriptors
    for wrong in ([*data, data[0]], [*data[1:], record], [*data, record, record], [record], []):
        with pytest.raises(StorageError):
            StreamMemory.adopt(wrong)
    assert os.fstat(record), "refused descriptors are closed"


def test_a_piece_without_a_bit_is_not_sent(file: StreamMemory) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(EOFError):
        Upload((FileSlice(file.fd, 0, 10, file, file.available, 0),)).advance(ours.fileno(), 100)
