"""Events that concern very many downloads are processed in batches, without losses."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import pytest

from dfengine.supernode.swarm import peers as swarm_peers
from dfengine.supernode.swarm.small_set import FEW, added, removed
from dfengine.supernode.swarm.swarm import BATCH, Limits, Swarm
from dfengine.supernode.swarm.trust import MAX_FAILED_SOURCES
from dfengine.supernode.time_slices import SLICE, SlicedWork, spread
from dfengine.task import Peer
from tests.swarm.cluster import TASK, Cluster
from tests.swarm.invariant import check
from tests.swarm.stats import TaskStats

MANY = 1000
HOST = "10.0.0.1"


def crowd(count: int, **limits: float) -> Swarm:
    """A swarm with one peer server that has a download of each of `count` tasks."""
    swarm = Swarm(Limits(**limits), 1)  # type: ignore[arg-type]
    for i in range(count):
        swarm.add_task(str(i), 3, 0.0)
        swarm.cached(str(i), 0, 0.0)
        swarm.join(str(i), f"c{i}", Peer(HOST, 20000, f"/peer/file/{i}"), 0.0)
        swarm.holds(str(i), f"c{i}", [0], 0.0)
    return swarm


def calls(swarm: Swarm, now: float, most: int = BATCH) -> int:
    """Number of calls of `tick` until no work is due."""
    count = 0
    while swarm.next_due() <= now:
        swarm.tick(now, most)
        check(swarm)
        count += 1
    check(swarm)
    return count


def test_the_downloads_of_an_expired_host_are_removed_in_batches() -> None:
    swarm = crowd(MANY, peer_gc=10.0)
    left = [MANY]
    while swarm.next_due() <= 11.0:
        swarm.tick(11.0)
        left.append(sum(len(task.downloads) for task in swarm.tasks.values()))
    assert max(before - after for before, after in itertools.pairwise(left)) <= BATCH
    assert len(swarm.departed) == MANY
    assert not swarm.peers.states
    assert not swarm.peers.cids
    check(swarm)


def test_a_host_that_sends_a_pull_while_it_is_removed_stays() -> None:
    swarm = crowd(MANY, peer_gc=10.0)
    swarm.tick(11.0)
    there = [task for task in swarm.tasks.values() if task.downloads]
    assert 0 < len(there) < MANY
    assert swarm.touch(next(iter(there[0].downloads)), 11.0)
    calls(swarm, 11.0)
    assert sum(len(task.downloads) for task in swarm.tasks.values()) == len(there)
    calls(swarm, 30.0)
    assert not swarm.peers.states


def test_downloads_of_an_isolated_host_stop_and_resume_serving_in_batches() -> None:
    swarm = crowd(MANY, isolation=10.0)
    (peer,) = swarm.peers.states.values()
    swarm.peers._isolate(peer, 0.0, "silent")
    assert sum(download.holder_index >= 0 for download in peer.downloads) == MANY - swarm_peers.AT_ONCE
    assert calls(swarm, 0.0) == -(-(MANY - swarm_peers.AT_ONCE) // BATCH)
    assert all(download.holder_index < 0 for download in peer.downloads)
    calls(swarm, 11.0)
    assert all(download.holder_index >= 0 for download in peer.downloads)


def test_a_dropped_task_is_removed_at_once_and_its_downloads_in_batches() -> None:
    swarm = Swarm(Limits(), 1)
    swarm.add_task(TASK, 3, 0.0)
    swarm.cached(TASK, 0, 0.0)
    for i in range(MANY):
        swarm.join(TASK, str(i), Peer(f"10.0.{i // 250}.{i % 250}", 20000, f"/peer/file/{i}"), 0.0)
        if swarm.pull(TASK, str(i), 1, 0.0).kind != "pieces":
            swarm.park(TASK, str(i), 1)
    swarm.drop_task(TASK)
    assert TASK not in swarm.tasks
    assert not swarm.wakeable
    check(swarm)
    swarm.add_task(TASK, 5, 0.0)
    swarm.join(TASK, "999", Peer("10.0.3.249", 20000, "/peer/file/new"), 0.0)
    assert swarm.next_due() == 0.0
    calls(swarm, 0.0)
    assert not swarm.departed
    assert list(swarm.tasks[TASK].downloads) == ["999"]
    assert [download.cid for same in swarm.peers.cids.values() for download in same] == ["999"]
    assert len(swarm.leases) == 0
    assert len(swarm.peers.states) == 1


def test_streams_that_acknowledged_beyond_the_end_depart_in_batches() -> None:
    swarm = Swarm(Limits(), 1)
    swarm.add_task(TASK, -1, 0.0)
    swarm.cached(TASK, 0, 0.0)
    for i in range(MANY):
        swarm.join(TASK, str(i), Peer(HOST, 20000, "/peer/file/x"), 0.0, wnd=4)
        swarm.holds(TASK, str(i), [(0, 4)], 0.0)
    swarm.set_count(TASK, 1)
    assert len(swarm.departed) == swarm_peers.AT_ONCE
    assert calls(swarm, 0.0) == -(-(MANY - swarm_peers.AT_ONCE) // BATCH)
    assert len(swarm.departed) == MANY
    assert not swarm.peers.states


def test_the_end_of_a_file_is_applied_to_downloads_by_words_of_bits() -> None:
    """2000 downloads claim 1023 pieces beyond the end each: two million single steps would take seconds."""
    swarm = Swarm(Limits(), 1)
    swarm.add_task(TASK, -1, 0.0)
    swarm.cached(TASK, 0, 0.0)
    for i in range(2 * MANY):
        swarm.join(TASK, str(i), Peer(HOST, 20000, "/peer/file/x"), 0.0)
        swarm.holds(TASK, str(i), [(0, 1024)], 0.0)
    begun = time.process_time()
    swarm.set_count(TASK, 1)
    assert time.process_time() - begun < 0.1
    check(swarm)
    assert TaskStats.of(swarm, TASK).finished == 2 * MANY


def test_expiring_blocks_do_not_visit_other_downloads_of_the_same_cid() -> None:
    looked = 0

    class Counted(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            nonlocal looked
            looked += len(super().get(key, ()))
            return super().get(key, default)

    swarm = crowd(0, isolation=10.0)
    for i in range(MANY):
        swarm.add_task(str(i), 3, 0.0)
        swarm.cached(str(i), 0, 0.0)
        swarm.join(str(i), "same", Peer(HOST, 0, "/peer/file/x"), 0.0)
        swarm.join(str(i), "source", Peer(f"10.1.{i // 250}.{i % 250}", 20000, "/peer/file/x"), 0.0)
        swarm.failed(str(i), "same", 0, "source", "digest", 0.0)
    swarm.peers.cids = Counted(swarm.peers.cids)
    calls(swarm, 11.0)
    assert not looked
    assert not any(task.downloads["same"].source_failures for task in swarm.tasks.values())


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_leases_that_expire_together_are_returned_in_batches(most: int) -> None:
    swarm = Swarm(Limits(lease=5.0, supernode=100, slow_slots=100), 1)
    swarm.add_task(TASK, 40, 0.0)
    for n in range(40):
        swarm.cached(TASK, n, 0.0)
    for i in range(5):
        swarm.join(TASK, str(i), Peer(f"10.0.0.{i}", 20000, f"/peer/file/{i}"), 0.0)
        assert len(swarm.pull(TASK, str(i), 8, 0.0).pieces) == 8
    seen = []
    while swarm.next_due() <= 6.0:
        expired = swarm.tick(6.0, most)
        assert len(expired) <= most
        seen += [(lease.cid, lease.n) for lease in expired]
        check(swarm)
    assert len(seen) == len(set(seen)) == 40


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_parked_pulls_are_answered_in_batches(most: int) -> None:
    """One event makes all of them answerable; each call answers at most `most`."""
    swarm = Cluster(60, 0, supernode=1000, down=1000)
    names = [f"c{i}" for i in range(30)]
    swarm.join(*names)
    for name in names:
        swarm.park(name, 1)
    swarm.cache(*range(60))
    answered: list[str] = []
    while swarm.swarm.wakeable:
        answers = swarm.swarm.answer_parked(TASK, swarm.now, most)
        assert len(answers) <= most
        answered += [cid for cid, _ in answers]
        swarm.check()
    assert answered == names


def test_the_search_ends_when_no_parked_pull_may_use_a_source() -> None:
    """Many parked pulls lack a piece of the source but have blocked the source."""
    swarm = Cluster(4, 0)
    names = [f"c{i}" for i in range(40)]
    swarm.join("source", holds=[0])
    swarm.join(*names)
    for name in names:
        for _ in range(3):
            swarm.fail(name, 0, "source")
        swarm.park(name, 1)
    swarm.swarm.cached(TASK, 0, swarm.now)
    swarm.swarm.uncached(TASK, 0, swarm.now)
    calls_of_it = 0
    while swarm.swarm.wakeable:
        assert swarm.swarm.answer_parked(TASK, swarm.now, 1) == []
        calls_of_it += 1
        assert calls_of_it < 100


def test_the_failed_sources_remembered_per_client_are_bounded() -> None:
    swarm = Cluster(4)
    others = [f"c{i}" for i in range(MAX_FAILED_SOURCES + 20)]
    for other in others:
        swarm.swarm.join(TASK, other, Peer(f"host-{other}", 20000, f"/peer/file/{other}"), swarm.now)
    swarm.join("liar")
    for other in others:
        swarm.swarm.failed(TASK, "liar", 0, other, "gone", swarm.now)
    swarm.check()
    charged = swarm.swarm.tasks[TASK].downloads["liar"].source_failures
    assert charged is not None
    assert [peer.key[0] for peer in charged] == [f"host-{other}" for other in others[20:]]


def test_a_small_set_keeps_its_order_at_any_size() -> None:
    swarm = crowd(3 * FEW)
    downloads = [download for task in swarm.tasks.values() for download in task.downloads.values()]
    small_set = added((), downloads[0])
    for i, download in enumerate(downloads[1:], 1):
        small_set = added(small_set, download)
        assert list(small_set) == downloads[: i + 1]
    for i, download in enumerate(downloads):
        small_set = removed(small_set, download)
        assert list(small_set) == downloads[i + 1 :]
    assert not small_set


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time passes only as the work sets it."""

    seconds = 0.0

    def time(self) -> float:
        return self.seconds


