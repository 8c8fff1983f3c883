"""A reader that applies changes to a snapshot has the state of the swarm."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from types import SimpleNamespace
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine.supernode.console import swarm_hosts
from dfengine.supernode.console.api_types import Swarm as Told
from dfengine.supernode.console.budget import Budget
from dfengine.supernode.console.swarm_watch import SwarmWatch
from dfengine.supernode.swarm.limits import Limits
from dfengine.supernode.swarm.swarm import Swarm
from dfengine.task import Peer

TASK = "7" * 64
PIECES = 200


def place(pieces: int = PIECES) -> Any:
    """A state with one task whose copy is complete."""
    swarm = Swarm(Limits(), seed=1)
    swarm.add_task(TASK, pieces, 0.0)
    for n in range(pieces):
        swarm.cached(TASK, n, 0.0)
    clock = SimpleNamespace(now=0.0)
    names = SimpleNamespace(find=str, public_cid=lambda task, cid: cid, text=str)
    return SimpleNamespace(swarm=swarm, members={}, fetch_pool=SimpleNamespace(fetches={}), names=names, now=lambda: clock.now, clock=clock)


def join(state: Any, cid: str) -> None:
    state.swarm.join(TASK, cid, Peer("10.0.0.1", 15001, f"/peer/file/{cid}"), state.now(), address="10.0.0.1")


def bits(have: str) -> set[int]:
    value = int.from_bytes(b64decode(have), "little")
    return {n for n in range(value.bit_length()) if value >> n & 1}


class Reader:
    """Applies changes as the console's page does."""

    def __init__(self, snapshot: Told) -> None:
        told = msgspec.json.decode(msgspec.json.encode(snapshot))
        self.tick, self.feeds, self.slowest, self.cached = told["tick"], told["feeds"], told["slowest"], bits(told["cached"])
        self.hosts = {host["n"]: host | {"have": bits(host["have"])} for host in told["hosts"]}

    def apply(self, change: Any) -> None:
        told = msgspec.json.decode(msgspec.json.encode(change))
        assert told["tick"] == self.tick + 1
        self.tick, self.feeds, self.slowest = told["tick"], told["feeds"], told["slowest"]
        self.cached = self.cached if told["cached"] is None else bits(told["cached"])
        for n in told["left"]:
            del self.hosts[n]
        for host in told["joined"]:
            self.hosts[host["n"]] = host | {"have": bits(host["have"])}
        for each in told["changed"]:
            host = self.hosts[each["n"]]
            have = bits(each["have"]) if each.get("have") is not None else host["have"] ^ set(each.get("toggled", []))
            host |= {name: each[name] for name in ("state", "slow", "got", "receiving", "sending", "piece_seconds")} | {"have": have}


def same(reader: Reader, snapshot: Told) -> None:
    other = Reader(snapshot)
    for host in (*reader.hosts.values(), *other.hosts.values()):
        host.pop("quiet_seconds", None)
    assert vars(reader) == vars(other)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, 5)), st.tuples(st.just("leave"), st.integers(0, 5)),
        st.tuples(st.just("pull"), st.integers(0, 5)), st.tuples(st.just("done"), st.integers(0, 5)),
        st.tuples(st.just("hold"), st.integers(0, 5)), st.tuples(st.just("look"), st.just(0)), st.tuples(st.just("late"), st.just(0)),
        st.tuples(st.just("uncached"), st.integers(0, PIECES - 1)),
    ), max_size=40,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_a_snapshot_with_changes_applied_equals_the_next_snapshot(events: list[tuple[str, int]]) -> None:
    asyncio.run(watched(events))


async def watched(events: list[tuple[str, int]]) -> None:
    state = place()
    watch = SwarmWatch(state, TASK, Budget())
    await watch.refresh()
    first = await watch.snapshot()
    assert first is not None
    reader = Reader(first)
    for kind, number in [*events, ("look", 0)]:
        swarm, cid = state.swarm, f"c{number}"
        known = cid in swarm.tasks[TASK].downloads
        if kind == "join" and not known:
            join(state, cid)
        elif kind == "leave":
            swarm.leave(TASK, cid, state.now())
        elif kind == "pull" and known:
            swarm.pull(TASK, cid, 4, state.now())
        elif kind == "hold" and known:
            swarm.holds(TASK, cid, [(0, 100)], state.now())
        elif kind == "done" and known:
            for n, lease in list(swarm.tasks[TASK].downloads[cid].running.items()):
                swarm.done(TASK, cid, n, lease.source.cid if lease.source else "cdn", state.now())
        elif kind == "late":
            state.clock.now += 21.0
        elif kind == "uncached":
            swarm.uncached(TASK, number, state.now())
        elif kind == "look":
            change = await watch.refresh()
            snapshot = await watch.snapshot()
            assert snapshot is not None
            if change is not None:
                reader.apply(change)
            same(reader, snapshot)
            assert await watch.refresh() is None


def test_a_task_that_is_dropped_and_added_again_needs_a_new_snapshot() -> None:
    async def scene() -> None:
        state = place()
        join(state, "a")
        watch = SwarmWatch(state, TASK, Budget())
        await watch.refresh()
        before = watch.tick
        state.swarm.drop_task(TASK)
        assert await watch.refresh() is None
        state.swarm.add_task(TASK, 3, 0.0)
        await watch.refresh()
        assert watch.tick == before + 2
        snapshot = await watch.snapshot()
        assert snapshot is not None
        assert (snapshot.pieces, snapshot.hosts, snapshot.cached) == (3, [], "")

    asyncio.run(scene())


def test_a_snapshot_with_very_many_pieces_shows_fewer_downloads(monkeypatch: Any) -> None:
    async def scene() -> None:
        state = place()
        for n in range(5):
            join(state, f"c{n}")
        monkeypatch.setattr("dfengine.supernode.console.swarm_watch.MAX_BYTES", 3 * PIECES // 8)
        watch = SwarmWatch(state, TASK, Budget())
        await watch.refresh()
        snapshot = await watch.snapshot()
        assert snapshot is not None
        assert (len(snapshot.hosts), snapshot.total) == (3, 5)

    asyncio.run(scene())


def test_few_changed_pieces_are_listed_and_many_are_sent_as_a_bitset(monkeypatch: Any) -> None:
    assert swarm_hosts._toggled(b"\x05", b"\x84\x01") == [0, 7, 8]
    assert swarm_hosts._toggled(b"", b"\xff" * 9) is None
