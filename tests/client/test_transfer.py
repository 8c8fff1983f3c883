"""State shared by a transfer's threads, without real connections: silence of sources, spare threads, and cut connections."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dfengine._piece import Geometry
from dfengine._window import Window
from dfengine.client.byte_counts import ByteCounts
from dfengine.client.job import Job
from dfengine.client.messages import Source
from dfengine.client.plan import Plan
from dfengine.client.throttle import Throttle
from dfengine.client.transfer import Transfer, join
from dfengine.net.http_client import Connection
from dfengine.storage.piece_file import PieceFile

GEOMETRY = Geometry(3000, 1000)
SOURCES = [Source("a", "127.0.0.1", 15001, "/peer/file/a"), Source("b", "127.0.0.1", 15002, "/peer/file/b")]


class Line:
    """The part of a connection that a transfer inspects."""

    def __init__(self) -> None:
        self.receiver = SimpleNamespace(total=0)
        self.unread = 0

    def stop(self) -> None:
        """No thread runs on it."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def transfer(tmp_path: Path, clock: list[float]) -> Any:
    file = PieceFile.create(str(tmp_path / "part"), str(tmp_path / "record"), GEOMETRY)
    made = Transfer(file, Plan(Window(-1, GEOMETRY.count), 2), ByteCounts())
    for n in range(GEOMETRY.count):
        made.plan.offer(n, "xxh3:0", SOURCES, clock[0])
    yield made
    made.close()
    file.close()


def begun(transfer: Transfer) -> tuple[Job, Line]:
    job, line = transfer.next_job(None), Line()
    assert job is not None
    assert transfer.begin(job, cast(Connection, line))
    return job, line


def listen(transfer: Transfer, clock: list[float], seconds: float) -> bool:
    """Check the sources for that long, as often as a download does. Return the last check's result."""
    needs = False
    for _ in range(int(seconds * 10)):
        clock[0] += 0.1
        needs = transfer.check_sources(0.0)
    return needs


def test_a_source_that_sends_nothing_is_silent_and_another_thread_is_needed(transfer: Transfer, clock: list[float]) -> None:
    job, _ = begun(transfer)
    assert listen(transfer, clock, 5.0)
    assert job.silent
    assert transfer.plan.drain()[1] == [(job.piece, "a", "slow")]


@pytest.mark.parametrize("what", ["bytes wait in this host", "this host writes", "this process was stopped"])
def test_delays_of_this_host_are_not_attributed_to_the_source(transfer: Transfer, clock: list[float], what: str) -> None:
    job, line = begun(transfer)
    line.unread = int(what == "bytes wait in this host")
    job.writing = what == "this host writes"
    if what == "this process was stopped":
        clock[0] += 60.0
        transfer.check_sources(0.0)
    else:
        listen(transfer, clock, 60.0)
    assert not job.silent
    line.unread, job.writing = 0, False
    listen(transfer, clock, 5.0)
    assert job.silent


@pytest.mark.parametrize(
    ("unread", "slow"), [(1 << 20, False), (1005, False), (400, True)], ids=["this host", "the rest of the piece", "the source"]
)
def test_a_source_is_slow_unless_many_of_its_bytes_are_unread(
    transfer: Transfer, clock: list[float], unread: int, slow: bool
) -> None:
    """Some bytes are always unread, as a thread is woken for many at once. They excuse the source only if no others are missing."""
    supernode = Source("cdnnode:1~t", "127.0.0.1", 8001, "/download/abc/abc")
    transfer.offer([(n, "d", [SOURCES[0], supernode]) for n in range(3)])
    job = transfer.next_job(None)
    assert job is not None
    line = Line()
    line.unread = unread
    assert transfer.begin(job, cast(Connection, line))
    for _ in range(50):
        line.receiver.total += 10
        clock[0] += 0.1
        transfer.check_sources(0.0)
    assert job.silent is slow


def test_a_source_is_not_slow_because_this_process_was_suspended(transfer: Transfer, clock: list[float]) -> None:
    """Neither the piece's duration nor its rate counts then."""
    for _ in range(3):
        transfer.plan.timing.add(1.0)
    transfer.offer([(n, "d", [SOURCES[0], Source("cdnnode:1~t", "127.0.0.1", 8001, "/download/abc/abc")]) for n in range(3)])
    job, line = begun(transfer)
    for step in range(18):
        line.receiver.total += 50
        clock[0] += 60.0 if step == 9 else 0.1
        transfer.check_sources(0.0)
        assert not job.silent, step
    assert transfer.plan.arrived(job, clock[0])
    assert transfer.plan.timing.mean < 2.0, "the suspension changed the measured duration of pieces"
    assert transfer.plan.drain()[1] == []


