"""Stragglers and silent hosts do not delay others. Clock and links are virtual; figures are multiples of each host's own bound."""

from __future__ import annotations

from random import Random

import pytest

from dfengine.supernode.swarm.stragglers import retune
from dfengine.supernode.swarm.swarm import Limits
from tests.swarm.cluster import TASK, Cluster
from tests.swarm.fair import FairSimulation
from tests.swarm.invariant import check
from tests.swarm.stats import TaskStats
from tests.swarm.virtual import SUPERNODE, Delays

SLOW_LINKS = Delays(0.5, 0.35, 0.9, 0.375)
"""Delays of links of 200 Mbit/s with queues of 30 ms, see docs/scale.md."""


def with_straggler() -> Cluster:
    """Three fast hosts and a straggler. Each has received a piece; none is in flight."""
    swarm = Cluster(40, seed=2, slow_slots=2, slow=0.1, supernode=4)
    swarm.join("a", "b", "c", "lame")
    for seconds, cids in ((0.4, "abc"), (1.6, ["lame"])):
        taken = {cid: swarm.take(cid, 1) for cid in cids if cid != "c"}
        swarm.now += seconds
        for cid, pieces in taken.items():
            for n, source in pieces.items():
                swarm.done(cid, n, source)
    for _ in range(4):
        quick(swarm, "c")
    return swarm


def quick(swarm: Cluster, cid: str, seconds: float = 0.4) -> None:
    taken = swarm.take(cid, 1)
    swarm.now += seconds
    for n, source in taken.items():
        swarm.done(cid, n, source)


def stragglers(swarm: Cluster) -> list[str]:
    return [cid for cid, download in swarm.swarm.tasks[TASK].downloads.items() if download.is_straggler]


def test_a_host_that_takes_twice_as_long_is_a_straggler_until_a_fast_piece() -> None:
    swarm = with_straggler()
    assert stragglers(swarm) == ["lame"]
    quick(swarm, "lame")
    for _ in range(4):
        quick(swarm, "a")
    assert stragglers(swarm) == []


def test_reported_pace_marks_stragglers_until_a_piece_is_measured() -> None:
    swarm = Cluster(40, slow_slots=2, slow=0.1)
    swarm.join("a", "b", "c", "lame")
    n, source = swarm.take("lame", 1).popitem()
    for cid, seconds in (("lame", 2.8), ("a", 1.15), ("b", 2.7)):
        swarm.swarm.paced(TASK, cid, seconds, swarm.now)
        assert stragglers(swarm) == []
    swarm.swarm.paced(TASK, "c", 1.0, swarm.now)
    assert stragglers(swarm) == ["b", "lame"]
    for _ in range(3):
        for cid in "abc":
            quick(swarm, cid)
    swarm.done("lame", n, source)
    assert stragglers(swarm) == ["lame"], "b's pieces were as fast as others'"


def test_in_a_crowd_several_reports_are_needed_before_stragglers_are_marked() -> None:
    swarm = Cluster(40, slow_slots=2, slow=0.1)
    hosts = [f"h{i}" for i in range(30)]
    swarm.join(*hosts, "lame", "lamer")
    swarm.take("lame", 1)
    for cid in ("lame", *hosts[:2]):
        swarm.swarm.paced(TASK, cid, 9.0 if cid == "lame" else 1.0, swarm.now)
        assert stragglers(swarm) == []
    swarm.swarm.paced(TASK, hosts[2], 1.0, swarm.now)
    assert stragglers(swarm) == ["lame"]
    for _ in range(3):
        swarm.swarm.paced(TASK, "lamer", 9.0, swarm.now)
        assert stragglers(swarm) == ["lame"], "repeated reports of one host trigger no new check"
    swarm.swarm.paced(TASK, hosts[3], 1.0, swarm.now)
    assert stragglers(swarm) == ["lame", "lamer"]


def test_reported_pace_marks_no_stragglers_while_pieces_are_fast() -> None:
    swarm = Cluster(40, slow_slots=2, slow=0.3)
    swarm.join("a", "b")
    for _ in range(4):
        quick(swarm, "a", 0.01)
    swarm.swarm.paced(TASK, "a", 0.01, swarm.now)
    swarm.swarm.paced(TASK, "b", 9.0, swarm.now)
    assert stragglers(swarm) == []


def test_hosts_that_differ_less_are_no_stragglers() -> None:
    swarm = Cluster(40, slow_slots=2, slow=0.1)
    swarm.join("a", "b", "c")
    for _ in range(8):
        quick(swarm, "a", 0.4)
        quick(swarm, "b", 0.5)
        quick(swarm, "c", 0.7)
    assert stragglers(swarm) == []


