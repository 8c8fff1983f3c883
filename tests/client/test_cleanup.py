"""Release of resources when a signal's exception interrupts the release."""

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
from dfengine.client.download_thread import DownloadThread
from dfengine.client.host_leader_client import HostLeaderClient
from dfengine.net import fd_passing
from tests.own_descriptors import own_descriptors

CALLS = 40
"""Exclusive upper bound of the calls, of any depth, at which a release is interrupted; a release makes fewer calls."""


def interrupted_at(n: int, run: Callable[[], object]) -> bool:
    """Run `run` with a KeyboardInterrupt as the first step of the thread's nth call of a Python function, as by a signal.

    Return False if there were fewer calls.
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


def test_every_step_runs_and_the_first_error_is_raised() -> None:
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
def test_closing_a_leader_releases_everything_wherever_a_signal_arrives(n: int) -> None:
    """A thread that continues to beat would make all downloads of the host wait for a leader that fetches nothing."""
    before = len(own_descriptors())
    server, line = socket.socketpair()
    joining = HostLeaderClient.begin(line, "key", "opened", first=True)
    if interrupted_at(n, joining.close):
        joining.close()
    assert "beat" not in threads()
    server.settimeout(60.0)
    while heard := fd_passing.receive_messages(server, 8):  # until it has closed the connection: another download leads
        for _, descriptors in heard:
            fd_passing.discard(descriptors)
    server.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_leader_whose_download_has_ended_stops_beating() -> None:
    server, line = socket.socketpair()
    joining = HostLeaderClient.begin(line, "key", "opened", first=True)
    (beating,) = joining._beating
    joining.page.join()
    joining.end()
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
def test_closing_an_thread_closes_its_download_wherever_a_signal_arrives(n: int, stops: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """stops: before the close, or after it. In the second case the download thread closes the download itself, without a further close."""
    monkeypatch.setattr("dfengine.client.download_thread.CLOSING", 0.0)
    run = Run()
    thread = DownloadThread(run, "thread under test")
    thread.start()
    if stops == "before":
        run.stopped.set()
        thread.join(60.0)
    interrupted = interrupted_at(n, thread.close)
    if n <= 2 and interrupted:
        thread.close()  # no more than the calls of `close` and `release` had run
    run.stopped.set()
    thread.join(60.0)
    assert not thread.is_alive()
    assert run.closed


def test_an_thread_whose_start_was_interrupted_can_be_closed() -> None:
    run = Run()
    began = time.monotonic()
    thread = DownloadThread(run, "never started")
    thread.close()
    run.stopped.set()
    thread.start()  # as the interrupted start would have done
    thread.join(60.0)
    assert run.closed
    assert time.monotonic() - began < 60.0
