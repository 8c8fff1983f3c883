"""Answers to pulls."""

from __future__ import annotations

import pytest

from dfengine.errors import BadPiece, BadRange, BadValue, IllegalEvent, UnknownDownload, UnknownTask
from dfengine.task import Peer
from tests.swarm.cluster import CDN, SUPERNODE_CID, TASK, Cluster
from tests.swarm.stats import TaskStats


def test_a_lone_legacy_client_gets_pieces_from_the_supernode_up_to_its_limit() -> None:
    swarm = Cluster(5)
    swarm.join("z", legacy=True)
    first = swarm.take("z")
    assert list(first.values()) == [None] * 4
    assert swarm.pull("z").kind == "busy"
    n = next(iter(first))
    swarm.swarm.arrived(TASK, "z", n, swarm.now)
    assert swarm.pull("z").kind == "nosource"  # the supernode's four slots for 1.x are occupied until a piece is written
    swarm.done("z", n)
    assert list(swarm.take("z").values()) == [None]


def test_a_new_download_gets_a_finished_piece_from_its_holder() -> None:
    swarm = Cluster(5)
    swarm.join("z", legacy=True)
    taken = swarm.take("z")
    n = next(iter(taken))
    swarm.done("z", n)
    swarm.join("y", legacy=True)
    assert swarm.take("y")[n] == "z"


def test_an_in_order_download_gets_the_first_pieces_that_are_not_in_flight() -> None:
    swarm = Cluster(40, supernode=40)
    swarm.join("a", in_order=True)
    assert list(swarm.take("a", 4)) == [0, 1, 2, 3]
    swarm.join("b", in_order=True)
    assert list(swarm.take("b", 4)) == [4, 5, 6, 7]  # rarer than the pieces in flight to a
    others = [f"c{k}" for k in range(8)]
    swarm.join(*others)
    assert len({next(iter(swarm.take(cid, 1))) for cid in others}) == 8


def test_a_pull_is_finished_when_all_pieces_are_done_or_arrived_and_the_count_is_known() -> None:
    swarm = Cluster(-1, cached=0)
    swarm.cache(0, 1)
    swarm.join("a", legacy=True)
    assert sorted(swarm.take("a")) == [0, 1]
    swarm.done("a", 0)
    swarm.swarm.arrived(TASK, "a", 1, swarm.now)
    assert swarm.pull("a").kind == "wait"
    swarm.swarm.set_count(TASK, 2)
    assert swarm.pull("a").kind == "finished"
    swarm.done("a", 1)
    assert swarm.pull("a").kind == "finished"
    assert TaskStats.of(swarm.swarm, TASK).finished == 1


def test_a_pull_waits_without_pieces_and_has_no_source_without_slots() -> None:
    swarm = Cluster(3, cached=0, supernode=1)
    swarm.join("a", "b")
    assert swarm.pull("a").kind == "wait"
    swarm.cache(0, 1)
    assert len(swarm.take("a")) == 1
    assert swarm.pull("b").kind == "nosource"


def test_only_pieces_with_known_digests_are_offered() -> None:
    swarm = Cluster(2, cached=0)
    swarm.swarm.cached(TASK, 0, swarm.now)
    swarm.join("holder", holds=[0, 1])
    swarm.join("native")
    swarm.join("legacy", legacy=True)
    assert list(swarm.take("native")) == [0]  # the other piece has no digest yet
    assert swarm.pull("legacy").kind == "wait"
    swarm.swarm.legacy_ready(TASK, 1, swarm.now)
    assert swarm.take("legacy") == {1: "holder"}
    swarm.swarm.uncached(TASK, 0, swarm.now)
    swarm.join("late")
    assert swarm.take("late") == {0: "holder"}


def test_alternate_sources_are_named_without_reserving_slots() -> None:
    swarm = Cluster(1)
    swarm.join("a", "b", "c", "d", holds=[0])
    swarm.join("x", "old", legacy=False)
    (piece,) = swarm.pull("x").pieces
    assert len(piece.sources) == 3
    assert piece.sources[2] is CDN, "all peers may be silent"
    assert sorted(swarm.used(cid) for cid in "abcd") == [0, 0, 0, 1]
    for cid in "bcd":
        swarm.swarm.leave(TASK, cid, swarm.now)
    swarm.swarm.leave(TASK, "x", swarm.now)
    (piece,) = swarm.pull("old").pieces
    assert [source.cid for source in piece.sources] == ["a", None]
    swarm.join("1.x", legacy=True)
    (piece,) = swarm.pull("1.x").pieces
    assert len(piece.sources) == 1


def test_the_least_loaded_holder_is_assigned() -> None:
    swarm = Cluster(6)
    swarm.join("a", "b", "c", holds=range(6))
    swarm.join("x")
    assert sorted(swarm.take("x").values()) == ["a", "a", "b", "b", "c", "c"]  # type: ignore[type-var]


