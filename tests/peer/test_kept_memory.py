"""Which memory of files and streams that have ended a peer server lets go."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dfengine._piece import Geometry
from dfengine.net import fd_passing
from dfengine.peer.hosted import Hosted
from dfengine.peer.kept_memory import SHARE, Stream, beyond, second_copies
from dfengine.storage.home import Entry, Home
from dfengine.storage.memory_file import MemoryFile
from dfengine.storage.shared import Shared
from dfengine.storage.slots import SlotFile

PIECE = 1 << 20
GEOMETRY = Geometry(4 * PIECE, PIECE)
NOW = 1000.0


class Copies:
    """Streams and files as a peer server has them."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def file(self, pieces: str = "abcd", generation: bytes = b"one", kind: type[MemoryFile] | type[SlotFile] = MemoryFile,
             recorded: bool = True) -> MemoryFile | SlotFile:
        """pieces: a letter for the content of each piece, "." for one that is not here."""
        file = kind.allocate(GEOMETRY, generation)
        for n, letter in enumerate(pieces):
            if letter != ".":
                fd, offset, length = file.locate(n)
                os.pwrite(fd, letter.encode() * length, offset)
                if recorded:
                    file.record.set_digest(n, letter.encode() * 16)
                file.record.show(n)
        self._stack.callback(file.close)
        return file

    def stream(self, file: MemoryFile | SlotFile, used: float = NOW, running: bool = False, task: str = "t") -> Stream:
        line = self._stack.enter_context(socket.socket()) if running else None
        stream = Stream(line, used)
        stream.shared = Shared(Entry("n", task, "c", "", [], "", 0, 0, 60.0), file)
        # The test closes the file.
        self._stack.callback(setattr, stream.shared, "file", None)
        return stream


@pytest.fixture
def copies() -> Iterator[Copies]:
    with ExitStack() as stack:
        yield Copies(stack)


@pytest.mark.parametrize("kind", [MemoryFile, SlotFile])
def test_of_two_whole_copies_the_newer_stays(copies: Copies, kind: type[MemoryFile] | type[SlotFile]) -> None:
    old, new = copies.stream(copies.file(), NOW), copies.stream(copies.file(kind=kind), NOW + 1)
    assert second_copies([old, new]) == [old]
    assert second_copies([new, old]) == [old]


def test_the_more_complete_copy_stays_and_counts_as_used(copies: Copies) -> None:
    old, new = copies.stream(copies.file(), NOW), copies.stream(copies.file("a.c."), NOW + 1)
    assert second_copies([old, new]) == [new]
    assert old.used == NOW + 1


def test_a_running_file_replaces_a_copy_once_it_has_its_pieces(copies: Copies) -> None:
    file = copies.file("ab..")
    old, new = copies.stream(copies.file("abc."), NOW), copies.stream(file, NOW + 1, running=True)
    assert second_copies([old, new]) == []
    file.record.set_digest(2, b"c" * 16)
    file.record.show(2)
    assert second_copies([old, new]) == [old]


def test_a_running_stream_which_evicts_replaces_nothing(copies: Copies) -> None:
    old, new = copies.stream(copies.file()), copies.stream(copies.file(kind=SlotFile), running=True)
    assert second_copies([old, new]) == []


def test_what_runs_stays(copies: Copies) -> None:
    assert second_copies([copies.stream(copies.file(), running=True) for _ in range(2)]) == []


@pytest.mark.parametrize("other", [{"pieces": "abcx"}, {"generation": b"two"}, {"recorded": False}])
def test_another_version_is_no_second_copy(copies: Copies, other: dict[str, object]) -> None:
    old, new = copies.stream(copies.file(**other), NOW), copies.stream(copies.file(), NOW + 1)  # type: ignore[arg-type]
    assert second_copies([old, new]) == []


def test_another_task_is_no_second_copy(copies: Copies) -> None:
    assert second_copies([copies.stream(copies.file()), copies.stream(copies.file(), task="u")]) == []


def test_what_leaves_already_is_no_copy(copies: Copies) -> None:
    old, new = copies.stream(copies.file(), NOW), copies.stream(copies.file(), NOW + 1)
    new.leaving = True
    assert second_copies([old, new]) == []


def test_what_exceeds_the_share_goes_by_its_last_use(copies: Copies) -> None:
    streams = [copies.stream(copies.file(), NOW + used, task=str(used)) for used in (3, 1, 2)]
    each = sum(os.fstat(fd).st_blocks * 512 for fd in copies.file().descriptors)
    left = 3 * (SHARE - 1) * each
    assert beyond(streams, left) == [], "a fourth of the memory that would be available without them"
    assert beyond(streams, left - SHARE) == [streams[1]]
    assert beyond(streams, 2 * SHARE * each - 3 * each - SHARE) == [streams[1], streams[2]]
    assert beyond(streams, 0) == [streams[1], streams[2], streams[0]]


def test_what_runs_is_not_counted_nor_memory_that_it_shares(copies: Copies) -> None:
    file = copies.file()
    streams = [copies.stream(file, running=True), copies.stream(file), copies.stream(copies.file(kind=SlotFile), running=True)]
    assert beyond(streams, 0) == []


def test_memory_of_several_goes_with_the_last(copies: Copies) -> None:
    file = copies.file()
    each = sum(os.fstat(fd).st_blocks * 512 for fd in file.descriptors)
    streams = [copies.stream(file, NOW), copies.stream(file, NOW + 1), copies.stream(copies.file(), NOW + 2)]
    assert beyond(streams, 2 * (SHARE - 1) * each) == []
    assert beyond(streams, 2 * (SHARE - 1) * each - SHARE) == streams[:2]


def test_supernodes_are_told_of_what_was_let_go(tmp_path: Path, copies: Copies) -> None:
    home = Home(str(tmp_path / "home"))
    hosted = Hosted(home, fd_passing.listen(home.sockets), None, lambda: NOW)
    for name in ("old", "new"):
        message = Entry(name, "t" * 64, name, "", [], "", 0, 0, 60.0).encode()
        fd_passing.hand_over(home.sockets, message, copies.file().descriptors).close()
        hosted.accept()
    assert len(hosted.names()) == 2
    (gone,) = hosted.withdraw_deleted()
    assert hosted.has(gone.name), "a supernode may have named it to a peer just before"
    assert hosted.withdraw_deleted() == []
    assert hosted.names() == [{"old": "new", "new": "old"}[gone.name]]
    hosted.close()
