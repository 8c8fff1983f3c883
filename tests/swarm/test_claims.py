"""Announced lengths and claimed pieces cost little memory: tables grow only with pieces that exist, and sets are processed in words."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine._bitset import Bitset
from dfengine.errors import BadPiece
from dfengine.supernode.swarm.swarm import MAX_WINDOW, Swarm
from dfengine.task import Peer
from tests.swarm.cluster import TASK, Cluster
from tests.swarm.invariant import check

PIECES = 1_000_000
"""Pieces of a file of about 15 TiB, each of 15 MiB."""


def peer(cid: str) -> Peer:
    return Peer(f"host-{cid}", 20000, f"/peer/file/{cid}")


def cost(work: Callable[[], Any]) -> int:
    """Bytes that `work` allocates and keeps."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_an_announced_length_costs_no_memory() -> None:
    swarm = Swarm()

    def announce() -> None:
        for i in range(50):
            swarm.add_task(str(i), PIECES, 0.0)

    def join() -> None:
        for i in range(50):
            swarm.join(str(i), "a", peer("a"), 0.0)

    assert cost(announce) < 50 * 16_000
    assert cost(join) < 50 * 3_000


def test_a_claim_of_all_pieces_costs_memory_only_up_to_the_reach() -> None:
    swarm = Swarm()
    swarm.add_task(TASK, PIECES, 0.0)
    swarm.join(TASK, "first", peer("first"), 0.0)
    swarm.holds(TASK, "first", [(0, PIECES)], 0.0)
    assert swarm.tasks[TASK].downloads["first"].got == swarm.limits.ahead

    def claim() -> None:
        for i in range(100):
            swarm.join(TASK, str(i), peer(str(i)), 0.0)
            swarm.holds(TASK, str(i), [(0, PIECES)], 0.0)
            swarm.done(TASK, str(i), PIECES - 1, "", 0.0)
            swarm.arrived(TASK, str(i), PIECES - 2, 0.0)
            swarm.window_moved(TASK, str(i), PIECES, -1, 0.0)
            swarm.failed(TASK, str(i), PIECES - 3, "first", "gone", 0.0)
            swarm.evicted(TASK, str(i), PIECES - 1, 0.0)
            swarm.ending(TASK, str(i), PIECES - 1, 0.0)

    assert cost(claim) < 100 * 4_000
    check(swarm)


def test_the_last_piece_alone_costs_bits_and_no_tables() -> None:
    """The supernode has it because a stream requested it; a claim of it and of all pieces before it may be true."""
    swarm = Swarm()
    swarm.add_task(TASK, PIECES, 0.0)
    assert cost(lambda: swarm.cached(TASK, PIECES - 1, 0.0)) < 16 * PIECES
    swarm.join(TASK, "a", peer("a"), 0.0)
    assert cost(lambda: swarm.holds(TASK, "a", [PIECES - 1], 0.0)) < PIECES / 2


def test_window_sizes_are_limited() -> None:
    swarm = Swarm()
    swarm.add_task(TASK, PIECES, 0.0)

    def stream() -> None:
        for i in range(20):
            swarm.join(TASK, str(i), peer(str(i)), 0.0, wnd=(1 << 31) - 1)
            swarm.window_moved(TASK, str(i), 10, PIECES, 0.0)

    assert cost(stream) < 20 * (MAX_WINDOW + 4_000)


def test_claims_beyond_the_reach_are_dropped_until_the_supernode_gets_there() -> None:
    swarm = Cluster(200, 0, ahead=10)
    swarm.join("a", holds=[(5, 200)])
    download = swarm.swarm.tasks[TASK].downloads["a"]
    assert list(download.have) == list(range(5, 10))
    swarm.cache(0, 20)
    swarm.done("a", 30, "")
    swarm.done("a", 150, "")
    assert list(download.have) == [*range(5, 10), 30]
    with pytest.raises(BadPiece):
        swarm.done("a", 200, "")
    with pytest.raises(BadPiece):
        swarm.swarm.holds(TASK, "a", [(199, 201)], swarm.now)
    swarm.cache(*range(21, 200))
    swarm.join("b", holds=[(5, 200)])
    assert swarm.swarm.tasks[TASK].downloads["b"].got == 195


