"""Eviction of memory of files and streams that have ended, from a peer server."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dfengine._piece import Geometry
from dfengine.net import fd_passing
from dfengine.peer.memory_eviction import SHARE, Stream, copy_for, ended_in, over_share, second_copies
from dfengine.peer.served_downloads import ServedDownloads
from dfengine.storage.home import Entry, Home
from dfengine.storage.memory_file import MemoryFile
from dfengine.storage.served_file import ServedFile
from dfengine.storage.stream_memory import StreamMemory

PIECE = 1 << 20
GEOMETRY = Geometry(4 * PIECE, PIECE)
NOW = 1000.0


class Copies:
    """Streams and files as a peer server has them."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def file(self, pieces: str = "abcd", generation: bytes = b"one", kind: type[MemoryFile] | type[StreamMemory] = MemoryFile,
             recorded: bool = True) -> MemoryFile | StreamMemory:
        """pieces: a letter for the content of each piece, "." for a missing one."""
        file = kind.allocate(GEOMETRY, generation)
        for n, letter in enumerate(pieces):
            if letter != ".":
                fd, offset, length = file.locate(n)
                os.pwrite(fd, letter.encode() * length, offset)
                if recorded:
                    file.record.set_digest(n, letter.encode() * 16)
                file.record.publish(n)
        self._stack.callback(file.close)
        return file

    def stream(self, file: MemoryFile | StreamMemory, used: float = NOW, running: bool = False, task: str = "t") -> Stream:
        line = self._stack.enter_context(socket.socket()) if running else None
        stream = Stream(line, used)
        stream.shared = ServedFile(Entry("n", task, "c", "", [], "", 0, 0, 60.0), file)
        # The test closes the file.
        self._stack.callback(setattr, stream.shared, "file", None)
        return stream


@pytest.fixture
def copies() -> Iterator[Copies]:
    with ExitStack() as stack:
        yield Copies(stack)


@pytest.mark.parametrize("kind", [MemoryFile, StreamMemory])
def test_of_two_complete_copies_the_newer_is_kept(copies: Copies, kind: type[MemoryFile] | type[StreamMemory]) -> None:
    old, new = copies.stream(copies.file(kind=kind), NOW), copies.stream(copies.file(kind=kind), NOW + 1)
    assert second_copies([old, new]) == [old]
    assert second_copies([new, old]) == [old]


def test_of_two_complete_copies_the_one_that_an_open_file_can_resume_is_kept(copies: Copies) -> None:
    file, stream = copies.stream(copies.file(), NOW), copies.stream(copies.file(kind=StreamMemory), NOW + 1)
    assert second_copies([file, stream]) == [stream]


def test_the_more_complete_copy_is_kept_and_counts_as_used(copies: Copies) -> None:
    old, new = copies.stream(copies.file(), NOW), copies.stream(copies.file("a.c."), NOW + 1)
    assert second_copies([old, new]) == [new]
    assert old.used == NOW + 1


def test_a_running_file_replaces_a_copy_once_it_has_the_same_pieces(copies: Copies) -> None:
    file = copies.file("ab..")
    old, new = copies.stream(copies.file("abc."), NOW), copies.stream(file, NOW + 1, running=True)
    assert second_copies([old, new]) == []
    file.record.set_digest(2, b"c" * 16)
    file.record.publish(2)
    assert second_copies([old, new]) == [old]


def test_a_running_stream_that_evicts_replaces_no_copy(copies: Copies) -> None:
    old, new = copies.stream(copies.file()), copies.stream(copies.file(kind=StreamMemory), running=True)
    assert second_copies([old, new]) == []


def test_running_downloads_are_kept(copies: Copies) -> None:
    assert second_copies([copies.stream(copies.file(), running=True) for _ in range(2)]) == []


@pytest.mark.parametrize("other", [{"pieces": "abcx"}, {"generation": b"two"}, {"recorded": False}])
def test_another_version_is_no_second_copy(copies: Copies, other: dict[str, object]) -> None:
    old, new = copies.stream(copies.file(**other), NOW), copies.stream(copies.file(), NOW + 1)  # type: ignore[arg-type]
    assert second_copies([old, new]) == []


def test_another_task_is_no_second_copy(copies: Copies) -> None:
    assert second_copies([copies.stream(copies.file()), copies.stream(copies.file(), task="u")]) == []


def test_a_copy_that_is_being_evicted_does_not_count(copies: Copies) -> None:
    old, new = copies.stream(copies.file(), NOW), copies.stream(copies.file(), NOW + 1)
    new.leaving = True
    assert second_copies([old, new]) == []


def test_memory_beyond_the_share_is_evicted_by_last_use(copies: Copies) -> None:
    streams = [copies.stream(copies.file(), NOW + used, task=str(used)) for used in (3, 1, 2)]
    each = sum(os.fstat(fd).st_blocks * 512 for fd in copies.file().descriptors)
    left = 3 * (SHARE - 1) * each
    assert over_share(streams, left) == [], "a quarter of the memory that would be available without the copies"
    assert over_share(streams, left - SHARE) == [streams[1]]
    assert over_share(streams, 2 * SHARE * each - 3 * each - SHARE) == [streams[1], streams[2]]
    assert over_share(streams, 0) == [streams[1], streams[2], streams[0]]


