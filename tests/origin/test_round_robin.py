"""Turns of connections that read different files of one origin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from dfengine.origin import round_robin as turn_taking
from dfengine.origin.claim import Claim
from dfengine.origin.round_robin import QUIET, OriginRoundRobin, RoundRobin


def claim(at: float | None = None) -> Claim:
    return Claim(0, 1, None, False, time.monotonic() if at is None else at)


def always() -> bool:
    return True


class Reader:
    """Takes one turn in a thread, and keeps it until it is told to end."""

    def __init__(self, turns: OriginRoundRobin, waits: Callable[[], bool] = always) -> None:
        self.claim, self.begun, self.ends = claim(), threading.Event(), threading.Event()
        self.turns, self.waits = turns, waits
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        with self.turns.turn(self.claim, self.waits):
            self.begun.set()
            while not self.ends.wait(0.01):
                self.claim.last_byte_at = time.monotonic()

    def end(self) -> None:
        self.ends.set()
        self.thread.join(20)
        assert not self.thread.is_alive()


def wait_until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_connections_beyond_the_turns_wait_and_are_served_in_order() -> None:
    turns = OriginRoundRobin(2)
    first, second = Reader(turns), Reader(turns)
    assert first.begun.wait(20)
    assert second.begun.wait(20)
    third = Reader(turns)
    wait_until(lambda: third.claim in turns._waiting)
    fourth = Reader(turns)
    wait_until(lambda: fourth.claim in turns._waiting)
    assert not third.begun.is_set()
    first.end()
    assert third.begun.wait(20)
    assert not fourth.begun.is_set()
    second.end()
    assert fourth.begun.wait(20)
    third.end()
    fourth.end()
    assert not turns._running
    assert not turns._waiting


def test_a_silent_connection_does_not_delay_other_connections() -> None:
    turns = OriginRoundRobin(1)
    with turns.turn(quiet := claim(), always):
        quiet.last_byte_at -= 2 * QUIET
        with turns.turn(claim(), always):
            pass


def test_a_long_turn_does_not_delay_other_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection delivers a byte now and then."""
    monkeypatch.setattr(turn_taking, "SLICE", 0.2)
    turns = OriginRoundRobin(1)
    first = Reader(turns)
    assert first.begun.wait(20)
    second = Reader(turns)
    assert second.begun.wait(20)
    first.end()
    second.end()


def test_turns_are_suspended_after_a_connection_waited_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_taking, "SLICE", 1000.0)
    monkeypatch.setattr(turn_taking, "MAX_WAIT", 0.2)
    turns = OriginRoundRobin(1)
    readers = [Reader(turns)]
    assert readers[0].begun.wait(20)
    readers.append(Reader(turns))
    assert readers[1].begun.wait(20)
    monkeypatch.setattr(turn_taking, "MAX_WAIT", 1000.0)
    readers += [Reader(turns) for _ in range(5)]
    assert all(reader.begun.wait(20) for reader in readers)
    for reader in readers:
        reader.end()


def test_origins_have_separate_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_taking, "MAX_WAIT", 1000.0)
    turns = RoundRobin(1)
    with turns.reading("o") as one, turns.reading("another") as another:
        readers = [Reader(one), Reader(another)]
        assert all(reader.begun.wait(20) for reader in readers)
        for reader in readers:
            reader.end()


def test_a_stopped_reader_does_not_wait_for_a_turn() -> None:
    turns = OriginRoundRobin(1)
    first = Reader(turns)
    assert first.begun.wait(20)
    stops = threading.Event()
    second = Reader(turns, lambda: not stops.is_set())
    wait_until(lambda: second.claim in turns._waiting)
    assert not second.begun.is_set()
    stops.set()
    assert second.begun.wait(20)
    first.end()
    second.end()
    assert not turns._running


def test_a_turn_ends_with_an_error() -> None:
    turns = OriginRoundRobin(1)
    with pytest.raises(OSError, match="any"), turns.turn(claim(), always):
        raise OSError("any")
    assert not turns._running


def test_files_of_one_origin_share_its_connections() -> None:
    turns = RoundRobin(4)
    with turns.reading("o") as first:
        assert first.may_open(3, 0.0)
        assert not first.may_open(4, 0.0)
        with turns.reading("o") as second, turns.reading("another") as another:
            assert second is first
            assert first.may_open(1, 0.0)
            assert not first.may_open(2, 0.0)
            assert another.may_open(3, 0.0)
            with turns.reading("o"), turns.reading("o"), turns.reading("o"):
                assert first.may_open(0, 0.0)
                assert not first.may_open(1, 0.0)
        assert first.may_open(3, 0.0)
    assert not turns._origins


def test_the_number_of_connections_grows_while_the_throughput_does() -> None:
    turns = OriginRoundRobin(1)
    turns.files = 1
    with turns.turn(running := claim(), always):
        for n in range(40):
            turns.may_open(turns._limit.allowed, 0.05 * n)
            running.received_bytes += 1000 * turns._limit.allowed
        assert turns.may_open(3, 2.0)
