"""Parked pulls are answered in order, by exactly the event that makes it possible."""

from __future__ import annotations

import pytest

from dfengine.supernode.swarm import scheduler
from dfengine.supernode.swarm._state import Download
from dfengine.supernode.swarm.leases import Leases
from dfengine.supernode.swarm.swarm import PullResult
from dfengine.task import Peer
from tests.swarm.cluster import TASK, Cluster
from tests.swarm.stats import TaskStats


def test_a_new_piece_answers_the_pull_that_parked_first() -> None:
    swarm = Cluster(3, cached=0, supernode=1)
    swarm.join("a", "b")
    assert [swarm.park("b"), swarm.park("a")] == ["wait", "wait"]
    swarm.cache(1)
    assert swarm.woken() == {"b": [1]}
    assert swarm.woken() == {}


def test_a_released_slot_answers_one_pull() -> None:
    swarm = Cluster(8, up=1, supernode=0)
    swarm.join("source", holds=range(8))
    swarm.join("a", "b", "c", port=0)
    (n,) = swarm.take("a")
    assert [swarm.park("b"), swarm.park("c")] == ["nosource", "nosource"]
    swarm.done("a", n, "source")
    woken = swarm.woken()
    assert list(woken) == ["b"]
    assert len(woken["b"]) == 1


def test_a_finished_piece_answers_all_pulls_that_lack_it() -> None:
    swarm = Cluster(2, cached=0, supernode=0)
    swarm.cache(0, 1)
    swarm.join("has", holds=[0])
    swarm.join("lacks", holds=[1])
    swarm.swarm.leave(TASK, "lacks", swarm.now)
    swarm.join("a", port=0)
    swarm.join("b", port=0, holds=[0])
    taken = swarm.take("a")
    assert taken == {0: "has"}
    assert [swarm.park("b"), swarm.park("a")] == ["nosource", "nosource"]
    swarm.join("new")
    swarm.done("new", 1, "")
    assert swarm.woken() == {"b": [1], "a": [1]}


def test_a_failure_and_an_expiry_answer_the_pull_concerned() -> None:
    swarm = Cluster(1)
    swarm.join("x", "y")
    swarm.swarm.park(TASK, "x", 4)
    assert swarm.take("y") == {0: None}
    swarm.swarm.unpark(TASK, "x")
    assert swarm.park("y") == "wait"  # all its missing pieces are in flight to it
    swarm.fail("y", 0)
    assert swarm.woken() == {"y": [0]}
    assert swarm.park("y") == "wait"
    assert len(swarm.wait(31.0)) == 1
    assert swarm.woken() == {"y": [0]}


def test_unassigned_pieces_are_offered_to_others_at_once() -> None:
    swarm = Cluster(1)
    swarm.join("gone", "x")
    assert swarm.take("gone") == {0: None}
    assert swarm.park("x") != "pieces"
    swarm.swarm.unassign(TASK, "gone")
    assert swarm.woken() == {"x": [0]}
    swarm.done("gone", 0)  # a late report is accepted
    assert TaskStats.of(swarm.swarm, TASK).finished == 1
    swarm.swarm.unassign(TASK, "unknown")
    swarm.swarm.unassign("unknown", "gone")


def test_the_supernode_sends_a_second_copy_after_the_reseed_delay() -> None:
    swarm = Cluster(1, reseed_delay=5.0)
    swarm.swarm.leases.watch = None  # its checks have separate deadlines
    swarm.requests = False
    swarm.join("first", "second")
    assert swarm.take("first") == {0: None}
    assert swarm.park("second") == "nosource"
    assert swarm.swarm.next_due() == swarm.now + 5.0
    swarm.wait(4.0)
    assert swarm.woken() == {}
    swarm.wait(1.0)
    assert swarm.woken() == {"second": [0]}


def test_a_copy_in_flight_to_a_download_that_serves_no_pieces_is_not_awaited() -> None:
    swarm = Cluster(1)
    swarm.join("leaf", port=0)
    swarm.join("second")
    assert swarm.take("leaf") == {0: None}
    assert swarm.take("second") == {0: None}


def test_downloads_that_left_or_unparked_are_not_answered() -> None:
    swarm = Cluster(2, cached=0)
    swarm.join("a", "b")
    swarm.park("a")
    swarm.park("b")
    swarm.swarm.unpark(TASK, "b")
    swarm.swarm.unpark(TASK, "b")
    swarm.swarm.unpark(TASK, "nobody")
    swarm.swarm.unpark("nothing", "b")
    swarm.swarm.leave(TASK, "a", swarm.now)
    swarm.cache(0)
    assert swarm.woken() == {}
    swarm.park("b")
    swarm.swarm.drop_task(TASK)
    swarm.swarm.drop_task(TASK)
    assert swarm.woken() == {}