def test_other_callbacks_run_between_slices_of_long_jobs() -> None:
    loop, seen = Clock(), []

    def work(name: str, steps: int):  # type: ignore[no-untyped-def]
        for i in range(steps):
            seen.append(f"{name}{i}")
            loop.seconds += SLICE / 2
            yield

    async def play() -> None:
        jobs = SlicedWork(loop)
        jobs.begin(work("a", 5))
        jobs.begin(work("b", 2))
        assert seen == ["a0", "a1"]
        loop.call_soon(seen.append, "other")
        while "b1" not in seen:
            await asyncio.sleep(0)

    try:
        loop.run_until_complete(play())
    finally:
        loop.close()
    assert [step for step in seen if step != "other"] == ["a0", "a1", "a2", "a3", "a4", "b0", "b1"]
    assert seen.index("other") < seen.index("a4")


def test_spread_lets_other_callbacks_run_in_between() -> None:
    loop, seen = Clock(), []

    def act(n: int) -> None:
        seen.append(n)
        loop.seconds += SLICE / 2

    async def play() -> None:
        loop.call_soon(seen.append, -1)
        await spread(act, range(9))

    try:
        loop.run_until_complete(play())
    finally:
        loop.close()
    assert sorted(seen) == list(range(-1, 9))
    assert seen[-1] == 8
    assert seen.index(-1) < 4
