"""Leave to go to the origin: never more at once than the limit, and nobody is forgotten."""

from __future__ import annotations

import random

from dfengine.supernode.origin_leases import OriginLeases


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
    assert leases.expire(25.0) == ["a"]
    assert len(leases) == 0


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
