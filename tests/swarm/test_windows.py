"""Windows of streams: offered pieces, movement of the window, and eviction."""

from __future__ import annotations

import pytest

from tests.swarm.cluster import TASK, Cluster
from tests.swarm.stats import SwarmStats


def test_only_pieces_in_the_window_are_offered_and_acknowledged_ones_move_it() -> None:
    swarm = Cluster(20)
    swarm.join("s", wnd=3)
    taken = swarm.take("s")
    assert sorted(taken) == [0, 1, 2]
    swarm.done("s", 2, taken[2])
    assert swarm.pull("s").kind == "wait"
    swarm.done("s", 0, taken[0])
    assert sorted(swarm.take("s")) == [3]
    swarm.done("s", 1)
    assert sorted(swarm.take("s")) == [4, 5]


@pytest.mark.parametrize("wnd", [1, 2, 5, 64])
def test_a_file_longer_than_the_window_is_streamed_completely(wnd: int) -> None:
    swarm = Cluster(100)
    swarm.join("s", wnd=wnd)
    seen: list[int] = []
    while taken := swarm.take("s"):
        for n in reversed(taken):
            assert n < len(seen) + len(taken) + wnd
            swarm.done("s", n)
            seen.append(n)
            if n >= 2:
                swarm.swarm.evicted(TASK, "s", n - 2, swarm.now)
    assert sorted(seen) == list(range(100))
    assert swarm.pull("s").kind == "finished"


def test_a_window_that_passes_a_piece_in_flight_releases_its_slot() -> None:
    swarm = Cluster(10)
    swarm.join("s", wnd=5)
    assert len(swarm.take("s")) == 5
    swarm.swarm.window_moved(TASK, "s", 2, -1, swarm.now)
    swarm.check()
    assert SwarmStats.of(swarm.swarm).leases == 3
    assert sorted(swarm.take("s")) == [5, 6]
    swarm.done("s", 0)
    assert SwarmStats.of(swarm.swarm).leases == 5


def test_an_evicted_piece_is_neither_served_nor_offered_again() -> None:
    swarm = Cluster(10)
    swarm.join("s", wnd=5)
    swarm.swarm.holds(TASK, "s", [(1, 4)], swarm.now)
    swarm.swarm.evicted(TASK, "s", 2, swarm.now)
    swarm.check()
    assert sorted(swarm.take("s")) == [0, 4]
    swarm.join("x")
    assert {n for n, source in swarm.take("x").items() if source == "s"} == {1, 3}


def test_pieces_held_beyond_the_window_count_when_the_window_reaches_them() -> None:
    swarm = Cluster(6)
    swarm.join("s", wnd=2)
    swarm.swarm.holds(TASK, "s", [(2, 6)], swarm.now)
    assert sorted(swarm.take("s")) == [0, 1]
    swarm.done("s", 0)
    swarm.done("s", 1)
    assert swarm.pull("s").kind == "finished"


def test_a_regular_download_that_lost_a_piece_gets_it_again() -> None:
    swarm = Cluster(3)
    swarm.join("a", holds=range(3))
    swarm.swarm.evicted(TASK, "a", 1, swarm.now)
    swarm.swarm.evicted(TASK, "a", 1, swarm.now)
    swarm.join("x")
    assert swarm.take("x")[1] is None
    swarm.fail("x", 1)
    assert swarm.take("a") == {1: None}


def test_too_large_windows_are_limited() -> None:
    swarm = Cluster(3)
    swarm.join("s", wnd=1 << 40)
    assert sorted(swarm.take("s")) == [0, 1, 2]