def test_a_download_with_dropped_claims_finishes() -> None:
    """It reports its pieces again whenever they are assigned to it."""
    swarm = Cluster(50, 0, ahead=10)
    swarm.join("a", holds=[(0, 50)])
    for n in range(50):
        swarm.cache(n)
    while swarm.all_done("a"):
        pass
    assert swarm.pull("a").kind == "finished"


@given(
    count=st.integers(1, 200), parked=st.booleans(), batches=st.lists(st.sets(st.integers(0, 199)), max_size=4),
    held=st.sets(st.integers(0, 199)),
)
@settings(max_examples=100, deadline=None)
def test_pieces_cached_in_batches_equal_pieces_cached_one_by_one(count: int, parked: bool, batches: list[set[int]], held: set[int]) -> None:
    clusters = [Cluster(count, 0), Cluster(count, 0)]
    for number, cluster in enumerate(clusters):
        cluster.join("a", holds=sorted(n for n in held if n < count))
        cluster.join("b")
        for batch in batches:
            if parked:
                cluster.park("b")
            inside = sorted(n for n in batch if n < count)
            if number:
                bits = Bitset(count + 7)
                for n in inside:
                    bits.set(n)
                cluster.swarm.cached_all(TASK, bits, cluster.now)
            else:
                for n in inside:
                    cluster.swarm.cached(TASK, n, cluster.now)
            cluster.woken()
    one, other = (cluster.swarm.tasks[TASK] for cluster in clusters)
    assert list(one.cached) == list(other.cached)
    assert list(one.known) == list(other.known)
    assert (one.highest, one.unfinished) == (other.highest, other.unfinished)
    assert sorted(one.downloads["b"].running) == sorted(other.downloads["b"].running)


def test_a_cached_piece_beyond_the_end_of_the_task_is_rejected() -> None:
    bits = Bitset(20)
    bits.set(10)
    with pytest.raises(BadPiece):
        Cluster(10, 0).swarm.cached_all(TASK, bits, 0.0)


@given(
    wnd=st.sampled_from([1, 4, 30, 300]), held=st.sets(st.integers(0, 149)), evicted=st.sets(st.integers(0, 149)),
    moves=st.lists(st.integers(0, 150), max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_a_window_that_jumps_equals_one_that_moves_step_by_step(wnd: int, held: set[int], evicted: set[int], moves: list[int]) -> None:
    jumps, walks = Cluster(150), Cluster(150)
    for cluster in (jumps, walks):
        cluster.join("s", wnd=wnd)
        cluster.swarm.holds(TASK, "s", sorted(held), cluster.now)
        cluster.check()
        for n in sorted(evicted):
            cluster.swarm.evicted(TASK, "s", n, cluster.now)
        cluster.check()
    for una in moves:
        jumps.swarm.window_moved(TASK, "s", una, -1, jumps.now)
        for step in range(1, una + 1):
            walks.swarm.window_moved(TASK, "s", step, -1, walks.now)
        jumps.check()
        walks.check()
        one, other = (cluster.swarm.tasks[TASK].downloads["s"] for cluster in (jumps, walks))
        assert one.window is not None
        assert other.window is not None
        assert (one.window.una, one.got, list(one.have), one.early) == (other.window.una, other.got, list(other.have), other.early)


@given(wnd=st.sampled_from([1, 4, 30, 300]), runs=st.lists(st.tuples(st.integers(0, 149), st.integers(1, 60)), max_size=6))
@settings(max_examples=200, deadline=None)
def test_a_streams_claim_of_ranges_equals_its_pieces_one_by_one(wnd: int, runs: list[tuple[int, int]]) -> None:
    at_once, singly = Cluster(150), Cluster(150)
    pieces = sorted({n for first, length in runs for n in range(first, min(first + length, 150))})
    for cluster in (at_once, singly):
        cluster.join("s", wnd=wnd)
        cluster.take("s", 3)
    at_once.swarm.holds(TASK, "s", [(first, min(first + length, 150)) for first, length in runs], at_once.now)
    for n in pieces:
        singly.swarm.done(TASK, "s", n, "", singly.now)
    at_once.check()
    singly.check()
    one, other = (cluster.swarm.tasks[TASK].downloads["s"] for cluster in (at_once, singly))
    assert one.window is not None
    assert other.window is not None
    assert (one.window.una, one.got, list(one.have)) == (other.window.una, other.got, list(other.have))
