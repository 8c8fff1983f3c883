"""Names that stand for several supernodes: caching, refresh and limits, with a resolver of this test."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dfengine.errors import SupernodeError, TimedOut
from dfengine.net import node_names
from dfengine.settings import SupernodeAddress

NAME = SupernodeAddress.parse("dns://sn.test:9001=3")


class Resolver:
    """Replaces getaddrinfo. Answers at once, or when `go` is set."""

    def __init__(self) -> None:
        self.addresses: list[str] = ["10.0.0.2", "10.0.0.1", "fd00::1"]
        self.error: Exception | None = None
        self.asked = 0
        self.go = threading.Event()
        self.go.set()

    def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        self.go.wait(60)
        if self.error is not None:
            raise self.error
        return [(0, 0, 0, "", (address, port)) for address in self.addresses]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    made = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    monkeypatch.setattr(node_names, "_names", {})
    yield made
    made.go.set()
    for name in node_names._names.values():
        assert name.ended.wait(60)


def texts(nodes: list[SupernodeAddress]) -> list[str]:
    return [f"{node}={node.weight}" for node in nodes]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_each_address_becomes_a_node_certified_by_its_name(resolver: Resolver) -> None:
    plain = SupernodeAddress("b", 7)
    found = node_names.resolved([plain, NAME])
    assert texts(found) == ["b:7=1", "10.0.0.1:9001=3", "10.0.0.2:9001=3", "[fd00::1]:9001=3"]
    assert [node.certified for node in found] == ["b", "sn.test", "sn.test", "sn.test"]
    assert not any(node.lookup for node in found)
    assert node_names.cached([NAME]) == found[1:]
    assert resolver.asked == 1


def test_unusable_addresses_are_dropped(resolver: Resolver) -> None:
    resolver.addresses = ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "fe80::1%eth0", "10.0.0.1", "10.0.0.1"]
    assert texts(node_names.resolved([NAME])) == ["10.0.0.1:9001=3"]


def test_all_hosts_select_the_same_of_many_addresses_and_try_few(resolver: Resolver) -> None:
    resolver.addresses = [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(500)]
    found = node_names.resolved([NAME])
    assert len(found) == node_names.MAX_NODES
    resolver.addresses.reverse()
    node_names._names.clear()
    assert node_names.resolved([NAME]) == found
    tried = node_names.ordered([NAME], "a task")
    assert len(tried) == node_names.TRIED
    assert tried == node_names.ordered_cached([NAME], "a task")


@pytest.mark.parametrize(
    ("error", "addresses", "said"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), [], "Name or service not known"),
        (None, [], "it has no address"),
        (None, ["224.0.0.1"], "it has no address"),
        (UnicodeError("label too long"), [], "label too long"),
        (ValueError("odd"), [], "ValueError: odd"),
    ],
)
def test_a_failed_lookup_states_its_reason(resolver: Resolver, error: Exception | None, addresses: list[str], said: str) -> None:
    resolver.error, resolver.addresses = error, addresses
    with pytest.raises(SupernodeError, match=f"dns://sn.test:9001: {said}"):
        node_names.resolved([NAME])
    assert node_names.cached([NAME]) == []
    assert node_names.resolved([NAME, SupernodeAddress("b")]) == [SupernodeAddress("b")]


def test_a_silent_resolver_is_waited_for_until_a_limit(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_names, "PATIENCE", 0.3)
    resolver.go.clear()
    with pytest.raises(SupernodeError, match=r"no answer within 0\.3 s"):
        node_names.resolved([NAME])
    assert node_names.cached([NAME]) == []
    assert resolver.asked == 1  # no further look-ups are queued
    resolver.go.set()
    until(lambda: len(node_names.cached([NAME])) == 3)
    assert resolver.asked == 1


def test_waiting_for_a_resolver_can_be_cancelled(resolver: Resolver) -> None:
    resolver.go.clear()

    def look() -> None:
        raise TimedOut("enough")

    with pytest.raises(TimedOut):
        node_names.resolved([NAME], look)


def test_changed_addresses_are_found_after_expiry_without_waiting(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_names, "ADDRESSES", 0.0)
    first = node_names.resolved([NAME])
    resolver.addresses = ["10.0.0.9"]
    until(lambda: texts(node_names.cached([NAME])) == ["10.0.0.9:9001=3"])
    assert len(first) == 3
    resolver.go.clear()  # the resolver is silent from here on: the last result remains in use
    asked = resolver.asked
    for _ in range(20):
        assert texts(node_names.resolved([NAME])) == ["10.0.0.9:9001=3"]
    assert resolver.asked <= asked + 1
    resolver.error = socket.gaierror(socket.EAI_AGAIN, "try later")
    resolver.go.set()
    until(lambda: node_names._name(NAME).error == "try later")
    assert texts(node_names.resolved([NAME])) == ["10.0.0.9:9001=3"]


def test_without_names_no_lookup_is_made(resolver: Resolver) -> None:
    nodes = [SupernodeAddress("a"), SupernodeAddress("b")]
    assert node_names.resolved(nodes) == node_names.cached(nodes) == nodes
    assert sorted(map(str, node_names.ordered(nodes, "t"))) == ["a:8002", "b:8002"]
    assert resolver.asked == 0
    assert not node_names._names