def test_no_host_is_a_straggler_while_pieces_are_fast() -> None:
    swarm = Cluster(200, slow_slots=2, slow=0.3)
    swarm.join("a", "b", "c", "lame")
    quick(swarm, "lame", 0.09)
    for cid in "abc" * 16:
        quick(swarm, cid, 0.01)
    assert stragglers(swarm) == []


def test_a_short_last_piece_and_finished_downloads_do_not_count_as_reference() -> None:
    swarm = Cluster(8, slow_slots=2, slow=0.1)
    swarm.join("first")
    while swarm.pull("first", 0).kind != "finished":
        quick(swarm, "first", 0.11)
    swarm.join("a", "b", "c")
    for cid in "abc":
        swarm.swarm.holds(TASK, cid, [(0, 3)], swarm.now)
    for cid in "abc" * 5:
        n, source = swarm.take(cid, 1).popitem()
        swarm.now += 0.01 if n == 7 else 0.4
        swarm.done(cid, n, source)
        assert stragglers(swarm) == []


def test_the_supernode_sends_to_a_straggler_only_when_it_is_idle() -> None:
    swarm = with_straggler()
    for n in range(40):
        for cid in "abc":
            swarm.swarm.evicted(TASK, cid, n, swarm.now)
    assert list(swarm.take("lame", 1).values()) == [None]
    assert swarm.take("lame", 1) == {}, "it is no longer idle"
    assert list(swarm.take("a", 1).values()) == [None]


def test_a_straggler_uses_no_slot_of_a_fast_source() -> None:
    swarm = with_straggler()
    swarm.take("a", 1)
    before = {cid: swarm.used(cid) for cid in "abc"}
    (source,) = swarm.take("lame", 1).values()
    assert source in ("a", "b", "c")
    assert {cid: swarm.used(cid) for cid in "abc"} == before


def test_one_piece_from_a_straggler_uses_no_room() -> None:
    swarm = with_straggler()
    swarm.join("d", "e")
    for n in range(20, 24):
        swarm.swarm.uncached(TASK, n, swarm.now)
    swarm.swarm.holds(TASK, "lame", [(20, 24)], swarm.now)
    for n in [n for n in range(40) if n not in range(20, 24)]:
        swarm.swarm.holds(TASK, "d", [n], swarm.now)
    assert list(swarm.take("d").values()) == ["lame", "lame"], "two pieces, of which only one counts"
    assert swarm.swarm.tasks[TASK].downloads["d"].room() > 0


def test_stragglers_send_one_piece_beside_other_sources_and_four_without() -> None:
    swarm = with_straggler()
    retune(swarm.swarm.tasks[TASK], False)  # room for eight, five slots each
    swarm.join("d")
    for n in range(40):
        swarm.swarm.uncached(TASK, n, swarm.now)
    swarm.swarm.holds(TASK, "lame", [(0, 40)], swarm.now)
    for cid in "abc":
        for n in range(40):
            swarm.swarm.evicted(TASK, cid, n, swarm.now)
    assert list(swarm.take("d").values()) == ["lame"] * 4
    assert swarm.take("d") == {}
    swarm.swarm.holds(TASK, "a", [(0, 6)], swarm.now)
    swarm.join("e")
    assert sorted(map(str, swarm.take("e").values())) in (["a"] * 5 + ["lame"], ["a"] * 4 + ["lame"])
    assert swarm.take("e") == {}


def test_a_fast_host_uses_an_idle_supernode_before_stragglers() -> None:
    swarm = with_straggler()
    swarm.join("d")
    for cid in "abc":
        for n in range(40):
            swarm.swarm.evicted(TASK, cid, n, swarm.now)
    swarm.swarm.holds(TASK, "lame", [(0, 40)], swarm.now)
    assert list(swarm.take("d").values()) == [None, "lame"], "its share of the supernode's slots is one"


def test_pulls_without_a_slot_also_use_the_least_loaded_source() -> None:
    swarm = with_straggler()
    for n in range(40):
        swarm.swarm.uncached(TASK, n, swarm.now)
    for cid in "abc":
        swarm.swarm.holds(TASK, cid, [(0, 40)], swarm.now)
    swarm.join("slow", "slower")
    state = swarm.swarm.tasks[TASK]
    for cid in ("slow", "slower"):
        state.downloads[cid].is_straggler = True
        state.straggler_count += 1
    sources = [source for cid in ("lame", "slow", "slower") for source in swarm.take(cid, 1).values()]
    assert sorted(map(str, sources)) == ["a", "b", "c"]


