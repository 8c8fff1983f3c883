"""Open files that read from one place of this host: what their readers wait for when that place moves."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine._piece import Geometry
from dfengine.client.joining import Joining
from dfengine.client.leader_place import LeaderPlace
from dfengine.client.on_demand import TransferOnDemand
from dfengine.client.watch import Watch
from dfengine.files.joined import JoinedPlace
from dfengine.files.opened import Opened
from dfengine.files.place import MEMORY, FilePlace
from dfengine.net import fd_passing
from dfengine.settings import GetSettings
from dfengine.storage.hashing import content_digest
from dfengine.storage.memory_file import MemoryFile
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.signal_page import SLOTS, SignalPage

COUNT, CONTENT = 8, (1 << 20) - 5


def memory(*pieces: int) -> MemoryFile:
    file = MemoryFile.allocate(Geometry(COUNT * CONTENT, 1 << 20), b"v1")
    for n in pieces:
        bring(file, n)
    return file


def bring(file: PieceFile, n: int) -> None:
    """As another process that has the place does it: nobody here is told."""
    content = bytes([n]) * CONTENT
    file.write(n, content, content_digest(content))


class Shared:
    """An open file whose pieces came into another download's place, `first`; its engine does not run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        monkeypatch.setattr("dfengine.files.opened.Engine", lambda *_: SimpleNamespace(start=bool, over=True, close=bool))
        self.opened = Opened(GetSettings(url="http://o/f", output="-", home=str(home)), MEMORY)
        self.place: FilePlace = self.opened._fetching.place
        self.page = SignalPage.create()
        self.first = memory(0)
        self.joining: Any
        self.joining = SimpleNamespace(joined=True, leads=False, place=None, slot=0, hear=lambda *_: None)
        self.joined = JoinedPlace(self.joining, self.place, Watch(0.0, None, ""))
        transfer = self.joined._begin(self.leader(self.first))
        assert transfer is not None
        self.transfer: TransferOnDemand = transfer
        self.joined._report_stored(transfer)
        self.opened.begin()

    def leader(self, file: MemoryFile) -> LeaderPlace:
        found = self.joining.place = LeaderPlace(file, self.page, "", [])
        return found

    def close(self) -> None:
        self.opened.close()
        self.place.close()
        self.page.close()


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Shared]:
    made = Shared(monkeypatch, tmp_path)
    yield made
    made.close()


def follow(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another leader, which has all that this one was told of."""
    assert shared.joined._moves_to(shared.leader(memory(0)), shared.transfer)


def lead(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leads now, and copies what is here; another piece came into the place that it leaves after that."""
    monkeypatch.setattr(PieceFile, "copy_missing", lambda fresh, file: bring(fresh, 0))
    shared.place.take_over(False)


@pytest.mark.parametrize("moves", [follow, lead])
def test_what_a_reader_found_and_the_next_place_lacks_is_wanted(shared: Shared, moves: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader waited for ever, and the engine was parked, since nobody wanted the piece."""
    bring(shared.first, 3)
    ticket = shared.transfer.request((3, 5))
    assert ticket.missing == [5]
    moves(shared, monkeypatch)
    assert ticket.wait(0), "who waits looks again"
    assert shared.transfer.wanted_pieces() == [3, 5]
    bring(shared.transfer.file, 3)
    shared.joined._report_stored(shared.transfer)
    assert ticket.wait(0)
    assert shared.transfer.wanted_pieces() == [5]
    shared.transfer.withdraw(ticket)
    assert shared.transfer.parked
    assert shared.transfer._tickets == {}


def test_a_read_waits_for_what_was_here_and_is_not_any_more(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two ranges the second was here when the read began."""
    bring(shared.first, 3)
    found: list[list[bytes]] = []
    reads = threading.Thread(target=lambda: found.append(shared.opened.preadv([(5 * CONTENT, 4), (3 * CONTENT, 4)])), daemon=True)
    reads.start()
    while shared.transfer.parked:
        time.sleep(0.001)
    follow(shared, monkeypatch)
    assert shared.transfer.wanted_pieces() == [5, 3]
    for n in (5, 3):
        bring(shared.transfer.file, n)
        shared.joined._report_stored(shared.transfer)
    reads.join(60)
    assert found == [[bytes([5]) * 4, bytes([3]) * 4]]


def test_a_read_finds_by_itself_what_came_and_nobody_told_of(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfengine.files.opened.RECHECK", 0.01)
    found: list[bytes] = []
    reads = threading.Thread(target=lambda: found.append(shared.opened.pread(5 * CONTENT, 4)), daemon=True)
    reads.start()
    while shared.transfer.parked:
        time.sleep(0.001)
    bring(shared.first, 5)
    reads.join(60)
    assert found == [bytes([5]) * 4]


def test_who_cannot_say_what_it_wants_follows_nobody(shared: Shared) -> None:
    """Of open files beyond those that have a slot a read waited for ever, for what nobody fetched."""
    shared.joining.slot = SLOTS
    leader = shared.leader(memory(0))
    assert not shared.joined._moves_to(leader, shared.transfer)
    assert shared.joined._begin(leader) is None
    leader.close()


@pytest.mark.parametrize("between", [False, True])
def test_the_next_leader_fetches_into_a_place_only_if_its_owner_has_ended(tmp_path: Path, between: bool) -> None:
    """Two processes wrote into one memory where the first leader was stopped, and the second one had led and ended before it ran again."""
    ours, theirs = socket.socketpair()
    pages, first = [SignalPage.create(), SignalPage.create()], memory(0)
    fd_passing.send_message(ours, {"told": "follow", "leader": 1, "slot": 0}, [pages[0].fd])
    joining = Joining.begin(theirs, "key", "opened", first=False)
    place = FilePlace(GetSettings(url="http://o/f", output="-", home=str(tmp_path)), "task", MEMORY)
    follows = threading.Thread(target=JoinedPlace(joining, place, Watch(0.0, None, "")).run, daemon=True)
    follows.start()
    fd_passing.send_message(ours, {"told": "open", "place": {"output": "", "algorithms": [], "memory": True}}, first.descriptors)
    transfer = place.await_open(60)
    assert transfer is not None
    if between:
        fd_passing.send_message(ours, {"told": "follow", "leader": 2, "slot": 0}, [pages[1].fd])
    fd_passing.send_message(ours, {"told": "lead", "left": True})
    follows.join(60)
    assert joining.leads
    bring(first, 3)
    assert list(transfer.file.available) == ([0] if between else [0, 3])
    place.close()
    joining.close()
    ours.close()
    first.close()
    for page in pages:
        page.close()
