"""Probes of peer servers: targets, times and concurrency. No sockets: the test sets the clock and the results."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.net.dialer import Dialer
from dfengine.net.origin_access import OriginAccess
from dfengine.supernode import reachability
from dfengine.supernode.reachability import AT_ONCE, EACH, KEEP, MAX_ADDRESSES, MAX_PAUSE, Reachability, may_be_probed, same_host
from dfengine.supernode.swarm.peers import Key


class World:
    """The loop and thread pool of a Reachability. asked: probes without a result yet."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = 100.0
        self.count = itertools.count()
        self.timers: list[tuple[float, int, Callable[[], object]]] = []
        self.unproved: set[Key] = set()
        self.asked: list[Key] = []
        self.log: list[Key] = []
        swarm: Any = SimpleNamespace(unproved=self.unproved.__contains__, prove=self.unproved.discard)
        monkeypatch.setattr(reachability, "ThreadPool", lambda *_: self)
        loop: Any = self
        self.tested = Reachability(loop, swarm, lambda: None, OriginAccess((), ()), 75, Dialer)

    def time(self) -> float:
        return self.at

    def call_later(self, seconds: float, call: Callable[..., object], *given: Any) -> None:
        heapq.heappush(self.timers, (self.at + seconds, next(self.count), lambda: call(*given)))

    def submit(self, _: Any, key: Key, dialer: Dialer) -> None:
        self.asked.append(key)
        self.log.append(key)

    def shutdown(self, **_: Any) -> None:
        pass

    def register(self, *keys: Key) -> None:
        for key in keys:
            self.unproved.add(key)
            self.tested.check(key)

    def answer(self, key: Key, found: bool) -> None:
        self.asked.remove(key)
        self.tested._record(key, found)

    def silence(self, until: float) -> None:
        """Let time pass while all probes fail."""
        while True:
            for key in list(self.asked):
                self.answer(key, False)
            if not self.timers or self.timers[0][0] > until:
                self.at = until
                return
            self.at, _, call = heapq.heappop(self.timers)
            call()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(monkeypatch)
    yield made
    made.tested.close()


def place(n: int, client: str = "10.0.0.1") -> Key:
    return f"10.1.{n >> 8}.{n & 255}", 15000, client


def test_one_client_cannot_use_all_probes(world: World) -> None:
    world.register(*(place(n) for n in range(500)))
    assert len(world.asked) == EACH
    world.register(place(1000, "10.0.0.2"))
    assert place(1000, "10.0.0.2") in world.asked, "not queued behind another client's"
    for n in range(20):
        world.register(place(2000 + n, f"10.0.1.{n}"))
        assert len(world.asked) <= AT_ONCE
    assert len(world.asked) == AT_ONCE


def test_failing_probes_of_one_client_are_rate_limited(world: World) -> None:
    world.register(*(place(n) for n in range(500)))
    world.silence(world.at + 20)
    assert len(world.log) <= EACH * (1 + 20 / reachability.REST)


def test_probes_of_an_unreachable_peer_back_off(world: World) -> None:
    world.register(place(1))
    world.silence(world.at + 600)
    assert 6 <= len(world.log) <= 8 + 600 / MAX_PAUSE


def test_a_reachable_peer_is_proved_and_remembered_for_a_while(world: World) -> None:
    world.register(place(1))
    assert not world.tested.is_proved(*place(1))
    world.answer(place(1), True)
    assert not world.unproved
    assert len(world.tested) == 0
    assert world.tested.is_proved(*place(1)[:2], "10.0.0.99")
    assert not world.tested.is_proved(place(1)[0], 15001, "10.0.0.1"), "another port"
    world.at += KEEP + 1
    assert not world.tested.is_proved(*place(1))


def test_a_peer_that_left_is_not_probed_again(world: World) -> None:
    world.register(place(1))
    world.unproved.clear()
    world.silence(world.at + 600)
    assert len(world.log) == 1
    assert len(world.tested) == 0


def test_a_peer_has_at_most_one_running_probe(world: World) -> None:
    world.register(*[place(1)] * 50)
    assert world.log == [place(1)]


def test_waiting_probes_are_bounded_in_total_and_per_client(world: World) -> None:
    world.register(*(place(n) for n in range(MAX_ADDRESSES)))
    assert len(world.tested) == MAX_ADDRESSES * 75 // 100
    world.register(*(place(n, f"10.9.{n >> 8}.{n & 255}") for n in range(MAX_ADDRESSES)))
    assert len(world.tested) == MAX_ADDRESSES
    world.unproved.clear()
    world.silence(world.at + 3600)
    assert len(world.tested) == 0
    assert len(world.tested._shares) == 0
    assert not world.tested._queues
    assert not world.tested._busy


@pytest.mark.parametrize(
    ("ip", "address", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("2001:db8::1", "2001:0db8:0::1", True),
        ("2001:db8::1", "2001:db8::2", False),
        ("10.0.0.1", "10.0.0.2", False),
        ("host", "10.0.0.1", False),
    ],
)
def test_addresses_are_compared_in_all_their_forms(ip: str, address: str, same: bool) -> None:
    assert same_host(ip, address) is same


@pytest.mark.parametrize(
    "ip",
    ["host", "", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1", "127.0.0.1", "::1", "::ffff:127.0.0.1",
     "64:ff9b::7f00:1", "169.254.169.254", "fe80::1", "fd00:ec2::254", "10.9.0.1", "::ffff:10.9.0.1", "10.0.0.1:80",
     "010.0.0.1", "2130706433"],
)  # fmt: skip
def test_special_denied_and_malformed_addresses_are_not_probed(ip: str) -> None:
    assert not may_be_probed(ip, "10.0.0.1", OriginAccess((), ["10.9.0.0/16"]))


@pytest.mark.parametrize(("ip", "address"), [("10.0.0.2", "10.0.0.1"), ("2001:db8::1", "10.0.0.1"), ("127.0.0.2", "127.0.0.1")])
def test_addresses_of_other_hosts_are_probed(ip: str, address: str) -> None:
    assert may_be_probed(ip, address, OriginAccess())
