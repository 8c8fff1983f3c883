"""Two jobs for one piece, one of which writes before it is verified: only verified bytes are offered."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import xxhash

from dfengine._piece import Geometry
from dfengine._window import Window
from dfengine.client.byte_counts import ByteCounts
from dfengine.client.digest import FileDigester
from dfengine.client.job import Job
from dfengine.client.messages import Source
from dfengine.client.plan import Plan
from dfengine.client.transfer import Transfer
from dfengine.net.http_client import Connection
from dfengine.storage.piece_file import PieceFile

MIB = 1 << 20
GEOMETRY = Geometry(8 * MIB, 16 * MIB)
RIGHT = b"right" * (8 * MIB // 5) + b"end"
DIGEST = xxhash.xxh3_128_digest(RIGHT)
WRONG = bytes(len(RIGHT))


class Line:
    """The part of a connection that a transfer uses."""

    def __init__(self) -> None:
        self.receiver = SimpleNamespace(total=0)
        self.stopped = threading.Event()

    def stop(self) -> None:
        self.stopped.set()


def begun(transfer: Transfer, job: Job) -> Line:
    line = Line()
    assert transfer.begin(job, cast(Connection, line))
    return line


@pytest.fixture
def transfer(tmp_path: Path) -> Any:
    file = PieceFile.create(str(tmp_path / "part"), str(tmp_path / "record"), GEOMETRY)
    made = Transfer(file, Plan(Window(-1, GEOMETRY.count), 2), ByteCounts())
    for _ in range(8):
        made.plan.timing.add(0.1)
    sources = [Source("a", "127.0.0.1", 15001, "/peer/file/a"), Source("b", "127.0.0.2", 15002, "/peer/file/b")]
    made.plan.offer(0, f"xxh3:{DIGEST.hex()}", sources, 0.0)
    yield made
    made.close()
    file.close()


def jobs(transfer: Transfer) -> tuple[Job, Job]:
    """A job, and a second one for the late piece."""
    first = transfer.plan.assign(0.0)
    second = transfer.plan.assign(1e9)
    assert first is not None
    assert second is not None
    return first, second


def content(transfer: Transfer) -> bytes:
    buffer = memoryview(bytearray(GEOMETRY.content_size))
    return bytes(buffer[: transfer.file.read_into(0, buffer)])


def test_a_single_job_writes_in_place(transfer: Transfer) -> None:
    job = transfer.plan.assign(0.0)
    assert job is not None
    begun(transfer, job)
    with transfer.writing_in_place(job) as alone:
        assert alone
        transfer.file.write_part(0, 0, RIGHT[: 4 * MIB])
        transfer.file.write_part(0, 4 * MIB, RIGHT[4 * MIB :])
        assert 0 not in transfer.file.available
    transfer.commit(job, memoryview(b""), len(RIGHT), DIGEST, in_place=True)
    assert transfer.plan.finished
    assert transfer.file.record.digest(0) == DIGEST
    assert content(transfer) == RIGHT


def test_a_second_job_does_not_write_in_place(transfer: Transfer) -> None:
    first, second = jobs(transfer)
    for job in (first, second):
        begun(transfer, job)
        with transfer.writing_in_place(job) as alone:
            assert not alone


def test_a_job_that_lost_before_it_began_is_not_received(transfer: Transfer) -> None:
    first, second = jobs(transfer)
    begun(transfer, first)
    transfer.commit(first, memoryview(RIGHT), len(RIGHT), DIGEST)
    assert not transfer.begin(second, cast(Connection, Line()))


def test_the_winner_waits_for_a_loser_that_writes_unverified_bytes(transfer: Transfer) -> None:
    first = transfer.plan.assign(0.0)
    assert first is not None
    line = begun(transfer, first)
    with transfer.writing_in_place(first) as alone:
        assert alone
        second = transfer.plan.assign(1e9)
        assert second is not None
        begun(transfer, second)
        winner = threading.Thread(target=transfer.commit, args=(second, memoryview(RIGHT), len(RIGHT), DIGEST))
        winner.start()
        assert line.stopped.wait(10), "the loser is not cut off"
        # The bytes it had received by then.
        transfer.file.write_part(0, 0, WRONG)
        assert 0 not in transfer.file.available
    winner.join(10)
    assert not winner.is_alive()
    assert transfer.plan.finished
    assert content(transfer) == RIGHT


def test_a_losing_job_does_not_begin_to_write_in_place(transfer: Transfer) -> None:
    first, second = jobs(transfer)
    begun(transfer, first)
    begun(transfer, second)
    transfer.commit(second, memoryview(RIGHT), len(RIGHT), DIGEST)
    with transfer.writing_in_place(first) as alone:
        assert not alone


def test_after_a_failed_job_the_next_one_writes_in_place(transfer: Transfer) -> None:
    first = transfer.plan.assign(0.0)
    assert first is not None
    begun(transfer, first)
    with transfer.writing_in_place(first):
        transfer.file.write_part(0, 0, WRONG)
    transfer.drop(first, "digest")
    second = transfer.plan.assign(0.0)
    assert second is not None
    begun(transfer, second)
    with transfer.writing_in_place(second) as alone:
        assert alone
        transfer.file.write_part(0, 0, RIGHT)
    transfer.commit(second, memoryview(b""), len(RIGHT), DIGEST, in_place=True)
    assert content(transfer) == RIGHT


def test_with_a_whole_digest_pieces_are_received_in_one_buffer(transfer: Transfer) -> None:
    transfer.digester = FileDigester(transfer.file, ["sha256"])
    job = transfer.plan.assign(0.0)
    assert job is not None
    begun(transfer, job)
    with transfer.writing_in_place(job) as alone:
        assert not alone


def test_a_hedged_piece_in_flight_is_counted_once_and_at_most_with_its_size(transfer: Transfer) -> None:
    first, second = jobs(transfer)
    lines = [begun(transfer, job) for job in (first, second)]
    for line, total in zip(lines, (3 * MIB, 5 * MIB), strict=True):
        line.receiver.total = total
    assert transfer.in_flight().total == 5 * MIB
    lines[1].receiver.total = 9 * MIB  # with the head of its response, and bytes behind it on the connection
    assert transfer.in_flight().total == GEOMETRY.framed(0)
