"""What a pull is answered with."""

from __future__ import annotations

import pytest

from dfengine.errors import BadPiece, BadRange, BadValue, IllegalEvent, UnknownDownload, UnknownTask
from dfengine.task import Peer
from tests.swarm.cluster import CDN, SUPERNODE_CID, TASK, Cluster
from tests.swarm.stats import TaskStats


def test_a_legacy_client_alone_gets_its_limit_from_the_supernode_then_nothing_then_the_next() -> None:
    swarm = Cluster(5)
    swarm.join("z", legacy=True)
    first = swarm.take("z")
    assert list(first.values()) == [None] * 4
    assert swarm.pull("z").kind == "busy"
    n = next(iter(first))
    swarm.swarm.arrived(TASK, "z", n, swarm.now)
    assert swarm.pull("z").kind == "nosource"  # the supernode's four slots for 1.x are taken until a piece is written
    swarm.done("z", n)
    assert list(swarm.take("z").values()) == [None]


def test_a_newcomer_is_fed_by_whoever_has_a_piece_and_waits_for_what_is_on_its_way() -> None:
    swarm = Cluster(5)
    swarm.join("z", legacy=True)
    taken = swarm.take("z")
    n = next(iter(taken))
    swarm.done("z", n)
    swarm.join("y", legacy=True)
    assert swarm.take("y")[n] == "z"


def test_whoever_hashes_the_whole_file_gets_it_from_its_beginning_but_never_what_is_on_its_way() -> None:
    swarm = Cluster(40, supernode=40)
    swarm.join("a", in_order=True)
    assert list(swarm.take("a", 4)) == [0, 1, 2, 3]
    swarm.join("b", in_order=True)
    assert list(swarm.take("b", 4)) == [4, 5, 6, 7]  # rarer than what a is being sent
    others = [f"c{k}" for k in range(8)]
    swarm.join(*others)
    assert len({next(iter(swarm.take(cid, 1))) for cid in others}) == 8


def test_finished_when_everything_is_done_or_arrived_and_only_with_a_known_count() -> None:
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


def test_wait_when_nothing_is_offered_nosource_when_nobody_has_a_slot() -> None:
    swarm = Cluster(3, cached=0, supernode=1)
    swarm.join("a", "b")
    assert swarm.pull("a").kind == "wait"
    swarm.cache(0, 1)
    assert len(swarm.take("a")) == 1
    assert swarm.pull("b").kind == "nosource"


def test_digests_decide_what_is_offered_to_whom() -> None:
    swarm = Cluster(2, cached=0)
    swarm.swarm.cached(TASK, 0, swarm.now)
    swarm.join("holder", holds=[0, 1])
    swarm.join("native")
    swarm.join("legacy", legacy=True)
    assert list(swarm.take("native")) == [0]  # nobody vouches for the other piece yet
    assert swarm.pull("legacy").kind == "wait"
    swarm.swarm.legacy_ready(TASK, 1, swarm.now)
    assert swarm.take("legacy") == {1: "holder"}
    swarm.swarm.uncached(TASK, 0, swarm.now)
    swarm.join("late")
    assert swarm.take("late") == {0: "holder"}


def test_alternates_are_named_without_a_slot() -> None:
    swarm = Cluster(1)
    swarm.join("a", "b", "c", "d", holds=[0])
    swarm.join("x", "old", legacy=False)
    (piece,) = swarm.pull("x").pieces
    assert len(piece.sources) == 3
    assert piece.sources[2] is CDN, "peers may all be mute"
    assert sorted(swarm.used(cid) for cid in "abcd") == [0, 0, 0, 1]
    for cid in "bcd":
        swarm.swarm.leave(TASK, cid, swarm.now)
    swarm.swarm.leave(TASK, "x", swarm.now)
    (piece,) = swarm.pull("old").pieces
    assert [source.cid for source in piece.sources] == ["a", None]
    swarm.join("1.x", legacy=True)
    (piece,) = swarm.pull("1.x").pieces
    assert len(piece.sources) == 1


def test_the_least_loaded_holder_is_asked() -> None:
    swarm = Cluster(6)
    swarm.join("a", "b", "c", holds=range(6))
    swarm.join("x")
    assert sorted(swarm.take("x").values()) == ["a", "a", "b", "b", "c", "c"]  # type: ignore[type-var]


def test_slots_belong_to_the_peer_not_to_the_cid() -> None:
    swarm = Cluster(8, up=3, supernode=0)
    swarm.join("a", "b", host="one", holds=range(8))
    swarm.join("x")
    assert len(swarm.take("x")) == 3
    assert swarm.used("a") == swarm.used("b") == 3
    assert swarm.pull("x").kind == "nosource"
    swarm.swarm.leave(TASK, "a", swarm.now)
    assert swarm.used("b") < 3 or swarm.pull("x").kind == "nosource"


