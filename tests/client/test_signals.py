"""A signal or the deadline ends a download's process, also if the exception is swallowed or the main thread is blocked."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from dfengine.client.watchdog import GRACE

SWALLOWS = """
    said = False
    while True:
        try:
            said = said or not print("up", file=sys.stderr, flush=True)
            time.sleep(60)
        except BaseException:
            pass
"""

IN_C = """
    import ctypes, itertools
    # A call that is interrupted is gone on with, as getaddrinfo does it: nobody in Python hears of the signal.
    libc = ctypes.CDLL(None)
    print("up", file=sys.stderr, flush=True)
    list(map(libc.sleep, itertools.repeat(60, 3)))
"""

BY_ITSELF = """
    try:
        print("up", file=sys.stderr, flush=True)
        time.sleep(60)
    finally:
        print("in good order", flush=True)
"""

BLOCKED = """
    print("up", file=sys.stderr, flush=True)
    with open(1, "wb", 0) as out:
        while True:
            out.write(bytes(1 << 16))
"""

PROGRAM = """
import sys, time
from dfengine import client
from dfengine.app import get_command
from dfengine.client import watchdog

def get(*_):
{}
client.get = get
watchdog.GRACE = {}
get_command.end(get_command.get, {{"address": ("http://h/f",), "output": "/tmp/f", "json": True, "timeout": {}}})
"""


@contextlib.contextmanager
def started(body: str, timeout: float = 0.0) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has started `body`; killed at the end of the test if it still runs."""
    # A body that ends by itself gets more time, since its duration depends on the load of the machine.
    grace = 10.0 if body is BY_ITSELF else GRACE
    words = [sys.executable, "-c", PROGRAM.format(body, grace, timeout)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == b"up\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("body", [SWALLOWS, IN_C, BY_ITSELF], ids=["swallows", "in C", "by itself"])
def test_a_signal_ends_the_process(body: str, number: signal.Signals) -> None:
    with started(body) as process:
        began = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - began < 20.0, "the process hangs; its own bound is a second"
    assert process.returncode == 128 + number
    assert err.count(b"stopped") == 1
    assert (b"in good order" in out) == (body is BY_ITSELF)
    assert b'"kind": "Interrupted"' in out


@pytest.mark.parametrize("body", [SWALLOWS, IN_C, BLOCKED], ids=["swallows", "in C", "blocked"])
def test_the_deadline_ends_the_process(body: str) -> None:
    with started(body, 1.0) as process:
        assert process.wait(30) == 8
        assert process.stderr is not None
        assert process.stderr.read() == b"dfengine: not finished within 1 s\n"


def test_a_second_signal_ends_the_process_at_once_with_the_first_ones_code() -> None:
    body = SWALLOWS.replace("pass", "print('first', file=sys.stderr, flush=True)")
    with started(body) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert process.stderr.readline() == b"first\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 128 + signal.SIGTERM


def test_an_error_that_replaces_the_signals_exception_does_not_hide_the_signal() -> None:
    """As pycurl's SystemError, or that of a cleanup step which was interrupted."""
    body = SWALLOWS.replace("pass", "raise SystemError('returned a result with an exception set')")
    with started(body) as process:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (128 + signal.SIGTERM, b"dfengine: stopped; run it again to resume (/tmp/f)\n")


def test_a_process_that_ends_in_time_prints_no_deadline() -> None:
    with started("    print('up', file=sys.stderr, flush=True); raise get_command.StorageError('as it is')", 30) as process:
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (7, b"dfengine: as it is\n")
