"""Endpoints for peers: a peer is found by its id, whatever the number of registered downloads."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.net.http import Request, Response
from dfengine.supernode import api_peers
from dfengine.supernode.posted_peers import PostedPeers
from dfengine.supernode.registered_downloads import Key, RegisteredDownload, RegisteredDownloads
from dfengine.task import Peer

TASK = "7" * 64


class Unwalked(RegisteredDownloads):
    """Registered downloads of which a request may walk none."""

    def _walk(self) -> Any:
        raise AssertionError("a request walks all registered downloads")

    items = values = keys = __iter__ = _walk


class Place:
    """A supernode's downloads and peers. woken: times that the parked pulls were tried."""

    def __init__(self, members: RegisteredDownloads) -> None:
        self.members, self.posted_peers, self.woken = members, PostedPeers(), 0
        self.registry = SimpleNamespace(leave=members.remove)
        self.events = SimpleNamespace(info=lambda event, **fields: None)

    def wake(self) -> None:
        self.woken += 1

    def join(self, cid: str, name: str) -> None:
        self.members.add((TASK, cid), RegisteredDownload("", "", 1, Peer("10.0.0.1", 15001, "/f", "h", name), "10.0.0.1"))

    def ask(self, method: str, path: str) -> tuple[int, Any]:
        request = Request(method, path.encode(), {}, b"", "10.0.0.9")
        routes: dict[str, Any] = {"GET": api_peers.peer, "DELETE": api_peers.drop_peer}
        answer = routes[method](self, request)
        assert isinstance(answer, Response), "the request does no work later"
        return answer.status, json.loads(answer.body)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_request_for_one_peer_walks_no_downloads(method: str) -> None:
    place = Place(Unwalked())
    for number in range(20):
        place.join(f"c{number}", f"h-{number // 2}")
    assert place.ask(method, "/api/v1/peers/h-none")[0] == 404
    status, found = place.ask(method, "/api/v1/peers/h-3")
    assert status == 200
    if method == "GET":
        assert found["ID"] == "h-3"
    else:
        assert place.woken == 1
        assert place.ask("GET", "/api/v1/peers/h-3")[0] == 404
        assert len(place.members) == 18
        assert place.ask("GET", "/api/v1/peers/h-4")[0] == 200


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 2)), max_size=80))
def test_downloads_are_found_by_the_ids_of_their_peers(events: list[tuple[bool, int, int]]) -> None:
    """A download that registers again keeps its peer."""
    members, expected = RegisteredDownloads(), dict[Key, str]()
    for joins, cid, host in events:
        key, name = (TASK, f"c{cid}"), f"h-{host}"
        if joins:
            members.add(key, RegisteredDownload("", "", 1, Peer("10.0.0.1", 15001, "/f", "h", name), "10.0.0.1"))
            expected.setdefault(key, name)
        else:
            assert (members.remove(key) is None) == (expected.pop(key, None) is None)
        for each in range(3):
            found = list(members.of_peer(f"h-{each}"))
            assert len(found) == len(set(found))
            assert set(found) == {key for key, name in expected.items() if name == f"h-{each}"}
    for key in list(members):
        members.remove(key)
    assert not members._keys


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_pages_of_peers_hold_each_registered_and_posted_peer_once(direction: str) -> None:
    place: Any = Place(RegisteredDownloads())
    for number in range(7):
        place.join(f"c{number}", f"h-{number}")
    for number in range(7, 10):
        place.posted_peers.add(Peer("10.0.0.2", 0, "", "h", f"h-{number}"), "10.0.0.2", 0.0)
    found: list[str] = []
    for number in range(5):
        target = f"/api/v1/peers?pageSize=3&pageNum={number}&sortDirect={direction}"
        answer = api_peers.peers(place, Request("GET", target.encode(), {}, b"", "10.0.0.9"))
        found += [each["ID"] for each in json.loads(answer.body)]
    names = [f"h-{number}" for number in range(10)]
    assert found == (names if direction == "ASC" else names[::-1])
