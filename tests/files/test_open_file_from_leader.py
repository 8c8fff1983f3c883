"""Open files that read from one place of this host: the pieces that their readers wait for when that place changes."""

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
from dfengine.client.host_leader_client import HostLeaderClient
from dfengine.client.leader_place import LeaderPlace
from dfengine.client.monitor import Monitor
from dfengine.client.on_demand import TransferOnDemand
from dfengine.files.open_file_from_leader import OpenFileFromLeader
from dfengine.files.open_file_storage import MEMORY, OpenFileStorage
from dfengine.files.opened import Opened
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
        write_piece(file, n)
    return file


def write_piece(file: PieceFile, n: int) -> None:
    """Write a piece as another process with the same place does: no reader here is notified."""
    content = bytes([n]) * CONTENT
    file.write(n, content, content_digest(content))


class Shared:
    """An open file whose pieces arrive in another download's place, `first`; its download thread does not run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        monkeypatch.setattr("dfengine.files.opened.DownloadThread", lambda *_: SimpleNamespace(start=bool, over=True, close=bool))
        self.opened = Opened(GetSettings(url="http://o/f", output="-", home=str(home)), MEMORY)
        self.place: OpenFileStorage = self.opened._fetching.place
        self.page = SignalPage.create()
        self.first = memory(0)
        self.joining: Any
        self.joining = SimpleNamespace(joined=True, leads=False, place=None, slot=0, hear=lambda *_: None)
        self.joined = OpenFileFromLeader(self.joining, self.place, Monitor(0.0, None, ""))
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
    """Follow another leader, which has all pieces that were reported here."""
    assert shared.joined._moves_to(shared.leader(memory(0)), shared.transfer)


def lead(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Become the leader and copy the stored pieces. Afterwards another piece arrives in the abandoned place."""
    monkeypatch.setattr(PieceFile, "copy_missing", lambda fresh, file: write_piece(fresh, 0))
    shared.place.take_over(False)


@pytest.mark.parametrize("moves", [follow, lead])
def test_a_piece_that_the_next_place_lacks_is_wanted_again(shared: Shared, moves: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the reader waits forever and the download thread is parked, as no piece is wanted."""
    write_piece(shared.first, 3)
    ticket = shared.transfer.request((3, 5))
    assert ticket.missing == [5]
    moves(shared, monkeypatch)
    assert ticket.wait(0), "the reader is not woken"
    assert shared.transfer.wanted_pieces() == [3, 5]
    write_piece(shared.transfer.file, 3)
    shared.joined._report_stored(shared.transfer)
    assert ticket.wait(0)
    assert shared.transfer.wanted_pieces() == [5]
    shared.transfer.withdraw(ticket)
    assert shared.transfer.parked
    assert shared.transfer._tickets == {}


def test_readers_move_to_no_file_without_a_version(shared: Shared) -> None:
    """Two files of 1.x supernodes, which name no version, may be of different versions."""
    shared.first.record.forget_generation()
    verified = memory(*range(COUNT))
    verified.record.forget_generation()
    verified.mark_complete()
    leader = shared.leader(verified)
    assert leader.trusted
    assert not shared.joined._moves_to(leader, shared.transfer)
    assert shared.transfer.file is shared.first
    leader.close()


def test_a_read_waits_for_a_piece_lost_by_a_change_of_place(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two ranges, the second was stored when the read began."""
    write_piece(shared.first, 3)
    found: list[list[bytes]] = []
    reads = threading.Thread(target=lambda: found.append(shared.opened.preadv([(5 * CONTENT, 4), (3 * CONTENT, 4)])), daemon=True)
    reads.start()
    while shared.transfer.parked:
        time.sleep(0.001)
    follow(shared, monkeypatch)
    assert shared.transfer.wanted_pieces() == [5, 3]
    for n in (5, 3):
        write_piece(shared.transfer.file, n)
        shared.joined._report_stored(shared.transfer)
    reads.join(60)
    assert found == [[bytes([5]) * 4, bytes([3]) * 4]]


def test_a_read_finds_an_unreported_piece_by_itself(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfengine.files.opened.RECHECK", 0.01)
    found: list[bytes] = []
    reads = threading.Thread(target=lambda: found.append(shared.opened.pread(5 * CONTENT, 4)), daemon=True)
    reads.start()
    while shared.transfer.parked:
        time.sleep(0.001)
    write_piece(shared.first, 5)
    reads.join(60)
    assert found == [bytes([5]) * 4]


def test_a_download_without_a_slot_does_not_follow(shared: Shared) -> None:
    """Open files beyond the slots cannot name wanted pieces, so their reads would wait forever."""
    shared.joining.slot = SLOTS
    leader = shared.leader(memory(0))
    assert not shared.joined._moves_to(leader, shared.transfer)
    assert shared.joined._begin(leader) is None
    leader.close()


@pytest.mark.parametrize("between", [False, True])
def test_the_next_leader_uses_a_place_only_if_its_owner_has_ended(tmp_path: Path, between: bool) -> None:
    """Otherwise two processes write to one memory if the first leader was suspended, and the second one led and ended meanwhile."""
    ours, theirs = socket.socketpair()
    pages, first = [SignalPage.create(), SignalPage.create()], memory(0)
    fd_passing.send_message(ours, {"told": "follow", "leader": 1, "slot": 0}, [pages[0].fd])
    joining = HostLeaderClient.begin(theirs, "key", "opened", first=False)
    place = OpenFileStorage(GetSettings(url="http://o/f", output="-", home=str(tmp_path)), "task", MEMORY)
    follows = threading.Thread(target=OpenFileFromLeader(joining, place, Monitor(0.0, None, "")).run, daemon=True)
    follows.start()
    fd_passing.send_message(ours, {"told": "open", "place": {"output": "", "algorithms": [], "memory": True}}, first.descriptors)
    transfer = place.await_open(60)
    assert transfer is not None
    if between:
        fd_passing.send_message(ours, {"told": "follow", "leader": 2, "slot": 0}, [pages[1].fd])
    fd_passing.send_message(ours, {"told": "lead", "left": True})
    follows.join(60)
    assert joining.leads
    write_piece(first, 3)
    assert list(transfer.file.available) == ([0] if between else [0, 3])
    place.close()
    joining.close()
    ours.close()
    first.close()
    for page in pages:
        page.close()
