"""Leases for direct reads of an origin: never more than the limit, and every waiting holder gets one."""

from __future__ import annotations

import random

import pytest

from dfengine.supernode.swarm import origin_leases
from dfengine.supernode.swarm.origin_leases import OriginLeases


def test_the_limit_holds_per_origin_and_a_renewal_is_not_a_second_lease() -> None:
    leases = OriginLeases(2, 100, term=10.0)
    assert [leases.acquire("a", "10.0.0.1", holder, 0.0) for holder in "xyxz"] == [True, True, True, False]
    assert leases.acquire("b", "10.0.0.1", "z", 0.0)
    assert leases.release("a", "10.0.0.1", "x")
    assert not leases.release("a", "10.0.0.1", "x")
    assert leases.acquire("a", "10.0.0.1", "z", 0.0)


def test_a_lease_that_is_not_renewed_expires() -> None:
    leases = OriginLeases(1, term=10.0)
    assert leases.acquire("a", "10.0.0.1", "x", 0.0)
    assert not leases.acquire("a", "10.0.0.1", "y", 9.9)
    assert leases.acquire("a", "10.0.0.1", "y", 10.0)
    assert leases.expire(25.0) == ["a"]
    assert len(leases) == 0


def test_a_thousand_waiting_holders_all_get_a_lease() -> None:
    leases, chance = OriginLeases(16, 100, term=60.0), random.Random(1)
    waiting, there, done, now = list(range(1000)), set[int](), 0, 0.0
    while waiting or there:
        now += 1.0
        for holder in [holder for holder in there if chance.random() < 0.5]:
            there.discard(holder)
            done += 1
            if chance.random() < 0.9:  # the others die without releasing
                leases.release("a", "10.0.0.1", str(holder))
        for holder in list(waiting):
            if leases.acquire("a", "10.0.0.1", str(holder), now):
                waiting.remove(holder)
                there.add(holder)
        assert len(there) <= 16
        assert len(leases) <= 16
    assert done == 1000


def test_one_client_has_one_share_of_an_origin_under_any_number_of_names() -> None:
    leases = OriginLeases(8, 75)
    assert [leases.acquire("a", "::1", str(n), 0.0) for n in range(8)] == [True] * 6 + [False] * 2
    assert [leases.acquire("a", "10.0.0.2", str(n), 0.0) for n in range(3)] == [True, True, False]
    assert not leases.release("a", "10.0.0.2", "5"), "the lease belongs to another client"
    assert leases.release("a", "::1", "5")
    assert leases.acquire("a", "::1", "6", 0.0)


def test_the_number_of_origins_is_limited_per_client_and_in_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin_leases, "MAX_ORIGINS", 4)
    leases = OriginLeases(2, 50)
    assert [leases.acquire(name, "10.0.0.1", "x", 0.0) for name in "abc"] == [True, True, False]
    assert [leases.acquire(name, "10.0.0.2", "x", 1.0) for name in "cde"] == [True, True, False]
    assert not leases.acquire("e", "10.0.0.3", "x", 59.0)
    assert leases.acquire("e", "10.0.0.3", "x", 60.0), "the first client's leases have expired"
    assert len(leases) == 3
