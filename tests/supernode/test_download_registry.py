"""Registered downloads end themselves, with their task or their connection; then their parked pulls are answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from dfengine import wire
from dfengine.histogram import Histogram
from dfengine.net.http import ConnectionState, Response
from dfengine.supernode.download_registry import DownloadRegistry
from dfengine.supernode.parked_pulls import ParkedPulls
from dfengine.supernode.registered_downloads import Key, RegisteredDownload
from dfengine.supernode.swarm.swarm import Swarm
from dfengine.supernode.time_slices import SLICE
from dfengine.supernode.timings import PULLS
from dfengine.task import Peer
from tests.swarm.invariant import check

TASK = "7" * 64
HERE = "10.0.0.1"


class Place:
    """A task of four pieces, none of which the supernode has."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.swarm = Swarm(seed=1)
        self.parked = ParkedPulls(loop, self.swarm, Histogram(PULLS))
        self.registry = DownloadRegistry(loop, self.swarm, self.parked, 100)
        self.swarm.add_task(TASK, 4, loop.time())

    def join(self, cid: str, expects: int = 0) -> tuple[Key, asyncio.Future[Response]]:
        """Register a native download and park its pull."""
        peer = Peer(HERE, 15001, f"/peer/file/{cid}")
        self.swarm.join(TASK, cid, peer, self.loop.time(), address=HERE)
        self.registry.members.add((TASK, cid), RegisteredDownload(HERE, "", wire.NATIVE, peer, HERE, expects))
        return (TASK, cid), self.parked.park((TASK, cid), 4, 60)


@pytest.fixture
def place() -> Iterator[Place]:
    loop = asyncio.new_event_loop()
    made = Place(loop)
    yield made
    for key in list(made.parked):
        made.parked.release(key)
    check(made.swarm)
    loop.close()


def code(pull: asyncio.Future[Response]) -> int:
    return int(json.loads(pull.result().body)["code"])


def test_a_download_that_leaves_is_removed_everywhere(place: Place) -> None:
    key, pull = place.join("a")
    place.registry.leave(key)
    assert code(pull) == wire.WAIT
    assert key not in place.registry.members
    assert not place.swarm.tasks[TASK].downloads
    place.registry.leave(key)  # a second time has no effect


def test_a_heartbeat_counts_for_the_downloads_of_its_client_alone(place: Place) -> None:
    """Another client may have registered another task by the same CID."""
    other, there = "8" * 64, "10.0.0.2"
    place.join("a")
    peer = Peer(there, 15001, "/peer/file/a")
    place.swarm.add_task(other, 4, place.loop.time())
    place.swarm.join(other, "a", peer, place.loop.time(), address=there)
    place.registry.members.add((other, "a"), RegisteredDownload(there, "", wire.NATIVE, peer, there))
    own, others = (place.swarm.tasks[task].downloads["a"] for task in (TASK, other))

    began = place.loop.time() + 60

    def seen(seconds: int, address: str) -> list[float]:
        place.registry._now = lambda: began + seconds
        place.registry.touch("a", address)
        return [each.peer.seen - began for each in (own, others)]

    assert seen(1, HERE)[0] == 1
    assert seen(2, there) == [1, 2]
    assert seen(3, "10.0.0.3") == [1, 2]
    place.registry.touch("unknown", HERE)


def test_a_lost_connection_ends_the_parked_pull_and_keeps_the_download(place: Place) -> None:
    key, pull = place.join("a")
    line, later = ConnectionState(), ConnectionState()
    member = place.registry.members[key]
    line.member = member
    member.connection = line
    place.registry.connection_lost(line)
    assert code(pull) == wire.WAIT
    assert place.registry.members[key].connection is None
    member.connection, line.member = later, member
    again = place.parked.park(key, 4, 60)
    place.registry.connection_lost(line)
    assert not again.done(), "it pulls on a newer connection"


def test_a_download_that_registers_again_keeps_its_connection(place: Place) -> None:
    key, _ = place.join("a")
    line, later = ConnectionState(), ConnectionState()
    member = place.registry.members[key]
    member.connection, line.member = line, member
    place.registry.members.add(key, RegisteredDownload(HERE, "", wire.NATIVE, member.peer, HERE))
    again = place.registry.members[key]
    assert again is not member
    assert again.connection is line, "no other client may take the name"
    again.connection, later.member = later, again
    pull = place.parked.park(key, 4, 60)
    place.registry.connection_lost(line)
    assert not pull.done(), "it pulls on a newer connection"
    place.registry.connection_lost(later)
    assert code(pull) == wire.WAIT
    assert again.connection is None


def test_the_end_of_a_task_ends_all_its_downloads(place: Place) -> None:
    joined = [place.join(cid) for cid in "ab"]
    assert place.registry.end_task(TASK, "gone")
    place.loop.run_until_complete(asyncio.sleep(0))
    assert [code(pull) for _, pull in joined] == [wire.CDN_FAILED] * 2
    assert not place.registry.members
    assert not place.registry.end_task(TASK, "gone")


def test_downloads_that_expect_another_length_end(place: Place) -> None:
    (right, waits), (wrong, ended), (silent, waits_too) = place.join("a", 40), place.join("b", 41), place.join("c")
    compared: list[bool] = []
    place.registry.end_length_mismatches(TASK, 40, lambda: compared.append(ended.done()))
    place.loop.run_until_complete(asyncio.sleep(0))
    assert compared == [True]
    assert code(ended) == wire.CDN_FAILED
    assert set(place.registry.members) == {right, silent}
    assert wrong[1] not in place.swarm.tasks[TASK].downloads
    assert not waits.done()
    assert not waits_too.done()


def test_a_cancelled_parked_pull_is_removed(place: Place) -> None:
    key, pull = place.join("a")
    pull.cancel()
    place.loop.run_until_complete(asyncio.sleep(0))
    assert key not in place.parked
    assert key in place.registry.members


def test_a_task_with_many_downloads_ends_in_slices_and_spares_new_registrations(place: Place) -> None:
    cids = [str(n) for n in range(3000)]
    pulls = [place.join(cid)[1] for cid in cids]
    ticks = iter(range(1 << 20))
    place.registry._work._loop = SimpleNamespace(time=lambda: next(ticks) * SLICE / 100, call_soon=place.loop.call_soon)  # type: ignore[assignment]
    looked: list[Key] = []
    get = place.parked.get
    place.parked.get = lambda key: looked.append(key) or get(key)  # type: ignore[assignment,method-assign,func-returns-value]
    assert place.registry.end_task(TASK, "gone")
    assert 0 < len(looked) <= 200, "the others are handled in later slices"
    place.swarm.add_task(TASK, 4, place.loop.time())
    place.parked.release((TASK, "2999"))
    _, again = place.join("2999")
    while place.registry._work._jobs:
        place.loop.run_until_complete(asyncio.sleep(0))
    assert [code(pull) for pull in pulls] == [wire.CDN_FAILED] * 2999 + [wire.WAIT]
    assert not again.done()
    assert list(place.registry.members) == [(TASK, "2999")]
