"""Threads that wait for a word of shared memory."""

from __future__ import annotations

import mmap
import threading
import time

import pytest

from dfengine.errors import BadValue
from dfengine.storage import _futex


def words() -> memoryview:
    return memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("I")


def test_a_word_that_has_changed_is_not_waited_for() -> None:
    shared = words()
    shared[3] = 1
    began = time.monotonic()
    assert _futex.wait(shared, 3, 0, 30.0)
    assert time.monotonic() - began < 10.0


def test_a_wait_times_out() -> None:
    assert not _futex.wait(words(), 0, 0, 0.001)


def test_wake_wakes_all_waiting_threads() -> None:
    shared, woken = words(), []
    threads = [threading.Thread(target=lambda: woken.append(_futex.wait(shared, 1, 0, 60.0))) for _ in range(5)]
    for thread in threads:
        thread.start()
    total = 0
    end = time.monotonic() + 30.0
    while total < 5 and time.monotonic() < end:
        total += _futex.wake(shared, 1)
    for thread in threads:
        thread.join(30.0)
    assert (total, woken) == (5, [True] * 5)


@pytest.mark.parametrize("index", [-1, 1024, 1 << 60])
def test_a_word_beyond_the_memory_is_refused(index: int) -> None:
    with pytest.raises(BadValue):
        _futex.wake(words(), index)
    with pytest.raises(BadValue):
        _futex.wait(words(), index, 0, 0.0)


@pytest.mark.parametrize("seconds", [-1.0, 1e12, float("nan"), float("inf")])
def test_an_invalid_timeout_is_refused(seconds: float) -> None:
    with pytest.raises(BadValue):
        _futex.wait(words(), 0, 0, seconds)
