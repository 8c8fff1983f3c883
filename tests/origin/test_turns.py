"""Turns of the connections that read different files of one origin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from dfengine.origin.claim import Claim
from dfengine.origin.turns import QUIET, Turns


def claim(at: float | None = None) -> Claim:
    return Claim(0, 1, None, False, time.monotonic() if at is None else at)


def always() -> bool:
    return True


class Reader:
    """Takes one turn in a thread, and keeps it until it is told to end."""

    def __init__(self, turns: Turns, most: int, waits: Callable[[], bool] = always, origin: str = "o") -> None:
        self.claim, self.begun, self.ends = claim(), threading.Event(), threading.Event()
        self.arguments = origin, self.claim, most, waits
        self.turns = turns
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        with self.turns.of(*self.arguments):
            self.begun.set()
            while not self.ends.wait(0.01):
                self.claim.at = time.monotonic()

    def end(self) -> None:
        self.ends.set()
        self.thread.join(20)
        assert not self.thread.is_alive()


def wait_until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_one_more_connection_than_there_are_turns_waits_and_the_one_that_waits_longest_is_next() -> None:
    turns = Turns()
    first, second = Reader(turns, 2), Reader(turns, 2)
    assert first.begun.wait(20)
    assert second.begun.wait(20)
    third = Reader(turns, 2)
    wait_until(lambda: third.claim in turns._waiting["o"])
    fourth = Reader(turns, 2)
    wait_until(lambda: fourth.claim in turns._waiting["o"])
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


def test_a_connection_that_brings_nothing_holds_up_nobody() -> None:
    turns = Turns()
    with turns.of("o", quiet := claim(), 1, always):
        quiet.at -= 2 * QUIET
        with turns.of("o", claim(), 1, always):
            pass


def test_origins_do_not_wait_for_each_other() -> None:
    turns = Turns()
    with turns.of("o", claim(), 1, always), turns.of("another", claim(), 1, always):
        pass


def test_what_stops_does_not_wait() -> None:
    turns = Turns()
    first = Reader(turns, 1)
    assert first.begun.wait(20)
    stops = threading.Event()
    second = Reader(turns, 1, lambda: not stops.is_set())
    wait_until(lambda: second.claim in turns._waiting["o"])
    assert not second.begun.is_set()
    stops.set()
    assert second.begun.wait(20)
    first.end()
    second.end()
    assert not turns._running


def test_a_turn_ends_with_an_error() -> None:
    turns = Turns()
    try:
        with turns.of("o", claim(), 1, always):
            raise OSError
    except OSError:
        pass
    assert not turns._running


def test_files_of_one_origin_share_its_connections() -> None:
    turns = Turns()
    assert turns.share("o", 4) == 4
    with turns.reading("o"):
        assert turns.share("o", 4) == 4
        with turns.reading("o"), turns.reading("another"):
            assert turns.share("o", 4) == 2
            assert turns.share("another", 4) == 4
            with turns.reading("o"), turns.reading("o"), turns.reading("o"):
                assert turns.share("o", 4) == 1
        assert turns.share("o", 4) == 4
    assert not turns._files