def test_slots_are_counted_per_peer_not_per_cid() -> None:
    swarm = Cluster(8, up=3, supernode=0)
    swarm.join("a", "b", host="one", holds=range(8))
    swarm.join("x")
    assert len(swarm.take("x")) == 3
    assert swarm.used("a") == swarm.used("b") == 3
    assert swarm.pull("x").kind == "nosource"
    swarm.swarm.leave(TASK, "a", swarm.now)
    assert swarm.used("b") == 0
    assert set(swarm.take("x").values()) == {"b"}


def test_a_download_that_serves_no_pieces_is_never_a_source() -> None:
    swarm = Cluster(1, supernode=0)
    swarm.join("port0", port=0, holds=[0])
    swarm.join("cdn", serves=False, holds=[0])
    swarm.join("x")
    assert swarm.pull("x").kind == "nosource"


def test_a_peer_is_no_source_until_its_address_is_proved() -> None:
    swarm = Cluster(2, supernode=0)
    swarm.join("far", port=20000, holds=[0, 1], proved=False)
    swarm.join("x")
    assert swarm.park("x") == "nosource"
    assert swarm.swarm.unproved(("host-far", 20000, ""))
    swarm.swarm.prove(("host-far", 20000, ""))
    assert sorted(swarm.woken()["x"]) == [0, 1]
    swarm.check()
    assert not swarm.swarm.unproved(("host-far", 20000, ""))
    swarm.join("again", host="host-far", holds=[0], proved=False)
    assert not swarm.swarm.unproved(("host-far", 20000, "")), "the proof holds while the peer has downloads"
    swarm.swarm.prove(("nobody", 20000, ""))


def test_a_proved_registration_proves_earlier_ones_of_the_same_peer() -> None:
    swarm = Cluster(1, supernode=0)
    swarm.join("far", host="one", holds=[0], proved=False)
    swarm.join("x")
    assert swarm.pull("x").kind == "nosource"
    swarm.join("near", host="one")
    assert swarm.take("x") == {0: "far"}


def test_failures_of_an_unproved_peer_make_no_complaints() -> None:
    swarm = Cluster(2)
    swarm.join("far", holds=[0, 1], proved=False)
    swarm.join(*(f"liar-{n}" for n in range(8)))
    for n in range(8):
        for why in ("digest", "gone", "other"):
            swarm.fail(f"liar-{n}", 0, "far", why)
    assert swarm.swarm.complaints == []


def test_a_download_that_serves_no_pieces_gets_them_from_peers_first() -> None:
    swarm = Cluster(2)
    swarm.join("a", holds=[0])
    swarm.join("leaf", serves=False)
    assert swarm.take("leaf", 1) == {0: "a"}


def test_arrived_frees_the_slot_only_for_downloads_that_serve_no_pieces() -> None:
    swarm = Cluster(2)
    swarm.join("a", legacy=True)
    swarm.join("leaf", legacy=True, serves=False)
    (n,) = swarm.take("a", 1)
    swarm.swarm.arrived(TASK, "a", n, swarm.now)
    assert TaskStats.of(swarm.swarm, TASK).supernode_used == 1
    (n,) = swarm.take("leaf", 1)
    swarm.swarm.arrived(TASK, "leaf", n, swarm.now)
    assert TaskStats.of(swarm.swarm, TASK).supernode_used == 1
    swarm.check()


def test_the_exact_search_finds_the_one_open_source_behind_many_full_ones() -> None:
    swarm = Cluster(40, up=1, supernode=0)
    swarm.join("full", holds=range(30))
    swarm.join("second", holds=range(30))
    swarm.join("busy", "bees")
    assert len(swarm.take("busy", 1)) == len(swarm.take("bees", 1)) == 1
    swarm.join("crowd1", "crowd2", "crowd3", "open", holds=[35])  # 35 has more copies than 0..29, so it is tried last
    swarm.join("x")
    assert list(swarm.take("x", 1)) == [35]


def test_blocked_sources_do_not_hide_other_sources() -> None:
    swarm = Cluster(9, up=1, supernode=0, blacklist=1)
    bad = ["bad0", "bad1", "bad2", "bad3"]
    swarm.join(*bad, "good", holds=range(9))
    swarm.join("x")
    for _ in range(8):
        for n, source in swarm.take("x", 1).items():
            if source in bad:
                swarm.fail("x", n, source)
            else:
                assert source == "good"
                return
    pytest.fail("the good source was never assigned")


def test_reports_are_idempotent_and_accepted_at_any_time() -> None:
    swarm = Cluster(4)
    swarm.join("a")
    (n,) = swarm.take("a", 1)
    for _ in range(3):
        swarm.done("a", n)
    assert swarm.wait(31.0) == []
    (n,) = swarm.take("a", 1)
    assert [(e.cid, e.n, e.source_cid) for e in swarm.wait(31.0)] == [("a", n, None)]
    swarm.done("a", n)  # late
    for other in range(4):
        swarm.done("a", other, "nobody-known")  # never assigned
    assert swarm.pull("a").kind == "finished"
    assert swarm.swarm.leases.sent_by_supernode == 4


