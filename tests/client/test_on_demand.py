"""A transfer on demand: notification of readers, and the pieces that its session requests, reports or omits."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from dfengine._piece import Geometry
from dfengine._window import Window
from dfengine.client import on_demand
from dfengine.client.byte_counts import ByteCounts
from dfengine.client.messages import Source
from dfengine.client.native import NativeSession
from dfengine.client.on_demand import TransferOnDemand
from dfengine.client.plan_on_demand import PlanOnDemand
from dfengine.errors import LocalError
from dfengine.storage.memory_file import MemoryFile

from .test_supernode_session import Line, member

SIZE = 1 << 20
COUNT = 100
SOURCE = Source("a", "127.0.0.1", 15001, "/peer/file/a")
WAIT, OFFERS = b'{"code":602}', b'{"code":601,"offers":[[%d,"00",[["a","127.0.0.1",15001,"/peer/file/a"]]]]}'


def made(length: int) -> TransferOnDemand:
    file = MemoryFile.allocate(Geometry(length, SIZE))
    return TransferOnDemand(file, PlanOnDemand(Window(-1, file.geometry.count), 4), ByteCounts(), digester=None, throttle=None)


@pytest.fixture
def transfer() -> Iterator[TransferOnDemand]:
    found = made(COUNT * (SIZE - 5))
    yield found
    found.close()
    found.file.close()


@pytest.fixture
def line() -> Iterator[Line]:
    found = Line()
    yield found
    found.close()


def fetch(transfer: TransferOnDemand) -> list[int]:
    """Do what the fetch threads do, at once."""
    fetched = []
    with transfer._changed:
        while (job := transfer.plan.assign(0.0)) is not None:
            assert transfer.plan.arrived(job, 0.0)
            fetched.append(job.piece)
            transfer.file.write(job.piece, b"x", bytes(16))
            transfer.plan.written(job)
            transfer._on_stored(job.piece)
    return fetched


def test_a_ticket_is_signalled_by_each_of_its_pieces(transfer: TransferOnDemand) -> None:
    ticket, other = transfer.request((5, 3)), transfer.request((9,))
    assert ticket.missing == [5, 3]
    assert not ticket.wait(0)
    transfer.offer([(3, "xxh3:00", (SOURCE,))])
    assert fetch(transfer) == [3]
    assert ticket.wait(0)
    assert not ticket.wait(0)
    assert not other.wait(0)
    transfer.withdraw(other)
    transfer.withdraw(ticket)
    assert transfer.parked
    assert transfer._tickets == {}
    assert transfer.request((3,)).missing == [], "the piece is stored"


def test_an_unreported_piece_is_reported_to_the_supernode_and_its_reader(transfer: TransferOnDemand) -> None:
    """Otherwise the supernode assumes that the piece is stored and does not offer it again, and the reader waits."""
    ticket = transfer.request((3, 5))
    transfer.file.write(3, b"x", bytes(16))
    assert transfer.rejoin(True) == [(3, 4)]
    assert ticket.wait(0)
    assert transfer.wanted_pieces() == [5]
    transfer.withdraw(ticket)


def test_a_piece_seen_by_a_registration_before_its_thread_reports_it_counts_once(
    transfer: TransferOnDemand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the file counts as complete while its last piece is missing. The registration comes between a piece's bit and the lock."""
    ticket = transfer.request((3, 5))
    transfer.offer([(3, "xxh3:00", (SOURCE,))])
    job = transfer.next_job(None)
    assert job is not None
    assert transfer.begin(job, SimpleNamespace(receiver=SimpleNamespace(total=0)))  # type: ignore[arg-type]
    held: list[list[tuple[int, int]]] = []
    write = MemoryFile.write

    def written(file: MemoryFile, n: int, content: memoryview, xxh3: bytes) -> None:
        write(file, n, content, xxh3)
        held.append(transfer.rejoin(True))

    monkeypatch.setattr(MemoryFile, "write", written)
    transfer.commit(job, memoryview(bytes(SIZE - 5)), SIZE - 5, bytes(16))
    transfer.job_done()
    assert held == [[(3, 4)]]
    assert transfer.progress()[0] == transfer.file.available.count() == 1
    assert (transfer.wanted_pieces(), ticket.wait(0)) == ([5], True)
    transfer.withdraw(ticket)


def test_a_piece_seen_in_an_abandoned_place_does_not_count_as_stored(transfer: TransferOnDemand) -> None:
    """The thread that looks there may be late."""
    ticket = transfer.request((3,))
    transfer.file.write(3, b"x", bytes(16))
    transfer.move(MemoryFile.allocate(transfer.file.geometry))
    transfer.add_shared(3, SIZE - 5)
    assert transfer.wanted_pieces() == [3]
    assert transfer.byte_counts.host == 0
    transfer.withdraw(ticket)


