"""Leave to go to the origin: never more at once than the limit, and nobody is forgotten."""

from __future__ import annotations

import random

from dfengine.supernode.origin_leases import MOST_ORIGINS, OriginLeases


def test_a_limit_holds_for_each_origin_and_renewal_is_no_second_lease() -> None:
    leases = OriginLeases(2, term=10.0)
    assert [leases.ask("a", holder, 0.0) for holder in "xyxz"] == [True, True, True, False]
    assert leases.ask("b", "z", 0.0)
    assert leases.release("a", "x")
    assert not leases.release("a", "x")
    assert leases.ask("a", "z", 0.0)


def test_a_holder_that_says_nothing_loses_it() -> None:
    leases = OriginLeases(1, term=10.0)
    assert leases.ask("a", "x", 0.0)
    assert not leases.ask("a", "y", 9.9)
    assert leases.ask("a", "y", 10.0)
    leases.expire(19.9)
    assert len(leases) == 1
    leases.expire(25.0)
    assert len(leases) == 0


def test_origins_that_nobody_comes_back_from_do_not_shut_others_out() -> None:
    leases = OriginLeases(1, term=10.0)
    assert all(leases.ask(f"o{n}", "x", 0.0) for n in range(MOST_ORIGINS))
    assert not leases.ask("another", "y", 5.0)
    assert leases.ask("o0", "x", 5.0), "who has one renews it"
    leases.expire(10.0)
    assert leases.ask("another", "y", 10.0)
    assert len(leases) == 2


def test_a_thousand_that_lose_the_swarm_all_come_to_their_turn() -> None:
    leases, chance = OriginLeases(16, term=60.0), random.Random(1)
    waiting, there, done, now = list(range(1000)), set[int](), 0, 0.0
    while waiting or there:
        now += 1.0
        for holder in [holder for holder in there if chance.random() < 0.5]:
            there.discard(holder)
            done += 1
            if chance.random() < 0.9:  # the others die without a word
                leases.release("a", str(holder))
        for holder in list(waiting):
            if leases.ask("a", str(holder), now):
                waiting.remove(holder)
                there.add(holder)
        assert len(there) <= 16
        assert len(leases) <= 16
    assert done == 1000