def test_a_piece_from_an_alternate_frees_the_reserved_slot() -> None:
    swarm = Cluster(1)
    swarm.join("a", "b", holds=[0])
    swarm.join("x")
    (piece,) = swarm.pull("x").pieces
    reserved, alternate, _ = (source.cid for source in piece.sources)
    assert (swarm.used(str(reserved)), swarm.used(str(alternate))) == (1, 0)
    swarm.done("x", 0, alternate)
    assert (swarm.used(str(reserved)), swarm.used(str(alternate))) == (0, 0)
    assert swarm.swarm.leases.sent_by_peers == 1


def test_a_failed_piece_is_offered_again_at_once() -> None:
    swarm = Cluster(3)
    swarm.join("c", legacy=True)
    assert len(swarm.take("c")) == 3
    swarm.fail("c", 0)
    assert swarm.take("c") == {0: None}


def test_a_claim_of_held_pieces_restores_them() -> None:
    swarm = Cluster(10, cached=10)
    swarm.join("a", holds=[0, (2, 5), 9])
    swarm.swarm.holds(TASK, "a", [(2, 5)], swarm.now)
    swarm.join("x")
    assert {n for n, source in swarm.take("x").items() if source == "a"} == {0, 2, 3, 4, 9}
    swarm.swarm.holds(TASK, "x", [(0, 10)], swarm.now)
    swarm.check()
    assert swarm.pull("x").kind == "finished"


@pytest.mark.parametrize("runs", [[-1], [10], [(3, 3)], [(5, 2)], [(0, 11)], [(-1, 2)], [1 << 60]])
def test_invalid_claims_are_rejected_and_change_nothing(runs: list[object]) -> None:
    swarm = Cluster(10)
    swarm.join("a")
    with pytest.raises((BadPiece, BadRange)):
        swarm.swarm.holds(TASK, "a", [0, *runs], swarm.now)  # type: ignore[list-item]
    swarm.check()
    assert swarm.swarm.tasks[TASK].downloads["a"].got == 0


def test_unknown_tasks_downloads_and_invalid_values_are_rejected() -> None:
    swarm = Cluster(3)
    with pytest.raises(UnknownTask):
        swarm.swarm.pull("other", "a", 1, 0.0)
    for call in (lambda: swarm.pull("a"), lambda: swarm.done("a", 0), lambda: swarm.fail("a", 0), lambda: swarm.swarm.park(TASK, "a", 1)):
        with pytest.raises(UnknownDownload):
            call()
    swarm.join("a")
    for n in (-1, 3, 1 << 62):
        with pytest.raises(BadPiece):
            swarm.done("a", n)
        with pytest.raises(BadPiece):
            swarm.swarm.cached(TASK, n, 0.0)
    for wnd in (0, -2):
        with pytest.raises(BadValue):
            swarm.join("b", wnd=wnd)
    with pytest.raises(IllegalEvent):
        swarm.swarm.add_task(TASK, 3, 0.0)
    with pytest.raises(BadValue):
        swarm.swarm.park(TASK, "a", 0)
    assert not swarm.swarm.leave(TASK, "b", 0.0)
    assert not swarm.swarm.leave("other", "b", 0.0)
    assert not swarm.swarm.touch("b", 0.0)
    assert swarm.swarm.answer_parked("other", 0.0) == []
    swarm.check()


def test_joining_again_with_the_same_cid_keeps_the_peer() -> None:
    swarm = Cluster(3)
    swarm.join("a", holds=[1])
    swarm.swarm.join(TASK, "a", Peer("elsewhere", 30000, "/x"), swarm.now)
    swarm.join("x")
    assert SUPERNODE_CID not in swarm.take("x").values()
    (piece,) = [piece for piece in swarm.swarm.tasks[TASK].downloads["x"].running.values() if piece.n == 1]
    assert piece.source is not None
    assert piece.source.source.ip == "host-a"


def test_only_holders_are_named_beside_the_supernode() -> None:
    swarm = Cluster(3, up=1)
    swarm.join("holder", holds=[0])
    swarm.join("idle", holds=[1])
    swarm.join("getting", port=0, holds=[1, 2])
    assert swarm.take("getting") == {0: "holder"}
    swarm.join("asker", port=0, holds=[1])
    # Piece 0's holder has no slot; piece 2 has no holder.
    first, *_ = swarm.pull("asker").pieces
    assert (first.n, [source.cid for source in first.sources]) == (2, [None])


def test_pieces_with_known_digests_are_sent_by_holders_without_a_copy_at_the_supernode() -> None:
    swarm = Cluster(5, 0)
    swarm.join("sharer", holds=[(0, 5)])
    swarm.join("a")
    assert not swarm.pull("a").pieces, "pieces without a digest are not offered"
    swarm = Cluster(300, 0)
    swarm.swarm.digests_known(TASK)
    swarm.join("sharer", holds=[(0, 300)])
    swarm.join("a")
    assert swarm.pull("sharer").kind == "finished"
    taken: dict[int, str | None] = {}
    while len(taken) < 300:
        for n, source in (found := swarm.take("a")).items():
            swarm.done("a", n, source)
        assert found
        taken |= found
    assert set(taken.values()) == {"sharer"}
    swarm.swarm.leave(TASK, "sharer", swarm.now)
    swarm.join("b")
    assert set(swarm.take("b").values()) == {"a"}