def test_whoever_serves_nobody_is_never_a_source() -> None:
    swarm = Cluster(1, supernode=0)
    swarm.join("port0", port=0, holds=[0])
    swarm.join("cdn", serves=False, holds=[0])
    swarm.join("x")
    assert swarm.pull("x").kind == "nosource"


def test_whose_address_is_not_proved_is_no_source_until_it_is() -> None:
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
    assert not swarm.swarm.unproved(("host-far", 20000, "")), "once proved, for as long as somebody is there"
    swarm.swarm.prove(("nobody", 20000, ""))


def test_one_that_is_proved_elsewhere_proves_those_before_it() -> None:
    swarm = Cluster(1, supernode=0)
    swarm.join("far", host="one", holds=[0], proved=False)
    swarm.join("x")
    assert swarm.pull("x").kind == "nosource"
    swarm.join("near", host="one")
    assert swarm.take("x") == {0: "far"}


def test_complaints_of_whom_nobody_may_be_sent_to_ask_nobody() -> None:
    swarm = Cluster(2)
    swarm.join("far", holds=[0, 1], proved=False)
    swarm.join(*(f"liar-{n}" for n in range(8)))
    for n in range(8):
        for why in ("digest", "gone", "other"):
            swarm.fail(f"liar-{n}", 0, "far", why)
    assert swarm.swarm.complaints == []


def test_one_that_serves_nobody_asks_its_peers_before_the_supernode() -> None:
    swarm = Cluster(2)
    swarm.join("a", holds=[0])
    swarm.join("leaf", serves=False)
    assert swarm.take("leaf", 1) == {0: "a"}


def test_arrived_frees_the_sources_slot_only_for_one_that_will_not_report_again() -> None:
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
    swarm.join("crowd1", "crowd2", "crowd3", "open", holds=[35])  # 35 is more common than 0..29, so it is tried last
    swarm.join("x")
    assert list(swarm.take("x", 1)) == [35]


def test_shunned_sources_do_not_hide_those_behind_them() -> None:
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
    pytest.fail("the good source was never asked")


def test_reports_are_idempotent_and_welcome_at_any_time() -> None:
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


def test_a_failed_piece_is_wanted_again_at_once() -> None:
    swarm = Cluster(3)
    swarm.join("c", legacy=True)
    assert len(swarm.take("c")) == 3
    swarm.fail("c", 0)
    assert swarm.take("c") == {0: None}


def test_a_claim_after_a_restart_brings_everything_back() -> None:
    swarm = Cluster(10, cached=10)
    swarm.join("a", holds=[0, (2, 5), 9])
    swarm.swarm.holds(TASK, "a", [(2, 5)], swarm.now)
    swarm.join("x")
    assert {n for n, source in swarm.take("x").items() if source == "a"} == {0, 2, 3, 4, 9}
    swarm.swarm.holds(TASK, "x", [(0, 10)], swarm.now)
    swarm.check()
    assert swarm.pull("x").kind == "finished"


@pytest.mark.parametrize("runs", [[-1], [10], [(3, 3)], [(5, 2)], [(0, 11)], [(-1, 2)], [1 << 60]])
def test_claims_that_cannot_be_change_nothing(runs: list[object]) -> None:
    swarm = Cluster(10)
    swarm.join("a")
    with pytest.raises((BadPiece, BadRange)):
        swarm.swarm.holds(TASK, "a", [0, *runs], swarm.now)  # type: ignore[list-item]
    swarm.check()
    assert swarm.swarm.tasks[TASK].downloads["a"].got == 0


def test_what_is_not_known_is_refused() -> None:
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


def test_the_same_cid_again_replaces_nothing() -> None:
    swarm = Cluster(3)
    swarm.join("a", holds=[1])
    swarm.swarm.join(TASK, "a", Peer("elsewhere", 30000, "/x"), swarm.now)
    swarm.join("x")
    assert SUPERNODE_CID not in swarm.take("x").values()
    (piece,) = [piece for piece in swarm.swarm.tasks[TASK].downloads["x"].running.values() if piece.n == 1]
    assert piece.source is not None
    assert piece.source.source.ip == "host-a"


def test_only_who_has_the_piece_is_named_beside_the_supernode() -> None:
    swarm = Cluster(3, up=1)
    swarm.join("holder", holds=[0])
    swarm.join("idle", holds=[1])
    swarm.join("getting", port=0, holds=[1, 2])
    assert swarm.take("getting") == {0: "holder"}
    swarm.join("asker", port=0, holds=[1])
    # The holder of piece 0 was asked first, and has no slot; of piece 2 there is no holder.
    first, *_ = swarm.pull("asker").pieces
    assert (first.n, [source.cid for source in first.sources]) == (2, [None])


def test_pieces_whose_digests_are_known_come_from_those_who_have_them_without_a_copy() -> None:
    swarm = Cluster(5, 0)
    swarm.join("sharer", holds=[(0, 5)])
    swarm.join("a")
    assert not swarm.pull("a").pieces, "what has no digest is offered to nobody"
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
