"""Slots of the supernode that nobody uses are others', and one client does not keep them all."""

from __future__ import annotations

import pytest

from dfengine.supernode.swarm.limits import Limits
from dfengine.task import Peer
from tests.swarm.cluster import TASK, Cluster
from tests.swarm.stats import TaskStats

FEW = Limits().few


class Bytes:
    """What a client has taken on its connection."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        return self.count


def swarm_of(pieces: int = 40, **limits: int) -> Cluster:
    """A cluster that requests nothing by itself, with as few slots as a new task has."""
    swarm = Cluster(pieces, few=FEW, **limits)
    swarm.requests = False
    return swarm


def request(swarm: Cluster, host: str, taken: dict[int, str | None], bytes_taken: Bytes) -> None:
    for n in taken:
        swarm.swarm.requested(TASK, n, host, bytes_taken, swarm.now)
    swarm.check()


def take_all(swarm: Cluster, cid: str) -> dict[int, str | None]:
    taken = swarm.take(cid, 1)
    while more := swarm.take(cid):
        taken |= more
    assert len(taken) == FEW
    return taken


def used(swarm: Cluster) -> int:
    return TaskStats.of(swarm.swarm, TASK).supernode_used


@pytest.mark.parametrize("host", ["hog", "10.0.0.1"])
def test_pieces_that_nobody_requests_hold_no_slot_for_long(host: str) -> None:
    """An honest download beside an idle one, at the same address or another."""
    swarm = swarm_of()
    swarm.join("hog", host=host, port=0)
    swarm.join("honest", host="10.0.0.1", port=0)
    take_all(swarm, "hog")
    assert swarm.park("honest") == "nosource"
    assert swarm.swarm.next_due() <= swarm.now + 1.25
    swarm.wait(1.25)
    assert len(swarm.woken()["honest"]) == 1
    assert used(swarm) == (host == "hog")


@pytest.mark.parametrize("hogs", [1, 2, 8, 400])
@pytest.mark.parametrize("host", ["hog", "10.0.0.1"])
def test_idle_downloads_cost_others_one_wait(hogs: int, host: str) -> None:
    """All of them wait in the queue before the honest one, which then gets piece after piece."""
    swarm = swarm_of()
    for i in range(hogs):
        swarm.swarm.join(TASK, f"hog{i}", Peer(host, 0, "/peer/file/hog"), swarm.now)
        if not swarm.swarm.pull(TASK, f"hog{i}", 64, swarm.now).pieces:
            swarm.swarm.park(TASK, f"hog{i}", 64)
    began = swarm.now
    swarm.join("honest", host="10.0.0.1", port=0)
    got = 0
    while swarm.now < began + 2.0 and got < 40:
        pieces = list(swarm.take("honest")) or _parked(swarm, "honest")
        request(swarm, "10.0.0.1", dict.fromkeys(pieces), Bytes())
        for n in pieces:
            swarm.done("honest", n)
        got += len(pieces)
        if not pieces:
            swarm.wait(0.25)
    assert got == 40


def _parked(swarm: Cluster, cid: str) -> list[int]:
    swarm.park(cid)
    return swarm.woken().get(cid, [])


def test_a_frozen_source_holds_back_no_piece() -> None:
    """Its pieces are on their way to a source, so others would be given others; after the lapse anybody may have them."""
    swarm = swarm_of(2, reseed_delay=100)
    swarm.join("frozen", "honest")
    take_all(swarm, "frozen")
    assert swarm.park("honest") == "nosource"
    swarm.wait(1.25)
    assert len(swarm.woken()["honest"]) == 1
    assert len(swarm.take("honest")) == 1


def test_a_slow_piece_keeps_its_slot_while_its_bytes_flow() -> None:
    swarm = swarm_of()
    swarm.join("slow", "other", port=0)
    flow = Bytes()
    request(swarm, "host-slow", take_all(swarm, "slow"), flow)
    for _ in range(12):
        flow.count += 1
        swarm.wait(0.5)
        assert swarm.pull("other").kind == "nosource"
    assert used(swarm) == FEW


def test_bytes_that_are_not_taken_free_the_slot_and_flowing_again_they_take_it() -> None:
    swarm = swarm_of()
    swarm.join("stalled", port=0)
    flow = Bytes()
    request(swarm, "host-stalled", take_all(swarm, "stalled"), flow)
    swarm.wait(2.25)
    assert used(swarm) == 0
    flow.count += 1
    swarm.wait(2.25)
    assert used(swarm) == FEW


def test_bytes_that_the_supernode_holds_back_flow() -> None:
    swarm = swarm_of()
    swarm.join("limited", port=0)
    flow = Bytes()
    flow.count = -1
    request(swarm, "host-limited", take_all(swarm, "limited"), flow)
    swarm.wait(7.0)
    assert used(swarm) == FEW


def test_a_piece_asked_for_behind_another_waits_for_it() -> None:
    swarm = swarm_of()
    swarm.join("one", "other", port=0)
    first, _ = take_all(swarm, "one")
    flow = Bytes()
    request(swarm, "host-one", {first: None}, flow)
    for _ in range(12):
        flow.count += 1
        swarm.wait(0.5)
    assert used(swarm) == FEW
    assert swarm.pull("other").kind == "nosource"


def test_a_late_request_takes_a_slot_once_bytes_flow() -> None:
    swarm = swarm_of()
    swarm.join("late", port=0)
    taken = take_all(swarm, "late")
    swarm.wait(1.25)
    flow = Bytes()
    request(swarm, "host-late", taken, flow)
    assert used(swarm) == 0
    flow.count += 1
    swarm.wait(0.5)
    assert used(swarm) == FEW
    for n in taken:
        swarm.done("late", n)
    assert used(swarm) == 0


def test_a_client_that_was_idle_is_trusted_again_a_minute_later() -> None:
    swarm = swarm_of()
    swarm.join("hog", port=0)
    taken = take_all(swarm, "hog")
    swarm.wait(1.25)
    swarm.swarm.unassign(TASK, "hog")
    assert len(take_all(swarm, "hog")) == len(taken)
    assert used(swarm) == 0
    swarm.swarm.unassign(TASK, "hog")
    swarm.wait(61.0)
    take_all(swarm, "hog")
    assert used(swarm) == FEW


def test_a_byte_a_second_leaves_others_a_slot() -> None:
    """However long its pieces take, and however often it comes again."""
    swarm = swarm_of()
    swarm.join("drip", port=0, host="host-drip")
    flow = Bytes()
    request(swarm, "host-drip", take_all(swarm, "drip"), flow)
    for _ in range(5):
        flow.count += 1
        swarm.wait(2.0)
    swarm.join("honest", host="10.0.0.1", port=0)
    assert len(swarm.take("honest")) == 1
    assert used(swarm) == FEW + 1
    assert swarm.take("honest") == {}
    swarm.join("neighbour", host="host-drip", port=0)
    assert swarm.pull("neighbour").kind == "nosource"


def test_a_limit_of_one_slot_is_one_slot() -> None:
    swarm = swarm_of(supernode=1)
    swarm.join("a", "b", port=0)
    flow = Bytes()
    request(swarm, "host-a", swarm.take("a"), flow)
    for _ in range(5):
        flow.count += 1
        swarm.wait(2.0)
    assert swarm.pull("b").kind == "nosource"


def test_a_request_of_nobody_s_lease_is_nothing() -> None:
    swarm = swarm_of()
    swarm.swarm.requested("unknown", 0, "10.0.0.9", Bytes(), swarm.now)
    swarm.join("a", port=0)
    ours = take_all(swarm, "a")
    swarm.swarm.requested(TASK, next(n for n in range(40) if n not in ours), "10.0.0.9", Bytes(), swarm.now)
    swarm.check()


def test_a_host_that_fetches_from_another_address_is_found_by_the_piece() -> None:
    swarm = swarm_of()
    swarm.join("a", port=0)
    flow = Bytes()
    request(swarm, "10.0.0.9", take_all(swarm, "a"), flow)
    for _ in range(3):
        flow.count += 1
        swarm.wait(1.0)
    assert used(swarm) == FEW
