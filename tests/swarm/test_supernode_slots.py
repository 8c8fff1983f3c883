"""Unused slots of the supernode are given to others, and one client cannot occupy all of them."""

from __future__ import annotations

import pytest

from dfengine.supernode.swarm.limits import Limits
from dfengine.task import Peer
from tests.swarm.cluster import TASK, Cluster
from tests.swarm.stats import TaskStats

FEW = Limits().slow_slots


class Bytes:
    """Counter of the bytes that a client has read on its connection."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        return self.count


def swarm_of(pieces: int = 40, **limits: int) -> Cluster:
    """A cluster that sends no requests by itself, with the slots of a new task."""
    swarm = Cluster(pieces, slow_slots=FEW, **limits)
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
def test_pieces_that_are_not_requested_free_their_slots_soon(host: str) -> None:
    """An honest download and an idle one have the same or different addresses."""
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
def test_idle_downloads_delay_others_only_once(hogs: int, host: str) -> None:
    """All of them are queued before the honest one, which then gets piece after piece."""
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


def test_a_frozen_source_does_not_block_its_pieces() -> None:
    """Its pieces are in flight to a source, so others get other pieces; after the timeout any download may get them."""
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


def test_a_stalled_transfer_frees_its_slot_and_takes_it_again_when_bytes_flow() -> None:
    swarm = swarm_of()
    swarm.join("stalled", port=0)
    flow = Bytes()
    request(swarm, "host-stalled", take_all(swarm, "stalled"), flow)
    swarm.wait(2.25)
    assert used(swarm) == 0
    flow.count += 1
    swarm.wait(2.25)
    assert used(swarm) == FEW


def test_a_transfer_that_the_supernode_limits_keeps_its_slot() -> None:
    swarm = swarm_of()
    swarm.join("limited", port=0)
    flow = Bytes()
    flow.count = -1
    request(swarm, "host-limited", take_all(swarm, "limited"), flow)
    swarm.wait(7.0)
    assert used(swarm) == FEW


def test_a_piece_not_yet_requested_keeps_its_slot_while_another_flows() -> None:
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


def test_a_late_request_takes_a_slot_when_bytes_flow() -> None:
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


def test_leases_of_an_idle_client_take_slots_again_after_a_minute() -> None:
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


def test_a_client_that_reads_a_byte_per_second_leaves_others_a_slot() -> None:
    """Other downloads of the same client get no slot."""
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


def test_with_a_limit_of_one_slot_a_slow_transfer_keeps_it() -> None:
    swarm = swarm_of(supernode=1)
    swarm.join("a", "b", port=0)
    flow = Bytes()
    request(swarm, "host-a", swarm.take("a"), flow)
    for _ in range(5):
        flow.count += 1
        swarm.wait(2.0)
    assert swarm.pull("b").kind == "nosource"


def test_a_request_without_a_lease_is_ignored() -> None:
    swarm = swarm_of()
    swarm.swarm.requested("unknown", 0, "10.0.0.9", Bytes(), swarm.now)
    swarm.join("a", port=0)
    ours = take_all(swarm, "a")
    swarm.swarm.requested(TASK, next(n for n in range(40) if n not in ours), "10.0.0.9", Bytes(), swarm.now)
    swarm.check()


def test_a_request_from_another_address_is_matched_by_its_piece() -> None:
    swarm = swarm_of()
    swarm.join("a", port=0)
    flow = Bytes()
    request(swarm, "10.0.0.9", take_all(swarm, "a"), flow)
    for _ in range(3):
        flow.count += 1
        swarm.wait(1.0)
    assert used(swarm) == FEW
