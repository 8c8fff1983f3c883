"""Pulls that select pieces: only these are offered, in their order, and an interactive read does not wait for a slow copy."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine.errors import BadPiece
from dfengine.supernode.swarm.selections import URGENT
from dfengine.supernode.swarm.swarm import CDN
from tests.swarm.cluster import TASK, Cluster
from tests.swarm.virtual import Delays, Simulation

PIECES = 12
numbers = st.integers(0, PIECES - 1)
some = st.sets(numbers, max_size=6)
HOLDERS = ["a", "b", "c"]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(some, min_size=3, max_size=3), some, some, some, st.integers(1, 3), st.integers(1, 4), st.integers(1, 8),
    st.lists(numbers, min_size=1, unique=True), st.sampled_from([0.0, 0.2, 5.0]),
)  # fmt: skip
def test_each_assigned_piece_is_the_first_selected_one_with_a_source(
    held: list[set[int]], cached: set[int], busy: set[int], own: set[int], up: int, supernode: int, k: int, selected: list[int], age: float
) -> None:
    swarm = Cluster(PIECES, up=up, supernode=supernode, native_down=8, down=4)
    for n in set(range(PIECES)) - cached:  # their digests stay known
        swarm.swarm.uncached(TASK, n, swarm.now)
    for cid, pieces in zip(HOLDERS, held, strict=True):
        swarm.join(cid, holds=sorted(pieces))
    swarm.join("busy", "reader")
    swarm.swarm.holds(TASK, "reader", sorted(own), swarm.now)
    claimed = {n for n, source in (swarm.take("busy", selected=sorted(busy)) if busy else {}).items() if n in cached}
    swarm.now += age
    task = swarm.swarm.tasks[TASK]
    slots = {cid: up - swarm.used(cid) for cid in HOLDERS}
    slots[""] = min(supernode - task.supernode_used, max(1, supernode // task.unfinished))
    missing = [n for n in selected if n not in own and n in task.known]

    pull = swarm.swarm.pull(TASK, "reader", k, swarm.now, selected)
    from_supernode = False
    for running in range(k):
        peers = {n: {cid for cid, pieces in zip(HOLDERS, held, strict=True) if n in pieces and slots[cid]} for n in missing}
        may = {n for n in missing if n in cached and slots[""] and (n not in claimed or age > 0)}
        new = {n for n in may if not any(n in pieces for pieces in held) and n not in claimed}
        reseeds = may if running < 4 else set()
        again = {n for n in reseeds if n in selected[:URGENT] or n not in claimed}
        orders = []
        # The first missing piece, or the first that had a source when the pull arrived.
        for front in (missing[:1], [n for n in missing if n in cached or peers[n]][:1]):
            first = reseeds & set(front) if not from_supernode else set()
            orders.append([n for n in missing if peers[n] or n in new | first] or [n for n in missing if n in again])
        if len(pull.pieces) == running:
            assert [] in orders
            break
        n, named = pull.pieces[running]
        source = "" if named[0] is CDN else named[0].cid or ""
        assert n in [order[0] for order in orders if order]
        assert source in (peers[n] or {""})
        from_supernode |= not source
        missing.remove(n)
        slots[source] -= 1


def test_only_selected_pieces_are_offered_and_the_next_pull_replaces_the_selection() -> None:
    swarm = Cluster(20)
    swarm.join("r")
    assert list(swarm.take("r", selected=[7, 3, 11])) == [7, 3, 11]
    assert swarm.park("r", selected=[7]) == "wait"
    assert list(swarm.take("r", 1, selected=[19, 18])) == [19]
    swarm.done("r", 7)
    assert swarm.woken() == {}
    assert swarm.take("r", 1).keys() & {7, 3, 11, 19} == set()


def test_a_parked_pull_is_answered_with_its_selected_pieces_only() -> None:
    swarm = Cluster(20, cached=0)
    swarm.join("r", "x")
    assert swarm.park("r", selected=[5, 6]) == "wait"
    swarm.cache(4)
    assert swarm.woken() == {}
    swarm.join("peer", holds=[7])
    assert swarm.woken() == {}
    swarm.cache(6)
    assert swarm.woken() == {"r": [6]}
    assert swarm.park("r", selected=[5]) == "wait"
    assert list(swarm.take("r", 1)) == [4]
    swarm.cache(5)
    assert swarm.woken() == {}


def test_an_overdue_piece_in_flight_to_another_download_is_sent_again() -> None:
    swarm = Cluster(3, reseed_delay=2.0, select_delay=0.5)
    swarm.join("slow", "r", "patient")
    assert swarm.take("slow", selected=[1]) == {1: None}
    swarm.swarm.holds(TASK, "patient", [0, 2], swarm.now)
    assert swarm.park("patient") == "nosource"
    assert swarm.park("r", selected=[1]) == "nosource"
    assert swarm.swarm.next_due() <= swarm.now + 0.75
    swarm.wait(0.25)
    assert swarm.woken() == {}
    swarm.wait(0.5)
    assert swarm.woken() == {"r": [1]}
    swarm.wait(1.0)
    assert swarm.woken() == {}  # the second copy is a claim too
    swarm.wait(1.25)
    assert swarm.woken() == {"patient": [1]}


def test_pieces_behind_the_first_of_a_selection_are_never_overdue() -> None:
    swarm = Cluster(9, supernode=9, reseed_delay=2.0, select_delay=0.5)
    swarm.join("a", "b", "c", "r")
    for cid, n in (("a", 6), ("b", 7), ("c", 8)):
        assert swarm.take(cid, selected=[n]) == {n: None}
    swarm.swarm.holds(TASK, "r", range(6), swarm.now)
    assert swarm.park("r", selected=[6, 7, 8]) == "nosource"
    swarm.wait(0.75)
    woken = swarm.woken()["r"]
    assert woken
    assert set(woken) <= {6, 7}
    assert 8 in swarm.take("r", selected=[n for n in (8, 6, 7) if n not in woken])  # now the program waits for it


def test_a_piece_that_arrives_in_time_is_sent_by_its_holder() -> None:
    swarm = Cluster(3, select_delay=0.5)
    swarm.join("first", "r")
    swarm.take("first", selected=[1])
    assert swarm.park("r", selected=[1]) == "nosource"
    swarm.wait(0.25)
    swarm.swarm.done(TASK, "first", 1, "cdnnode:1~x", swarm.now)
    assert swarm.woken() == {"r": [1]}
    lease = swarm.swarm.tasks[TASK].downloads["r"].running[1]
    assert lease.source is not None
    assert lease.source.cid == "first"


def test_an_overdue_piece_waits_for_a_slot_and_is_sent_first() -> None:
    swarm = Cluster(4, supernode=1, select_delay=0.5, reseed_delay=9.0)
    swarm.join("slow", "other", "patient", "r")
    assert swarm.take("slow", selected=[1]) == {1: None}
    swarm.swarm.ending(TASK, "slow", 1, swarm.now)  # it frees the slot and never finishes
    assert swarm.take("other", 1, selected=[0]) == {0: None}
    assert swarm.park("patient") == "nosource"
    assert swarm.park("r", selected=[1]) == "nosource"
    swarm.wait(1.0)
    assert swarm.woken() == {}
    swarm.done("other", 0)
    assert swarm.woken() == {"r": [1], "patient": [0]}  # from its holder: no slot is left for a new piece


def test_many_readers_of_one_overdue_piece_get_one_copy_at_a_time() -> None:
    swarm = Cluster(2, select_delay=0.5, supernode=5)
    readers = [f"r{i}" for i in range(50)]
    swarm.join("dead", *readers)
    swarm.take("dead", selected=[0])
    for cid in readers:
        assert swarm.park(cid, selected=[0]) == "nosource"
    sent = []
    for _ in range(4):
        swarm.wait(0.75)
        sent.append(len(swarm.woken()))
    assert sent == [1, 1, 1, 1]


@pytest.mark.parametrize("selected", [[], [-1], [20], [3, 3], [1 << 40]])
def test_an_invalid_selection_is_rejected_and_changes_nothing(selected: list[int]) -> None:
    swarm = Cluster(20)
    swarm.join("r")
    with pytest.raises(BadPiece):
        swarm.pull("r", 4, selected)
    swarm.check()
    assert len(swarm.take("r", 2)) == 2


def test_while_the_length_is_unknown_selections_are_limited_to_the_reach() -> None:
    swarm = Cluster(-1, cached=2, ahead=10)
    swarm.join("r")
    assert swarm.park("r", selected=[11]) == "wait"
    with pytest.raises(BadPiece):
        swarm.pull("r", 1, [12])
    swarm.swarm.set_count(TASK, 5)
    assert swarm.woken() == {}
    swarm.check()
    assert swarm.take("r", 1, selected=[1]) == {1: None}


def test_a_selection_beyond_the_tables_size_is_answered_after_growth() -> None:
    swarm = Cluster(1000, cached=1)
    swarm.join("r")
    assert swarm.park("r", selected=[900]) == "wait"
    swarm.cache(899)
    assert swarm.woken() == {}
    swarm.cache(900)
    assert swarm.woken() == {"r": [900]}


def test_a_selection_of_a_stream_is_limited_to_its_window() -> None:
    swarm = Cluster(20)
    swarm.join("s", wnd=4)
    assert list(swarm.take("s", selected=[9, 3, 0])) == [3, 0]


def test_an_idle_reader_is_no_straggler_and_stays_while_it_sends_pulls() -> None:
    swarm = Cluster(400, slow_slots=2, slow=0.01)
    swarm.join("r", *HOLDERS)
    swarm.take("r", 1, selected=[5])
    swarm.now += 1.0
    swarm.done("r", 5)
    for n in range(40):
        for cid in HOLDERS:
            taken = swarm.take(cid, 1)
            swarm.wait(1.0)
            for piece, source in taken.items():
                swarm.done(cid, piece, source)
        swarm.swarm.pull(TASK, "r", 0, swarm.now) if n % 10 == 9 else None  # every 30 s, as a stream with a full window
    assert not swarm.swarm.tasks[TASK].downloads["r"].is_straggler
    for _ in range(200):
        swarm.swarm.done_all(TASK, "r", [(5, "")], swarm.now)
        swarm.wait(30.0)
    assert "r" in swarm.swarm.tasks[TASK].downloads
    swarm.wait(400.0)
    assert "r" not in swarm.swarm.tasks[TASK].downloads


def test_a_crowd_reads_the_first_pieces_from_each_other() -> None:
    """100 programs read pieces 0..9 in order at the same time: 1000 pieces."""
    swarm = Simulation(100, seed=3)
    swarm.up["supernode"] = 5.0
    for i in range(100):
        swarm.join(f"r{i}", reads=[(n,) for n in range(10)])
    swarm.run()
    assert sum(swarm.sent_by_supernode.values()) < 100
    assert max(swarm.times) < 60.0


def test_downloads_that_select_all_pieces_in_order_cost_others_little() -> None:
    """Twenty of forty downloads select all pieces in order, 64 at a time; 192 pieces."""
    ends, sent = [], []
    for greedy in (False, True):
        swarm = Simulation(192, seed=3)
        swarm.up["supernode"] = 5.0
        for i in range(20):
            swarm.join(f"d{i}")
        for i in range(20):
            swarm.join(f"g{i}", reads=[tuple(range(first, first + 64)) for first in (0, 64, 128)] if greedy else ())
        swarm.run()
        ends.append(max(swarm.clients[f"d{i}"].finished or 0.0 for i in range(20)))
        sent.append(sum(swarm.sent_by_supernode.values()))
    assert ends[1] < 1.05 * ends[0]
    assert sent[1] < 1.25 * sent[0]


def test_reads_in_a_busy_swarm_wait_about_as_long_as_two_pieces() -> None:
    swarm = Simulation(200, seed=3, delays=Delays(report=0.01))
    swarm.up["supernode"] = 5.0
    for i in range(20):
        swarm.join(f"d{i}")
    swarm.join("r", reads=[(n,) for n in Random(5).sample(range(200), 60)])
    swarm.run()
    waits = sorted(swarm.clients["r"].waits)
    assert waits[len(waits) // 2] < 1.1
    assert waits[int(len(waits) * 0.95)] < 3.0


def test_a_piece_reported_as_evicted_is_offered_again() -> None:
    """A client reports selected pieces that are not offered as evicted (`client.unoffered`)."""
    cluster = Cluster(4)
    cluster.join("a", holds=[(0, 4)])
    assert cluster.pull("a", selected=(3, 1)).kind == "finished"
    cluster.swarm.evicted(TASK, "a", 3, cluster.now)
    cluster.check()
    assert cluster.take("a", selected=(3, 1)) == {3: None}