def test_running_downloads_and_memory_shared_with_them_are_not_counted(copies: Copies) -> None:
    file = copies.file()
    streams = [copies.stream(file, running=True), copies.stream(file), copies.stream(copies.file(kind=StreamMemory), running=True)]
    assert over_share(streams, 0) == []


def test_memory_shared_by_several_copies_is_freed_with_the_last(copies: Copies) -> None:
    file = copies.file()
    each = sum(os.fstat(fd).st_blocks * 512 for fd in file.descriptors)
    streams = [copies.stream(file, NOW), copies.stream(file, NOW + 1), copies.stream(copies.file(), NOW + 2)]
    assert over_share(streams, 2 * (SHARE - 1) * each) == []
    assert over_share(streams, 2 * (SHARE - 1) * each - SHARE) == streams[:2]


def test_evicted_copies_are_reported_for_withdrawal_at_supernodes(tmp_path: Path, copies: Copies) -> None:
    home = Home(str(tmp_path / "home"))
    hosted = ServedDownloads(home, fd_passing.listen(home.sockets), None, lambda: NOW)
    for name in ("old", "new"):
        message = Entry(name, "t" * 64, name, "", [], "", 0, 0, 60.0).encode()
        fd_passing.send_descriptors(home.sockets, message, copies.file().descriptors).close()
        hosted.accept()
    assert len(hosted.names()) == 2
    (gone,) = hosted.withdraw_deleted()
    assert hosted.has(gone.name), "a supernode may have named it to a peer just before"
    assert hosted.withdraw_deleted() == []
    assert hosted.names() == [{"old": "new", "new": "old"}[gone.name]]
    hosted.close()


def place(file: MemoryFile | StreamMemory) -> tuple[int, int]:
    state = os.fstat(file.fd)
    return state.st_dev, state.st_ino


def test_the_most_complete_copy_of_the_version_is_reused(copies: Copies) -> None:
    part, whole = copies.stream(copies.file("ab..")), copies.stream(copies.file(), used=NOW - 1)
    others = [
        copies.stream(copies.file(generation=b"two")), copies.stream(copies.file(), task="u"), copies.stream(copies.file(), running=True)
    ]  # fmt: skip
    assert copy_for([part, whole, *others], "t", b"one", PIECE, None) is whole
    assert copy_for([part, whole, *others], "t", b"one", PIECE, ()) is whole
    assert copy_for([part, *others], "t", b"one", PIECE, None) is part
    assert copy_for(others, "t", b"one", PIECE, None) is None
    assert copy_for([whole], "t", b"one", 2 * PIECE, None) is None


def test_a_copy_without_a_version_is_not_reused(copies: Copies) -> None:
    assert copy_for([copies.stream(copies.file(generation=b""))], "t", b"", PIECE, None) is None


def test_memory_is_reused_by_one_writing_process_only(copies: Copies) -> None:
    """A process that resumes in the memory must be its only writer; any number may copy from it."""
    file = copies.file("ab..")
    ended = copies.stream(file)
    assert copy_for([ended], "t", b"one", PIECE, {place(file)}) is None, "a former follower may lead there"
    assert copy_for([ended, copies.stream(file, running=True)], "t", b"one", PIECE, set()) is None, "a leader writes there"
    ended.reused = True
    assert copy_for([ended], "t", b"one", PIECE, set()) is None, "it was handed to a download that may not have announced itself yet"
    assert copy_for([ended], "t", b"one", PIECE, None) is ended
    assert copy_for([copies.stream(copies.file(kind=StreamMemory))], "t", b"one", PIECE, set()) is None, "a stream evicts"


def test_ended_copies_in_the_same_memory_are_found(copies: Copies) -> None:
    file = copies.file()
    ended = copies.stream(file)
    assert ended_in([ended, copies.stream(file, running=True), copies.stream(copies.file())], file) == [ended]


@pytest.mark.parametrize("words", [
    {"take": "t", "generation": "one", "piece": "1", "write": True}, {"take": 7, "generation": "one", "piece": PIECE, "write": True},
    {"take": "t", "generation": "one", "piece": PIECE}, {"digests": {"md5": 5}}, {"digests": []}, {"discard": 1}, 7, [],
])  # fmt: skip
@pytest.mark.parametrize("handed", [True, False])
def test_invalid_requests_close_the_connection(tmp_path: Path, copies: Copies, words: object, handed: bool) -> None:
    home = Home(str(tmp_path / "home"))
    hosted = ServedDownloads(home, fd_passing.listen(home.sockets), None, lambda: NOW)
    entry, file = Entry("f-1-2.000", "t", "c", "", [], "", 0, 0, 60.0), copies.file()
    line = fd_passing.send_descriptors(home.sockets, entry.encode(), file.descriptors) if handed else fd_passing.connect(home.sockets)
    with line:
        hosted.accept()
        line.sendall(json.dumps(words).encode() + b"\n")
        hosted.accept() if not handed else hosted._readable(hosted._streams[entry.name])
        line.settimeout(10.0)
        assert line.recv(1) == b""
    assert hosted.names() == ([entry.name] if handed else [])
    hosted.close()