@pytest.mark.parametrize("step", [1.0, 1.2, 1.4])
def test_a_rate_is_measured_anew_after_this_process_was_suspended(transfer: Transfer, clock: list[float], step: float) -> None:
    """The first bytes afterwards, or none within a moment, are not a rate."""
    transfer.plan.timing.add(1.0)
    transfer.offer([(n, "d", [SOURCES[0], Source("cdnnode:1~t", "127.0.0.1", 8001, "/download/abc/abc")]) for n in range(3)])
    job, line = begun(transfer)
    while clock[0] < 100.0 + step:
        line.receiver.total += 50
        listen(transfer, clock, 0.1)
    assert not job.silent
    line.receiver.total += 50
    clock[0] += 20.0
    for _ in range(5):
        transfer.check_sources(0.0)
        assert not job.silent
        clock[0] += 0.01


def test_a_piece_that_ends_right_after_a_suspension_is_not_measured(
    transfer: Transfer, clock: list[float]
) -> None:
    transfer.plan.timing.add(1.0)
    job, _ = begun(transfer)
    transfer.check_sources(0.0)
    clock[0] += 20.0
    transfer.commit(job, memoryview(bytearray(1000)), 1000, bytes(16))
    assert transfer.plan.stored == 1
    assert transfer.plan.timing.mean == 1.0


def test_a_thread_beyond_the_number_of_workers_is_not_idle(transfer: Transfer, clock: list[float]) -> None:
    """An idle one would prevent other threads from requesting a piece ahead for the rest of the download."""
    jobs = [begun(transfer)[0] for _ in range(2)]
    clock[0] += 1.0  # no piece arrived at full rate, so every thread takes part
    looked = threading.Event()
    hedge_at = transfer.plan.hedge_at

    def hedged() -> float:
        looked.set()
        return hedge_at()

    transfer.plan.hedge_at = hedged  # type: ignore[method-assign]
    spare = threading.Thread(target=transfer.next_job, args=(None,), daemon=True)
    spare.start()
    assert looked.wait(30)
    with transfer._changed:  # the thread is waiting now
        assert transfer._idle == 0
    assert transfer.job_ahead(("127.0.0.1", 15001)) is not None
    transfer.drop(jobs[0])
    transfer.stop()
    spare.join(30)
    assert not spare.is_alive()


def test_a_connection_wrapped_by_tls_is_cut(transfer: Transfer) -> None:
    job = transfer.next_job(None)
    assert job is not None
    with socket.create_server(("127.0.0.1", 0)) as mute, socket.create_connection(mute.getsockname()) as made:
        begin, failed = threading.Event(), threading.Event()

        def connect() -> None:
            with transfer.opening(job) as opened:
                opened(made)
                taken = ssl.create_default_context().wrap_socket(made, server_hostname="h", do_handshake_on_connect=False)
                begin.set()
                try:
                    taken.do_handshake()
                except OSError:
                    failed.set()
                taken.close()

        thread = threading.Thread(target=connect, daemon=True)
        thread.start()
        assert begin.wait(30)
        transfer.stop()
        thread.join(30)
        assert failed.is_set()


@pytest.mark.parametrize("runs", [True, False], ids=["the thread runs", "the thread never runs"])
def test_a_signal_during_the_start_of_a_thread_does_not_break_close(
    transfer: Transfer, monkeypatch: pytest.MonkeyPatch, runs: bool
) -> None:
    monkeypatch.undo()  # the clock
    ended = threading.Event()
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if isinstance(thread, threading.Timer):
            return start(thread)
        if runs:
            threading.Timer(0.05, start, (thread,)).start()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            transfer.start(lambda: ended.set() if transfer.next_job(None) is None else None, "fetch-1")
        assert transfer.close()
    assert ended.is_set() is runs


def test_a_thread_that_waits_for_the_rate_limit_ends_and_the_limit_applies_to_the_next_threads(
    transfer: Transfer, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a download with a low limit cannot go to the origin. The clock stands still, so that a wait ends only by the stop."""
    batch = Throttle(1000)
    throttle, other = Throttle(1000, batch), Throttle(1000, batch)
    transfer.throttle = throttle
    burst = throttle.acquire(1 << 20)
    granted: list[int] = []
    transfer.start(lambda: granted.append(throttle.acquire(77)), "fetch-1")
    transfer.stop_fetchers()
    assert granted == [77]
    assert not transfer.stopping
    waits: list[Throttle] = []

    def wait(of: Throttle, seconds: float) -> bool:
        waits.append(of)
        clock[0] += seconds
        return False

    for each in (throttle, other):
        monkeypatch.setattr(each._stopped, "wait", partial(wait, each))
        assert each.acquire(1 << 20) < burst
    assert {*waits} == {throttle, other}, "the limit no longer applies"


def test_time_in_which_this_process_was_suspended_does_not_count_against_a_join(clock: list[float]) -> None:
    """Otherwise a download that was closed just before keeps its files, memory and connections, as if a thread were stuck."""

    class Slow(threading.Thread):
        joins = 0

        def join(self, timeout: float | None = None) -> None:
            assert timeout is not None
            clock[0] += 20.0 if not self.joins else timeout
            self.joins += 1

        def is_alive(self) -> bool:
            return self.joins < 10

    ends, never = Slow(), Slow()
    join([ends], 5.0)
    assert not ends.is_alive()
    join([never], 1.0)
    assert never.is_alive()