def test_a_piece_that_a_reader_requests_again_is_wanted_whatever_the_state(transfer: TransferOnDemand) -> None:
    ticket = transfer.request((5,))
    transfer.request_again(ticket, 5)
    assert transfer.wanted_pieces() == [5]
    transfer._priority.withdraw(ticket.reader)
    transfer.request_again(ticket, 5)
    assert transfer.wanted_pieces() == [5]
    transfer.plan.add_stored((5,))
    with pytest.raises(LocalError, match="open the file again"):
        transfer.request_again(ticket, 5)
    transfer.withdraw(ticket)


def test_preferences_of_other_downloads_are_ignored_after_the_close() -> None:
    """They arrive by a thread that ends later."""
    transfer = made(SIZE - 5)
    transfer.close()
    transfer.file.close()
    transfer.prefer_for_host([0])


def test_pieces_beyond_the_end_are_not_waited_for(transfer: TransferOnDemand) -> None:
    assert transfer.request((COUNT, COUNT + 5)).missing == []
    assert transfer.parked


def test_learning_the_length_wakes_readers_beyond_the_end() -> None:
    transfer = made(-1)
    ticket = transfer.request((7, 1))
    transfer.learn_length(2 * (SIZE - 5))
    assert ticket.wait(0)
    assert transfer.wanted_pieces() == [1]
    transfer.withdraw(ticket)
    assert transfer.parked
    transfer.close()
    transfer.file.close()


def test_the_end_wakes_every_reader_permanently(transfer: TransferOnDemand) -> None:
    ticket = transfer.request((5,))
    transfer.end()
    assert ticket.over
    assert ticket.wait(0)
    assert transfer.request((6,)).over


def test_a_piece_stored_between_request_and_wait_is_not_missed(transfer: TransferOnDemand) -> None:
    ticket = transfer.request((5,))
    transfer.offer([(5, "xxh3:00", (SOURCE,))])
    fetch(transfer)
    assert ticket.wait(10)


def test_idle_threads_of_a_parked_transfer_do_not_wake_up(transfer: TransferOnDemand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_demand, "PARKED", 3.0)
    assert transfer._idle_for(0.0) == 3.0
    waits = threading.Thread(target=transfer.next_job, args=(None,))
    waits.start()
    transfer.stop()
    waits.join(10)
    assert not waits.is_alive()


class TestSession:
    def test_only_wanted_pieces_are_requested(self, transfer: TransferOnDemand, line: Line) -> None:
        session = NativeSession(member(line, native=True), [])
        session.step(transfer, 0.0)
        assert line.sent == [] or [pull.want for pull in line.pulls()] == [0]
        ticket = transfer.request((40, 7))
        transfer.read_ahead(8, 10)
        session._timing._sent = -math.inf
        session.step(transfer, 0.0)
        (pull,) = line.pulls()
        assert pull.pieces == [40, 7, 8, 9]
        assert pull.want > 0
        transfer.withdraw(ticket)

    def test_a_new_request_replaces_the_parked_one(self, transfer: TransferOnDemand, line: Line) -> None:
        session = NativeSession(member(line, native=True), [])
        first = transfer.request((40,))
        session.step(transfer, 0.0)
        assert [pull.pieces for pull in line.pulls()] == [[40]]
        session.step(transfer, 0.0)
        assert line.pulls() == [], "the request is parked"
        second = transfer.request((7,))
        session.step(transfer, 0.0)
        assert [pull.pieces for pull in line.pulls()] == [[40, 7]]
        line.answers.append(WAIT)
        session.step(transfer, 0.0)
        assert line.pulls() == []
        line.answers.append(OFFERS % 7)
        session.step(transfer, 0.0)
        assert fetch(transfer) == [7]
        for ticket in (first, second):
            transfer.withdraw(ticket)

    def test_a_withdrawn_request_is_not_sent(self, transfer: TransferOnDemand, line: Line) -> None:
        session = NativeSession(member(line, native=True), [])
        transfer.withdraw(transfer.request((40,)))
        session._send(transfer, 4, 20.0)
        (pull,) = line.pulls()
        assert (pull.want, pull.pieces) == (0, None)

    def test_a_pull_names_at_most_64_pieces(self, transfer: TransferOnDemand, line: Line) -> None:
        session = NativeSession(member(line, native=True), [])
        ticket = transfer.request(range(COUNT))
        session.step(transfer, 0.0)
        (pull,) = line.pulls()
        assert pull.pieces == list(range(64))
        transfer.withdraw(ticket)


