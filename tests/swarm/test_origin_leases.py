"""Leave to go to the origin: never more at once than the limit, and nobody is forgotten."""

from __future__ import annotations

import random

import pytest

from dfengine.supernode.swarm import origin_leases
from dfengine.supernode.swarm.origin_leases import OriginLeases


def test_a_limit_holds_for_each_origin_and_renewal_is_no_second_lease() -> None:
    leases = OriginLeases(2, 100, term=10.0)
    assert [leases.acquire("a", "10.0.0.1", holder, 0.0) for holder in "xyxz"] == [True, True, True, False]
    assert leases.acquire("b", "10.0.0.1", "z", 0.0)
    assert leases.release("a", "10.0.0.1", "x")
    assert not leases.release("a", "10.0.0.1", "x")
    assert leases.acquire("a", "10.0.0.1", "z", 0.0)


def test_a_holder_that_says_nothing_loses_it() -> None:
    leases = OriginLeases(1, term=10.0)
    assert leases.acquire("a", "10.0.0.1", "x", 0.0)
    assert not leases.acquire("a", "10.0.0.1", "y", 9.9)
    assert leases.acquire("a", "10.0.0.1", "y", 10.0)
    assert leases.expire(25.0) == ["a"]
    assert len(leases) == 0


def test_a_thousand_that_lose_the_swarm_all_come_to_their_turn() -> None:
    leases, chance = OriginLeases(16, 100, term=60.0), random.Random(1)
    waiting, there, done, now = list(range(1000)), set[int](), 0, 0.0
    while waiting or there:
        now += 1.0
        for holder in [holder for holder in there if chance.random() < 0.5]:
            there.discard(holder)
            done += 1
            if chance.random() < 0.9:  # the others die without a word
                leases.release("a", "10.0.0.1", str(holder))
        for holder in list(waiting):
            if leases.acquire("a", "10.0.0.1", str(holder), now):
                waiting.remove(holder)
                there.add(holder)
        assert len(there) <= 16
        assert len(leases) <= 16
    assert done == 1000


def test_one_client_has_its_share_of_an_origin_in_however_many_names() -> None:
    leases = OriginLeases(8, 75)
    assert [leases.acquire("a", "::1", str(n), 0.0) for n in range(8)] == [True] * 6 + [False] * 2
    assert [leases.acquire("a", "10.0.0.2", str(n), 0.0) for n in range(3)] == [True, True, False]
    assert not leases.release("a", "10.0.0.2", "5"), "it is another client's"
    assert leases.release("a", "::1", "5")
    assert leases.acquire("a", "::1", "6", 0.0)


def test_one_client_has_its_share_of_all_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin_leases, "MOST_ORIGINS", 4)
    leases = OriginLeases(2, 50)
    assert [leases.acquire(name, "10.0.0.1", "x", 0.0) for name in "abc"] == [True, True, False]
    assert [leases.acquire(name, "10.0.0.2", "x", 1.0) for name in "cde"] == [True, True, False]
    assert not leases.acquire("e", "10.0.0.3", "x", 59.0)
    assert leases.acquire("e", "10.0.0.3", "x", 60.0), "those of the first have run out"
    assert len(leases) == 3