def test_a_pull_unparked_between_an_event_and_its_answers_is_not_answered() -> None:
    swarm = Cluster(1)
    swarm.join("x")
    assert swarm.take("x") == {0: None}
    assert swarm.park("x") == "wait"
    swarm.swarm.failed(TASK, "x", 0, None, "other", swarm.now)
    swarm.swarm.unpark(TASK, "x")
    swarm.check()
    assert swarm.woken() == {}
    assert TaskStats.of(swarm.swarm, TASK).parked == 0


def test_parking_again_keeps_the_position_in_the_queue() -> None:
    swarm = Cluster(4, cached=0, supernode=1)
    swarm.join("a", "b")
    swarm.park("a", 1)
    swarm.park("b", 1)
    swarm.park("a", 2)
    swarm.cache(0)
    assert swarm.woken() == {"a": [0]}


def test_a_released_slot_costs_one_search_for_any_number_of_parked_pulls(monkeypatch: pytest.MonkeyPatch) -> None:
    swarm = Cluster(600, up=1, supernode=0)
    swarm.join("source", holds=[(0, 300)])
    swarm.join("x", port=0)
    (n,) = swarm.take("x", 1)
    waiting = [f"w{i}" for i in range(400)]
    for cid in waiting:  # all but the last have every piece of the source
        swarm.swarm.join(TASK, cid, Peer(cid, 0, ""), swarm.now)
        swarm.swarm.holds(TASK, cid, [(0, 300)] if cid != waiting[-1] else [(0, 299)], swarm.now)
        assert swarm.swarm.pull(TASK, cid, 1, swarm.now).kind == "nosource"
        swarm.swarm.park(TASK, cid, 1)
    looks = 0
    real = scheduler.pull

    def counting(download: Download, k: int, leases: Leases, now: float) -> PullResult:
        nonlocal looks
        looks += 1
        return real(download, k, leases, now)

    monkeypatch.setattr(scheduler, "pull", counting)
    swarm.done("x", n, "source")
    assert swarm.woken() == {waiting[-1]: [299]}
    assert looks == 1


def fed(holders: int) -> Cluster:
    """Two following supernodes and a host wait for piece 0, which `holders` hosts without free slots have. Piece 1 is not cached."""
    swarm = Cluster(2, cached=1, supernode=0, up=1)
    swarm.join(*[f"holder{n}" for n in range(holders)], holds=[0])
    swarm.join(*[f"taker{n}" for n in range(holders)], port=0)
    for n in range(holders):
        assert len(swarm.take(f"taker{n}")) == 1
    swarm.join("host")
    swarm.join("one", "two", port=0, is_follower=True)
    assert [swarm.park(name) for name in ("host", "one", "two")] == ["nosource"] * 3
    return swarm


def test_a_following_supernode_precedes_hosts_for_a_spread_piece() -> None:
    swarm = fed(2)
    swarm.done("taker0", 0, "holder0")
    assert swarm.woken() == {"one": [0]}
    swarm.done("taker1", 0, "holder1")
    assert swarm.woken() == {"two": [0]}


def test_a_piece_with_fewer_copies_than_supernodes_is_sent_to_hosts_first() -> None:
    swarm = fed(1)
    swarm.done("taker0", 0, "holder0")
    assert swarm.woken() == {"host": [0]}
    swarm.done("host", 0, "holder0")
    assert swarm.woken() == {"one": [0], "two": [0]}, "the piece is spread now"


def test_the_supernodes_own_slots_are_given_in_order_of_parking() -> None:
    """Otherwise it would send the whole file to each following supernode."""
    swarm = Cluster(3, cached=0, supernode=1)
    swarm.join("host")
    swarm.join("other", port=0, is_follower=True)
    assert [swarm.park("host", 1), swarm.park("other", 1)] == ["wait", "wait"]
    swarm.cache(0)
    assert swarm.woken() == {"host": [0]}


def test_a_following_supernode_gets_the_rarest_spread_piece_before_rarer_ones() -> None:
    swarm = Cluster(3, supernode=0)
    swarm.join("a", holds=[0, 1, 2])
    swarm.join("b", holds=[0, 1])
    swarm.join("c", holds=[0])
    swarm.join("one", "two", port=0, is_follower=True)
    assert list(swarm.take("one", 1)) == [1]
    swarm.join("host", port=0)
    assert list(swarm.take("host", 1)) == [2]
