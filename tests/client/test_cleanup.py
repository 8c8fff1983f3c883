"""What is released where a signal's exception comes in the middle of it."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from dfengine.client.cleanup import release
from dfengine.client.engine import Engine
from dfengine.client.joining import Joining
from dfengine.net import fd_passing

CALLS = 40
"""At which of its calls, of any depth, a release is interrupted; it makes fewer."""


def interrupted_at(n: int, run: Callable[[], object]) -> bool:
    """`run`, in which the call number n of a Python function of this thread raises KeyboardInterrupt as its first step, as a signal
    does. False: there were fewer.
    """
    left = n

    def trace(frame: FrameType, event: str, _: Any) -> None:
        nonlocal left
        if event == "call" and ("/dfengine/" in (name := frame.f_code.co_filename) or name.endswith("threading.py")):
            left -= 1
            if left == 0:
                sys.settrace(None)
                raise KeyboardInterrupt

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return left <= 0


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_every_step_runs_and_what_came_first_is_raised() -> None:
    ran: list[str] = []

    def interrupted() -> None:
        ran.append("interrupted")
        if ran.count("interrupted") < 2:
            raise KeyboardInterrupt

    def failed() -> None:
        ran.append("failed")
        raise OSError

    with pytest.raises(KeyboardInterrupt):
        release(interrupted, failed, lambda: ran.append("last"))
    assert ran == ["interrupted", "interrupted", "failed", "last"]


@pytest.mark.parametrize("n", range(1, CALLS))
def test_a_leader_that_is_closed_leaves_nothing_wherever_a_signal_comes(n: int) -> None:
    """A thread that beat on made every other download of the host wait for a leader that fetched nothing."""
    before = len(os.listdir("/proc/self/fd"))
    server, line = socket.socketpair()
    joining = Joining.begin(line, "key", "opened", first=True)
    if interrupted_at(n, joining.close):
        joining.close()
    assert "beat" not in threads()
    server.settimeout(60.0)
    while heard := fd_passing.receive_messages(server, 8):  # until it has hung up: another one leads
        for _, descriptors in heard:
            fd_passing.discard(descriptors)
    server.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_leader_whose_download_has_ended_beats_no_more() -> None:
    server, line = socket.socketpair()
    joining = Joining.begin(line, "key", "opened", first=True)
    beating = joining._beating
    joining.page.join()
    joining.end()
    assert beating is not None
    beating.join(60.0)
    assert not beating.is_alive()
    joining.close()
    server.close()


class Run:
    """A download that runs until it is stopped."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.closed = 0

    def run(self) -> Any:
        self.stopped.wait()

    def abandon(self, error: BaseException) -> None:
        raise AssertionError(error)

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("stops", ["before", "after"])
@pytest.mark.parametrize("n", range(1, CALLS))
def test_an_engine_that_is_left_closes_its_download_wherever_a_signal_comes(n: int, stops: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """stops: before it is left, or after: then it closes the download itself, and nobody else leaves it again."""
    monkeypatch.setattr("dfengine.client.engine.CLOSING", 0.0)
    run = Run()
    engine = Engine(run, "engine under test")
    engine.start()
    if stops == "before":
        run.stopped.set()
        engine.join(60.0)
    interrupted = interrupted_at(n, engine.close)
    if n <= 2 and interrupted:
        engine.close()  # nothing of it had run but the calls of `close` and `release`
    run.stopped.set()
    engine.join(60.0)
    assert not engine.is_alive()
    assert run.closed


def test_an_engine_whose_start_was_interrupted_is_left_all_the_same() -> None:
    run = Run()
    began = time.monotonic()
    engine = Engine(run, "never started")
    engine.close()
    run.stopped.set()
    engine.start()  # as it would have been soon
    engine.join(60.0)
    assert run.closed
    assert time.monotonic() - began < 60.0