def test_a_host_silent_at_the_end_of_its_claim_frees_its_slots() -> None:
    swarm = Cluster(40, slow_slots=2, slow=0.1, supernode=2, reseed_delay=2.0)
    swarm.join("a", "b", "dead")
    quick(swarm, "a")
    for cid in ("a", "b"):
        swarm.swarm.done(TASK, cid, 0, "", swarm.now)
    taken = swarm.take("dead")
    assert list(taken.values()).count(None) >= 1
    before = TaskStats.of(swarm.swarm, TASK).supernode_used
    swarm.wait(1.0)
    assert TaskStats.of(swarm.swarm, TASK).supernode_used == before
    swarm.wait(1.1)
    assert stragglers(swarm) == ["dead"]
    assert TaskStats.of(swarm.swarm, TASK).supernode_used == 0
    for n, source in taken.items():
        swarm.done("dead", n, source)
    assert TaskStats.of(swarm.swarm, TASK).supernode_used == 0


def test_a_host_that_sent_a_pull_meanwhile_is_no_straggler() -> None:
    swarm = Cluster(40, slow_slots=2, slow=0.1, supernode=2, reseed_delay=2.0)
    swarm.join("a", "b")
    swarm.take("b")
    swarm.wait(1.5)
    swarm.swarm.touch("b", swarm.now)
    swarm.pull("b", 0)
    swarm.wait(0.6)
    assert stragglers(swarm) == []


def test_a_silent_host_releases_its_slots() -> None:
    swarm = with_straggler()
    taken = swarm.take("b", 2)
    assert None in taken.values()
    used = TaskStats.of(swarm.swarm, TASK).supernode_used
    for _ in range(8):
        quick(swarm, "a")
    assert "b" in stragglers(swarm)
    assert TaskStats.of(swarm.swarm, TASK).supernode_used == used - list(taken.values()).count(None)
    for n, source in taken.items():
        swarm.done("b", n, source)
    assert TaskStats.of(swarm.swarm, TASK).supernode_used == 0


def test_a_piece_in_flight_to_a_straggler_may_be_sent_again() -> None:
    swarm = with_straggler()
    n, _ = swarm.take("lame", 1).popitem()
    assert n in swarm.swarm.tasks[TASK].seedable
    n, _ = swarm.take("a", 1).popitem()
    assert n not in swarm.swarm.tasks[TASK].seedable


def shaped(scene: str, hosts: int, pieces: int, seed: int) -> FairSimulation:
    """Simulate hosts on slow links of one rate; mixed: every second host has a quarter of it; killed: a quarter of the hosts vanish."""
    # The unit of time is a piece, 0.18 s on such a link: the reseed delay of 2 s is 11 units.
    swarm = FairSimulation(pieces, seed=seed, limits=Limits(slow=1.5, reseed_delay=11.0), delays=SLOW_LINKS)
    for i in range(hosts):
        if scene == "mixed" and i % 2:
            swarm.up[f"c{i}"] = swarm.down[f"c{i}"] = 0.25
        swarm.join(f"c{i}", room=5)
    if scene == "killed":
        random = Random(seed)
        for i in random.sample(range(hosts), hosts // 4):
            swarm.at(random.uniform(0.1, 0.9) * pieces, swarm.die, f"c{i}")
    swarm.run(until=20 * pieces)
    check(swarm.swarm)
    return swarm


def worst(swarm: FairSimulation, hosts: int) -> float:
    bound = swarm.pieces + hosts.bit_length() - 1
    ended = [(client.finished, swarm.down.get(client.cid, 1.0)) for client in swarm.clients.values() if not client.dead]
    return max(when * rate / bound for when, rate in ended if when is not None)


@pytest.mark.parametrize("seed", range(3))
def test_hosts_with_a_quarter_of_the_rate_do_not_delay_others(seed: int) -> None:
    swarm = shaped("mixed", 8, 64, seed)
    assert len(swarm.times) == 8
    assert worst(swarm, 8) <= 1.18
    assert swarm.sent[SUPERNODE] <= 1.1 * 64


@pytest.mark.parametrize("seed", range(3))
def test_equal_hosts_on_slow_links_are_near_the_bound(seed: int) -> None:
    swarm = shaped("equal", 8, 64, seed)
    assert worst(swarm, 8) <= 1.11
    assert not any(download.is_straggler for download in swarm.swarm.tasks[TASK].downloads.values())


@pytest.mark.parametrize("seed", range(3))
def test_hosts_that_vanish_cost_the_others_little(seed: int) -> None:
    swarm = shaped("killed", 8, 64, seed)
    assert len(swarm.times) == 6
    assert worst(swarm, 8) <= 1.25
