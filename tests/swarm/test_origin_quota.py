"""Leases for an origin, counted for a whole cluster: one supernode, and several on a virtual clock."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from dfengine.supernode.swarm import origin_leases
from dfengine.supernode.swarm.origin_leases import OriginLeases
from dfengine.supernode.swarm.origin_quota import OriginSeats


def shared(limit: int, share: int = 100) -> tuple[OriginLeases, OriginSeats]:
    leases = OriginLeases(limit, share, term=60.0)
    leases.seats = OriginSeats(limit)
    return leases, leases.seats


def test_a_lease_needs_a_seat_and_a_returned_seat_is_not_reused() -> None:
    leases, seats = shared(4)
    assert not leases.acquire("o", "10.0.0.1", "x", 0.0)
    seats.set_counts({"o": 2})
    assert [leases.acquire("o", "10.0.0.1", holder, 0.0) for holder in "xyxz"] == [True, True, True, False]
    leases.release("o", "10.0.0.1", "x")
    seats.return_unused("o", leases.held_at("o", 0.0))
    assert not leases.acquire("o", "10.0.0.1", "z", 0.0), "a download of another supernode may wait longer"
    assert seats.counted("o") == 1
    seats.set_counts({"o": 0})
    assert seats.counted("o") is None


@pytest.mark.parametrize(("members", "share"), [(0, 16), (1, 16), (3, 5), (16, 1), (40, 1)])
def test_without_redis_each_supernode_has_its_share_and_at_least_one(members: int, share: int) -> None:
    leases, seats = shared(16)
    seats.set_counts({"o": 3})
    seats.use_shares(members)
    assert [leases.acquire("o", "10.0.0.1", str(n), 0.0) for n in range(17)].count(True) == share
    seats.set_counts({"o": 3})
    assert seats.of("o") == 3
    assert leases.acquire("o", "10.0.0.1", "0", 30.0), "an existing lease is renewed beyond the share"


def test_existing_leases_are_renewed_when_the_share_shrinks() -> None:
    leases, seats = shared(8)
    seats.set_counts({"o": 8})
    assert all(leases.acquire("o", "10.0.0.1", str(n), 0.0) for n in range(8))
    seats.use_shares(4)
    assert all(leases.acquire("o", "10.0.0.1", str(n), 20.0) for n in range(8))
    assert not leases.acquire("o", "10.0.0.1", "9", 20.0)
    assert leases.held_at("o", 80.0) == 0, "none was renewed"


def test_a_client_is_limited_by_the_limit_and_without_redis_by_the_share() -> None:
    leases, seats = shared(16, 75)
    seats.set_counts({"o": 16})
    assert [leases.acquire("o", "10.0.0.1", str(n), 0.0) for n in range(16)].count(True) == 12
    assert leases.available("o", "10.0.0.1") == 0
    assert leases.available("o", "10.0.0.2") == 12
    leases, seats = shared(16, 75)
    seats.use_shares(4)
    assert [leases.acquire("o", "10.0.0.1", str(n), 0.0) for n in range(16)].count(True) == 3
    assert leases.acquire("o", "10.0.0.2", "x", 0.0)


def test_refused_requests_use_no_share_of_the_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin_leases, "MAX_ORIGINS", 4)
    leases, seats = shared(4, 50)
    assert not any(leases.acquire(f"made-up-{n}", "10.0.0.1", "x", 0.0) for n in range(10))
    assert not leases.held()
    seats.set_counts({f"o{n}": 2 for n in range(3)})
    assert [leases.acquire(f"o{n}", "10.0.0.1", "x", 0.0) for n in range(3)] == [True, True, False], "its share of the origins"
    assert leases.acquire("o0", "10.0.0.1", "y", 0.0)
    assert not leases.acquire("o0", "10.0.0.1", "z", 0.0)
    assert leases.held() == {"o0": 2, "o1": 1}, "a refused request at an origin with leases changes nothing"
    assert leases.expire(60.0) == ["o0", "o1"]
    assert leases.acquire("o2", "10.0.0.1", "x", 60.0)


@dataclass
class Count:
    """Model of the cluster's count; `tests/supernode/test_redis_scripts.py` compares the script with it."""

    limit: int
    rows: dict[str, tuple[int, int, float, float]] = field(default_factory=dict)

    def say(self, id: str, held: int, wanted: int, now: float, term: float = 60.0, hungry: float = 5.0) -> int:
        self.rows = {each: row for each, row in self.rows.items() if now - row[3] <= term}
        since = self.rows[id][2] if id in self.rows and self.rows[id][1] else now
        others = [row for each, row in self.rows.items() if each != id]
        ahead = sum(wants > 0 and now - said <= hungry and (has, first) < (held, since) for has, wants, first, said in others)
        more = max(0, min(wanted, self.limit - held - sum(row[0] for row in others) - ahead))
        self.rows[id] = held + more, wanted - more, now if more else since, now
        return held + more


def test_supernodes_together_keep_the_limit_and_all_get_leases_despite_deaths() -> None:
    """Downloads at five supernodes, two hundred of which wait at one and twenty at each other; clients and a supernode die unnoticed."""
    chance, limit, count = random.Random(7), 6, Count(6)
    nodes = {f"n{n}": shared(limit) for n in range(5)}
    waiting = {id: [f"{id}-{n}" for n in range(200 if id == "n0" else 20)] for id in nodes}
    there: dict[tuple[str, str], float] = {}
    first: dict[str, float] = {}
    now, left = 0.0, -1
    while any(waiting.values()) or there:
        now += 1.0
        assert now < 5000, waiting
        if now == 50.0:
            dead = "n4"
            del nodes[dead], waiting[dead]
        for id, holder in [key for key in there if chance.random() < 0.3]:
            there.pop((id, holder))
            if id in nodes and chance.random() < 0.9 and nodes[id][0].release("o", "10.0.0.1", holder):
                nodes[id][1].return_unused("o", nodes[id][0].held_at("o", now))
        for id, (leases, seats) in chance.sample(sorted(nodes.items()), len(nodes)):
            if chance.random() < 0.1:
                continue  # its message is late
            for key in there:
                if key[0] == id and now - there[key] > 20:
                    there[key] = now
                    assert leases.acquire("o", "10.0.0.1", key[1], now)
            before = leases.held_at("o", now)
            seats.set_counts({"o": count.say(id, before, len(waiting[id]), now)})
            for holder in list(waiting[id]):
                if leases.acquire("o", "10.0.0.1", holder, now):
                    waiting[id].remove(holder)
                    there[id, holder] = now
                    first.setdefault(id, now)
        assert sum(leases.held_at("o", now) for leases, _ in nodes.values()) <= limit
        if left < 0 and not any(waiting[id] for id in ("n1", "n2", "n3")):
            left = len(waiting["n0"])
    assert set(first) == {"n0", "n1", "n2", "n3", "n4"}
    assert left > 140, "supernodes with few downloads are served beside the one with many"
