"""The page of signals between a host's downloads of one task, also with nonsense from one side."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator

import pytest

from dfengine.errors import StorageError
from dfengine.storage.record import SEALS
from dfengine.storage.signal_page import BYTES, FIRST_SLOT, SLOT, SLOTS, WANTED, SignalPage


@pytest.fixture
def pages() -> Iterator[tuple[SignalPage, SignalPage]]:
    """Mappings of one memory by the leader and by another download."""
    leader = SignalPage.create()
    other = SignalPage.adopt(os.dup(leader.fd))
    yield leader, other
    leader.close()
    other.close()
    other.close()


def test_a_change_wakes_waiting_downloads(pages: tuple[SignalPage, SignalPage]) -> None:
    leader, other = pages
    other.join()
    before, woken = other.changes, threading.Event()

    def wait() -> None:
        while other.changes == before:
            other.wait(before, 60.0)
        woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    leader.changed()
    assert woken.wait(30.0)
    thread.join()


def test_the_leaders_state_is_read(pages: tuple[SignalPage, SignalPage]) -> None:
    leader, other = pages
    assert (other.unproved, other.una, other.end, other.digests) == (False, 0, 0, {})
    beats = other.beats
    leader.beat()
    leader.set_window(7, 11)
    leader.publish_digests({"sha256": "ab" * 32, "xxh3": "cd" * 16})
    leader.mark_unproved()
    assert other.beats != beats
    assert (other.unproved, other.una, other.end, other.digests) == (True, 7, 11, {"sha256": "ab" * 32, "xxh3": "cd" * 16})


def test_the_counters_wrap_around(pages: tuple[SignalPage, SignalPage]) -> None:
    leader, other = pages
    for word in (1, 2):
        leader._words[word] = 0xFFFFFFFF
    leader.changed()
    leader.beat()
    assert (other.changes, other.beats) == (0, 0)


def test_the_most_urgent_piece_of_each_slot_comes_first(pages: tuple[SignalPage, SignalPage]) -> None:
    leader, other = pages
    assert leader.wanted() == []
    other.join()
    other.want(0, [5, 6, 7])
    other.want(SLOTS - 1, [9, 6])
    other.want(SLOTS, [1])
    other.want(-1, [1])
    assert leader.wanted() == [5, 9, 6, 7]
    other.want(0, ())
    assert leader.wanted() == [9, 6]
    other.want(3, range(1000))
    assert set(leader.wanted()) == set(range(WANTED))


def test_nonsense_in_a_page_is_bounded(pages: tuple[SignalPage, SignalPage]) -> None:
    leader, other = pages
    os.pwrite(other.fd, os.urandom(BYTES - 4), 4)
    other.join()
    assert len(leader.wanted()) <= SLOTS * WANTED
    assert len(other.digests) < BYTES
    leader._words[FIRST_SLOT + SLOT] = 0xFFFFFFFF
    assert leader.wanted()


@pytest.mark.parametrize(("size", "seals"), [(BYTES, 0), (BYTES - 4096, SEALS), (BYTES, SEALS)])
def test_invalid_memory_is_refused_and_stays_the_callers(size: int, seals: int) -> None:
    fd = os.memfd_create("other", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    with pytest.raises(StorageError):
        SignalPage.adopt(fd)
    os.close(fd)


def test_a_pipe_is_refused() -> None:
    read, write = os.pipe()
    with pytest.raises(StorageError):
        SignalPage.adopt(read)
    os.close(read)
    os.close(write)
