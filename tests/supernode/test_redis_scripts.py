"""The cluster's state in a real Redis that may be full, corrupt, silent or gone, and the URLs of Redis."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import redis

from dfengine.errors import BadValue
from dfengine.net.event_log import NO_EVENTS
from dfengine.settings import SupernodeSettings
from dfengine.supernode.cluster import lead_releases, member_records, membership, redis_scripts, request_threads
from dfengine.supernode.cluster.cluster_view import LEASE, ClusterMember, ClusterView
from dfengine.supernode.cluster.membership import Cluster
from dfengine.supernode.cluster.notice_exchange import NoticeExchange
from dfengine.supernode.cluster.notices import Notice
from dfengine.supernode.cluster.redis_scripts import ClusterError, NoticeBatch, RedisScripts
from tests.supernode.redis_server import RedisServer
from tests.swarm.test_origin_quota import Count

KEY = member_records.cluster_key(b"a secret of this swarm")
A, B = "aa" * 16, "bb" * 16


def until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as made:
        yield made


@pytest.fixture
def scripts(server: RedisServer) -> Iterator[RedisScripts]:
    raw = redis.Redis(port=server.port)
    raw.config_set("maxmemory", "0")
    raw.flushall()
    raw.close()
    made = RedisScripts(server.url, "p:")
    yield made
    made.close()


def test_one_follower_at_a_time_probes_and_takes_the_lead_of_the_current_leader(scripts: RedisScripts) -> None:
    scripts.heartbeat(A, b"I am a")
    assert scripts.acquire_lead("t", A, b"I am a") is None
    assert scripts.reserve_probes("t", B, 60.0)
    assert not scripts.reserve_probes("t", A, 60.0)
    assert not scripts.reserve_probes("t", B, 60.0), "its own reservation holds too"
    assert scripts.reserve_probes("u", A, 0.05)
    until(lambda: scripts.reserve_probes("u", B, 60.0))
    assert not scripts.take_lead("t", B, b"I am b", "cc" * 16, 60.0)
    assert scripts.acquire_lead("t", A, b"I am a") is None, "nothing has changed"
    assert scripts.take_lead("t", B, b"I am b", A, 60.0)
    assert scripts.acquire_lead("t", A, b"I am a") == b"I am b"
    assert not scripts.take_lead("t", B, b"I am b", A, 60.0), "A is no longer the leader"
    assert not scripts.reserve_probes("t", A, 1.0), "a new leader is not probed"


def test_a_lead_that_was_taken_cannot_be_taken_again_for_a_while(scripts: RedisScripts) -> None:
    c = "cc" * 16
    assert scripts.acquire_lead("t", A, b"I am a") is None
    assert scripts.reserve_probes("t", c, 60.0)
    assert scripts.take_lead("t", B, b"I am b", A, 60.0), "a leader that another supernode probes can be replaced"
    for id in (A, c):
        assert not scripts.take_lead("t", id, b"again", B, 60.0)
    assert scripts.acquire_lead("t", A, b"I am a") == b"I am b"
    scripts.leave(B)
    assert scripts.acquire_lead("t", A, b"I am a") is None, "a new leader that has left is replaced"
    assert scripts.take_lead("t", c, b"I am c", A, 0.05), "A has not taken the lead"
    until(lambda: scripts.take_lead("t", A, b"I am a", c, 60.0))


def test_a_release_that_redis_processes_late_is_refused(scripts: RedisScripts, server: RedisServer) -> None:
    assert scripts.acquire_lead("t", A, b"I am a") is None
    assert scripts.release([], A, 1), "the request with this number has not arrived yet"
    assert not scripts.release(["t"], A, 1)
    assert scripts.acquire_lead("t", B, b"I am b") == b"I am a"
    assert scripts.release(["t"], A, 3)
    assert scripts.acquire_lead("t", B, b"I am b") is None
    assert not scripts.release(["t"], A, 2)
    assert scripts.release(["t"], B, 1), "each supernode has its own numbers"
    raw = redis.Redis(port=server.port)
    assert 0 < raw.ttl(f"p:release:{A}") <= LEASE
    raw.close()


def test_members_join_and_leave_and_each_task_has_one_leader(scripts: RedisScripts, server: RedisServer) -> None:
    assert scripts.heartbeat(A, b"I am a") == [b"I am a"]
    assert sorted(scripts.heartbeat(B, b"I am b")) == [b"I am a", b"I am b"]
    assert scripts.acquire_lead("t", A, b"I am a") is None
    assert scripts.acquire_lead("t", B, b"I am b") == b"I am a"
    assert scripts.acquire_lead("t", A, b"I am a again") is None
    assert scripts.acquire_lead("t", B, b"I am b") == b"I am a again"
    assert scripts.release(["t"], B, 1)
    assert scripts.acquire_lead("t", B, b"I am b") == b"I am a again", "only the leader can release the lead"
    assert scripts.release(["t", "unknown"], A, 1)
    assert scripts.acquire_lead("t", B, b"I am b") is None
    scripts.leave(B)
    assert scripts.acquire_lead("t", A, b"I am a") is None, "a member that left leads nothing"
    assert scripts.heartbeat(A, b"I am a") == [b"I am a"]
    raw = redis.Redis(port=server.port)
    ttl = raw.pttl(f"p:member:{A}")
    assert 0 < ttl <= 6000
    assert 0 < raw.ttl("p:lead:t") <= LEASE
    raw.delete(f"p:member:{A}")  # as if it had expired
    assert scripts.acquire_lead("t", B, b"I am b") is None
    raw.close()


def test_notices_are_numbered_and_the_oldest_are_evicted_first(
    scripts: RedisScripts, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scripts.receive_notices(0) == NoticeBatch(b"", 0, [])
    scripts.send_notices([("a:1", b"one", 60.0), ("a:2", b"two", 0.001)])
    until(lambda: len(scripts.receive_notices(0).records) == 1)
    heard = scripts.receive_notices(0)
    assert (heard.last, heard.records[0][0]) == (1, b"one")
    assert 50 < heard.records[0][1] <= 60
    scripts.send_notices([("a:1", b"one again", 60.0)])
    assert [record for record, _ in scripts.receive_notices(heard.last).records] == [b"one again"]
    assert scripts.receive_notices(scripts.receive_notices(0).last).records == []
    monkeypatch.setattr(redis_scripts, "MAX_NOTICES", 10)
    scripts.send_notices([(f"b:{n}", b"%d" % n, 60.0) for n in range(25)])
    found = scripts.receive_notices(0)
    assert [record for record, _ in found.records] == [b"%d" % n for n in range(15, 25)]
    raw = redis.Redis(port=server.port)
    assert len(raw.keys("p:notice:*")) == 10
    assert min(raw.ttl(f"p:{name}") for name in ("notices", "number", "epoch")) > 0
    raw.delete("p:number")
    raw.flushall()
    scripts.send_notices([("c:1", b"anew", 60.0)])
    assert scripts.receive_notices(0).epoch not in (b"", found.epoch)
    raw.lpush("p:notice:d:1", "x")
    raw.zadd("p:notices", {"d:1": 99})
    with pytest.raises(ClusterError, match="WRONGTYPE"):
        scripts.receive_notices(0)
    raw.close()


def test_notices_reach_other_members_also_after_redis_lost_its_data(server: RedisServer, scripts: RedisScripts) -> None:
    prefix = member_records.key_prefix(KEY)
    one, two = (Cluster(RedisScripts(server.url, prefix), [KEY], f"10.0.0.{n}:8002", NO_EVENTS, None) for n in (1, 2))  # type: ignore[arg-type]
    heard: list[Notice] = []
    two.notices.subscribe("a", heard.append)
    two.notices.subscribe("bad", lambda notice: notice.fields["nothing"])
    one.notices.subscribe("a", lambda notice: heard.append(notice.replace(by="itself")))
    one.notices.on_data_loss(lambda: one.notices.send("a:kept", {"again": True}, 60.0))
    raw = redis.Redis(port=server.port)
    one.start()
    two.start()
    try:
        one.notices.send("bad:1", {}, 60.0)
        for n in range(200):
            one.notices.send(f"a:{n}", {"n": n}, 60.0)
        until(lambda: len(heard) == 200)
        assert [each.fields["n"] for each in heard] == list(range(200))
        assert {each.by for each in heard} == {one.own.id}
        assert all(55 < each.seconds <= 60 for each in heard)
        # Records written to Redis without the key are refused.
        raw.zadd(f"{prefix}notices", {"a:lie": 10_000})
        raw.set(f"{prefix}notice:a:lie", b"0" * 64 + b"\n{}")
        raw.set(f"{prefix}number", 10_000)
        until(lambda: two.notices.refused == 2)
        raw.flushall()
        two.notices.send("a:new", {}, 60.0)
        until(lambda: {"a:new", "a:kept"} <= {each.name for each in heard})
    finally:
        one.close()
        two.close()
        raw.close()


@pytest.mark.parametrize("behind", [30, 0], ids=["far behind", "overtaken by the notices of the next exchange"])
def test_notices_reach_other_members_also_after_redis_returned_to_an_earlier_state(
    server: RedisServer, scripts: RedisScripts, behind: int
) -> None:
    """As after a restart from a snapshot, or by a replica that lacks the last writes: the number is smaller, and the epoch is the same."""
    prefix = member_records.key_prefix(KEY)
    one, two = (NoticeExchange(RedisScripts(server.url, prefix), [KEY], id) for id in (A, B))
    lost: list[str] = []
    heard: list[str] = []
    for each, name in ((one, "one"), (two, "two")):
        each.on_data_loss(partial(lost.append, name))
    one.on_data_loss(lambda: one.send("a:kept", {}, 60.0))
    two.subscribe("a", lambda notice: heard.append(notice.name))
    raw = redis.Redis(port=server.port)

    def exchange(*members: NoticeExchange) -> None:
        for each in members:
            each.exchange(lambda call: call())

    exchange(one, two)
    one.send("a:early", {}, 60.0)
    exchange(one, two)
    names = [f"{prefix}{name}" for name in ("notices", "number", "epoch", "notice:a:early")]
    snapshot = {name: raw.dump(name) or b"" for name in names}
    for n in range(40):
        one.send(f"a:{n}", {}, 60.0)
        exchange(one, two)
    assert heard == ["a:early", *(f"a:{n}" for n in range(40))]
    assert not lost
    raw.flushall()
    for name, value in snapshot.items():
        raw.restore(name, 60_000, value)
    heard.clear()
    for n in range(100, 145 - behind):
        one.send(f"a:{n}", {}, 60.0)
    for _ in range(3):
        exchange(one, two)
    assert set(heard) == {"a:early", "a:kept", *(f"a:{n}" for n in range(100, 145 - behind))}
    assert len(heard) == len(set(heard)), "each once"
    assert lost == ["one", "two"], "each learns of it once"
    raw.delete(f"{prefix}number")  # as if evicted alone
    heard.clear()
    for _ in range(3):
        one.send("a:late", {}, 60.0)
        exchange(one, two)
    assert heard.count("a:late") == 3
    assert lost == ["one", "two"] * 2
    raw.close()


def test_a_redis_that_is_full_or_has_wrong_types_fails_and_recovers(scripts: RedisScripts, server: RedisServer) -> None:
    raw = redis.Redis(port=server.port)
    raw.lpush("p:members", "x")
    with pytest.raises(ClusterError, match="WRONGTYPE"):
        scripts.heartbeat(A, b"a")
    raw.delete("p:members")
    raw.config_set("maxmemory", "1")
    with pytest.raises(ClusterError, match=r"OOM|OutOfMemory"):
        scripts.acquire_lead("t", A, b"a")
    raw.config_set("maxmemory", "0")
    raw.close()
    assert scripts.acquire_lead("t", A, b"a") is None


def test_a_cluster_of_two_keeps_its_leaders_while_redis_is_silent(server: RedisServer, scripts: RedisScripts, tmp_path: Path) -> None:
    prefix = member_records.key_prefix(KEY)
    one, two = (Cluster(RedisScripts(server.url, prefix), [KEY], f"10.0.0.{n}:8002", NO_EVENTS, None) for n in (1, 2))  # type: ignore[arg-type]
    one.start()
    two.start()
    try:
        until(lambda: [each.address for each in one.others] == ["10.0.0.2:8002"] and two.others)
        assert one.leader("t") is None
        assert two.leader("t") == "10.0.0.1:8002"
        # Members written to Redis without the key are refused.
        raw = redis.Redis(port=server.port)
        stranger = ClusterMember("cc" * 16, "10.9.9.9:1")
        raw.set(f"{prefix}member:{stranger.id}", member_records.encode(stranger, time.time(), b"another key"), ex=60)
        raw.set(f"{prefix}lead:u", "cc" * 16)
        raw.sadd(f"{prefix}members", "cc" * 16)
        assert (two.leader("u"), two.failures, two.reached) == (None, 0, True)
        assert [each.address for each in two.others] == ["10.0.0.1:8002"]
        raw.close()
        # Redis is silent: the last response is used after the timeout; then no requests are sent for a while.
        server.signal(signal.SIGSTOP)
        try:
            assert two.leader("t") == "10.0.0.1:8002"
            began = time.monotonic()
            while not two._view.reached and time.monotonic() - began < 1:
                assert two.leader("new") is None
            assert one.leader("t") is None
            # Without a response both choose the same member, whose lead is granted when Redis responds again.
            led = {each.fallback_leader("new", ()) or each.own.address for each in (one, two)}
            assert len(led) == 1
            assert two.fallback_leader("new", {"10.0.0.1:8002"}) is None
        finally:
            server.signal(signal.SIGCONT)
        until(lambda: one.reached and two.reached)
        one.release("t")
        until(lambda: two.leader("t") is None)
        two.release("new")
        first = one if led == {"10.0.0.1:8002"} else two
        other = two if first is one else one
        assert first.fallback_leader("new", ()) is None
        until(lambda: "new" not in first._ungranted)
        assert other.leader("new") == first.own.address
    finally:
        one.close()
        two.close()


def test_a_lead_that_redis_grants_after_the_time_out_of_the_request_is_noticed(
    server: RedisServer, scripts: RedisScripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "REQUEST_TIMEOUT", 1.0)  # three of them must not outlast the membership
    prefix = member_records.key_prefix(KEY)
    one, two = (Cluster(RedisScripts(server.url, prefix), [KEY], f"10.0.0.{n}:8002", NO_EVENTS, None) for n in (1, 2))  # type: ignore[arg-type]
    one.start()
    two.start()
    raw = redis.Redis(port=server.port)
    try:
        until(lambda: one.others and two.others)
        assert one.leader("known") is None  # Redis has the script from now on
        assert two.leader("other") is None
        server.signal(signal.SIGSTOP)
        try:
            for task in ("late", "other", "forgotten"):
                one._view._retry_at = 0.0
                assert one.leader(task) is None
            one.release("forgotten")
        finally:
            server.signal(signal.SIGCONT)
        until(lambda: raw.get(f"{prefix}lead:late") == one.own.id.encode())
        until(lambda: one.has_lead("late"))
        until(lambda: two.leader("late") == one.own.address)
        assert not one.has_lead("other")
        assert not one.has_lead("forgotten")
        one._unanswered["other"] = 0.0
        until(lambda: not one._unanswered)
    finally:
        raw.close()
        one.close()
        two.close()


def test_requests_without_a_response_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    go, asked = threading.Event(), []

    class Silent:
        def acquire_lead(self, *_: Any) -> None:
            asked.append(1)
            go.wait(60)

        def leave(self, *_: Any) -> None:
            pass

    monkeypatch.setattr(membership, "REQUEST_TIMEOUT", 0.05)
    monkeypatch.setattr(ClusterView, "may_request", lambda *_: True)
    cluster = Cluster(Silent(), [KEY], "h:1", NO_EVENTS, None)  # type: ignore[arg-type]
    for n in range(3 * request_threads.AT_ONCE):
        assert cluster.leader(f"t{n}") is None
    assert len(asked) == request_threads.AT_ONCE
    go.set()


class Granting:
    """Answers requests like a Redis that grants every lead. failing: answers no request to release leads."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released: list[list[str]] = []
        self.failing, self.leader = False, None
        self.on_release: Callable[[], Any] = lambda: None

    def heartbeat(self, *_: Any) -> list[bytes]:
        return []

    def acquire_lead(self, task: str, *_: Any) -> bytes | None:
        self.asked.append(task)
        return self.leader

    def release(self, tasks: list[str], *_: Any) -> bool:
        if self.failing and tasks:
            raise ClusterError("TimeoutError")
        if tasks:
            self.released.append(tasks)
            self.on_release()
        self.asked.append("settle")
        return True

    def receive_notices(self, *_: Any) -> Any:
        return SimpleNamespace(epoch=b"", last=0, records=[])


def test_released_tasks_are_sent_in_few_requests_between_heartbeats() -> None:
    scripts: Any = Granting()
    cluster = Cluster(scripts, [KEY], "h:1", NO_EVENTS, None)  # type: ignore[arg-type]
    tasks = [f"t{n}" for n in range(2 * lead_releases.MAX_RELEASED_AT_ONCE + 10)]
    for task in tasks:
        assert cluster.leader(task) is None
    for task in tasks:
        cluster.release(task)
    scripts.failing = True
    with pytest.raises(ClusterError):
        cluster._heartbeat()
    scripts.failing = False
    assert cluster.leader(tasks[1]) is None, "it is led again"
    for _ in range(4):
        cluster._heartbeat()
    assert [len(each) for each in scripts.released] == [lead_releases.MAX_RELEASED_AT_ONCE] * 2 + [9]
    assert [each for batch in scripts.released for each in batch] == [tasks[0], *tasks[2:]]
    assert cluster.has_lead(tasks[1])


@pytest.mark.parametrize("answered", [True, False])
def test_a_task_led_again_is_not_released_by_a_request_that_is_under_way(scripts: Any, answered: bool) -> None:
    """answered: whether the supernode still waits for the answer to the request."""
    one, two = (Cluster(scripts, [KEY], f"10.0.0.{n}:8002", NO_EVENTS, None) for n in (1, 2))  # type: ignore[arg-type]
    late: list[Callable[[], Any]] = []
    release = scripts.release

    def delayed(tasks: list[str], *given: Any) -> Any:
        if not tasks or late:
            return release(tasks, *given)
        late.append(partial(release, tasks, *given))
        if not answered:
            raise ClusterError("TimeoutError")
        assert one.leader("t") is None
        return late[0]()

    scripts.release = delayed
    assert [one.leader(task) for task in ("t", "other")] == [None] * 2
    one.release("t")
    one.release("other")
    if answered:
        one._heartbeat()
    else:
        with pytest.raises(ClusterError):
            one._heartbeat()
        assert one.leader("t") is None
        late[0]()
    assert one.has_lead("t")
    assert two.leader("t") == one.own.address
    one._heartbeat()
    assert two.leader("t") == one.own.address
    assert two.leader("other") is None, "it is released with the next heartbeat"


def test_a_task_led_and_released_again_while_the_request_is_under_way_is_released_again() -> None:
    scripts: Any = Granting()
    cluster = Cluster(scripts, [KEY], "h:1", NO_EVENTS, None)  # type: ignore[arg-type]
    assert cluster.leader("t") is None
    cluster.release("t")

    def lead_again() -> None:
        scripts.on_release = lambda: None
        assert cluster.leader("t") is None
        cluster.release("t")

    scripts.on_release = lead_again
    for _ in range(3):
        cluster._heartbeat()
    assert scripts.released == [["t"], ["t"]]


def test_each_request_for_a_lead_first_settles_releases_without_an_answer() -> None:
    scripts: Any = Granting()
    cluster = Cluster(scripts, [KEY], "h:1", NO_EVENTS, None)  # type: ignore[arg-type]
    other = ClusterMember("0" * 32, "10.0.0.2:8002")

    def record(name: str, answer: Any) -> Callable[..., Any]:
        return lambda *_: scripts.asked.append(name) or answer

    scripts.send_notices, scripts.take_lead, scripts.confirm_leads = lambda *_: None, record("take", True), record("confirm", [])

    async def claim() -> None:
        assert await cluster.reserve("c")

    def ungranted() -> None:
        cluster._ungranted["u"] = time.monotonic()
        cluster._request_grants(0.0)

    def unanswered() -> None:
        cluster._unanswered["n"] = time.monotonic()
        cluster._confirm_leads()

    def taken() -> None:
        cluster._view.lead_taken("taken", other)
        assert cluster.take_lead("taken", other.address, 0.0, 1.0)

    requests: list[tuple[str, Callable[[], Any]]] = [
        ("l", lambda: cluster.leader("l")), ("u", ungranted), ("confirm", unanswered), ("take", taken), ("c", lambda: asyncio.run(claim()))]
    assert cluster.leader("t") is None
    cluster.release("t")
    for name, request in requests:
        scripts.failing = True
        with pytest.raises(ClusterError):
            cluster._heartbeat()
        scripts.asked.clear()
        request()
        assert scripts.asked == ["settle", name]
    scripts.asked.clear()
    assert cluster.leader("m") is None
    assert scripts.asked == ["m"], "nothing is left to settle"
    scripts.failing = False
    cluster.release_reservation("c")
    cluster._heartbeat()
    assert scripts.released == [["t", "c"]]


def test_the_patience_for_a_late_grant_begins_with_the_last_request_for_it() -> None:
    scripts: Any = Granting()
    cluster = Cluster(scripts, [KEY], "h:1", NO_EVENTS, None)  # type: ignore[arg-type]
    scripts.acquire_lead = Mock(side_effect=ClusterError("TimeoutError"))
    scripts.confirm_leads = Mock(side_effect=[[], ["t"]])
    cluster._unanswered["t"] = -3600.0  # an earlier request
    assert cluster.leader("t") is None
    cluster._heartbeat()
    assert not cluster.has_lead("t")
    cluster._heartbeat()
    assert cluster.has_lead("t")


def test_grants_are_requested_until_the_next_heartbeat_is_due_each_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    scripts: Any = Granting()
    cluster = Cluster(scripts, [KEY], "h:1", NO_EVENTS, None)  # type: ignore[arg-type]
    for task in ("a", "b", "c"):
        assert cluster.fallback_leader(task, ()) is None
    monkeypatch.setattr(membership, "HEARTBEAT_PERIOD", 0.0)
    scripts.leader = b"a record of another supernode"
    for _ in range(4):
        cluster._heartbeat()
    assert scripts.asked == ["a", "b", "c", "a"], "one with each heartbeat"
    scripts.leader = None
    monkeypatch.setattr(membership, "HEARTBEAT_PERIOD", 3600.0)
    cluster._heartbeat()
    assert scripts.asked[4:] == ["b", "c", "a"]
    assert all(map(cluster.has_lead, "abc"))


def test_requests_whose_threads_cannot_start_return_their_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ClusterView, "may_request", lambda *_: True)
    cluster = Cluster(SimpleNamespace(), [KEY], "h:1", NO_EVENTS, None)  # type: ignore[arg-type]
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", no_thread)
        for _ in range(2 * request_threads.AT_ONCE):
            with pytest.raises(ClusterError, match="new thread"):
                asyncio.run(cluster.request(lambda scripts: None, 60))
    assert asyncio.run(cluster.request(lambda scripts: "answer", 60)) == "answer"


def test_many_requests_at_once_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    go, asked = threading.Event(), list[str]()

    class Busy:
        def acquire_lead(self, task: str, *_: Any) -> None:
            asked.append(task)
            go.wait(60)

        def seats(self, *_: Any) -> list[int]:
            return [1]

        def leave(self, *_: Any) -> None:
            pass

        def close(self) -> None:
            pass

    async def play() -> list[int]:
        waits = asyncio.ensure_future(cluster.request(lambda scripts: scripts.seats(A, 4, {"o": (0, 1)}, 60.0, 5.0), 60.0))
        await asyncio.sleep(0)
        go.set()
        return await waits

    monkeypatch.setattr(membership, "REQUEST_TIMEOUT", 60.0)
    cluster = Cluster(Busy(), [KEY], "h:1", NO_EVENTS, None)  # type: ignore[arg-type]
    tasks = [f"t{n}" for n in range(3 * request_threads.AT_ONCE)]
    threads = [threading.Thread(target=cluster.leader, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    until(lambda: len(asked) == request_threads.AT_ONCE)
    assert asyncio.run(play()) == [1]
    for thread in threads:
        thread.join(60)
    assert (sorted(asked), cluster.failures) == (sorted(tasks), 0)
    cluster.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://h", "is not redis://HOST"), ("redis://h:port", "is not redis://HOST"), ("sentinel://", "names hosts"),
        ("sentinel://h:x/s", "HOST"), ("sentinel://h", "names hosts"), ("", "is not redis://HOST"),
        ("redis://h?foo=bar", "no option 'foo'"), ("redis://h?foo=", "no option 'foo'"), ("redis://h/x", "database .* number"),
        ("redis://h/1/2", "database .* number"), ("redis://h?db=x", "db"), ("redis://h?protocol=9", "protocol"),
        ("redis://h?decode_responses=yes", "no option 'decode_responses'"), ("redis://h?retry=1", "no option 'retry'"),
        ("redis://h?ssl_ca_certs=/ca.pem", "TLS"), ("rediss://h?ssl_foo=1", "ssl_foo"), ("rediss://h?ssl_cert_reqs=x", "x"),
        ("sentinel://h/s?foo=bar", "no option 'foo'"), ("sentinel://h/s?db=1", "no option 'db'"),
        ("sentinel://h/s?ssl_ca_certs=/ca.pem", "TLS"), ("sentinels://h/s?ssl_foo=1", "ssl_foo"), ("sentinel://h/s/x", "names hosts"),
        ("unix://run/redis.sock", "PATH"), ("unix://", "PATH"),
    ],
)  # fmt: skip
def test_invalid_urls_of_redis_are_rejected(url: str, said: str) -> None:
    with pytest.raises(BadValue, match=said):
        RedisScripts(url, "p:")


def test_errors_show_no_password_and_valid_urls_are_parsed() -> None:
    for url in ("http://me:hidden@h/0", "redis://:hid/hidden@h/0", "redis://:hidden@h/x", "redis://h/x?password=hidden",
                "sentinel://:hid/hidden@h/s", "redis://:hidden/x@h", "redis://:hidden\u2100@h"):  # fmt: skip
        with pytest.raises(BadValue) as told:
            RedisScripts(url, "p:")
        assert "hid" not in str(told.value), url
    for url in ("redis://h", "redis://h/", "redis://h/3", "redis://h?db=3&client_name=me&socket_timeout=2", "unix:///run/redis.sock?db=3",
                "unix://me:hidden@/run/redis.sock", "rediss://h/3?ssl_ca_certs=/ca.pem&ssl_check_hostname=no"):  # fmt: skip
        RedisScripts(url, "p:").close()
    made = RedisScripts("sentinels://me:p%40ss@h1:1,h2/main/3", "p:")
    pool = made._redis.connection_pool
    assert (pool.service_name, pool.connection_kwargs["password"], pool.connection_kwargs["db"]) == ("main", "p@ss", 3)
    assert [each.connection_pool.connection_kwargs["port"] for each in pool.sentinel_manager.sentinels] == [1, 26379]


def test_a_cluster_needs_a_key(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="needs a key"):
        Cluster.of(SupernodeSettings(cluster="redis://h"), "h:1", NO_EVENTS, None)  # type: ignore[arg-type]
    assert Cluster.of(SupernodeSettings(), "h:1", NO_EVENTS, None) is None  # type: ignore[arg-type]


def test_a_refused_member_is_logged_once_until_the_reason_changes(server: RedisServer, scripts: RedisScripts) -> None:
    prefix, said = member_records.key_prefix(KEY), []
    events = SimpleNamespace(info=lambda *_, **__: None, warning=lambda name, **given: said.append((name, given)))
    cluster = Cluster(RedisScripts(server.url, prefix), [KEY], "10.0.0.1:8002", events, None)  # type: ignore[arg-type]
    raw = redis.Redis(port=server.port)

    def write(id: str, record: bytes) -> None:
        raw.set(f"{prefix}member:{id}", record)
        raw.sadd(f"{prefix}members", id)

    def beats() -> list[tuple[str, str]]:
        said.clear()
        for _ in range(3):
            cluster._heartbeat()
        assert {name for name, _ in said} <= {"member_refused"}
        return sorted((given.get("address", ""), given["reason"]) for _, given in said)

    def old(n: int) -> bytes:
        return member_records.encode(ClusterMember(A, f"10.0.0.{n}:8002"), time.time() - 200, KEY)

    write(A, old(8))
    write(B, member_records.encode(ClusterMember(B, "10.0.0.9:8002"), time.time(), member_records.cluster_key(b"another key")))
    first = beats()
    assert [address for address, _ in first] == ["", "10.0.0.8:8002"]
    assert "seal" in first[0][1]
    assert "clock" in first[1][1]
    assert cluster.refused == 2
    assert beats() == [], "nothing has changed"
    write("cc" * 16, old(7))
    assert [address for address, _ in beats()] == ["10.0.0.7:8002"]
    raw.delete(f"{prefix}member:{A}")
    assert beats() == []
    write(A, old(8))
    assert [address for address, _ in beats()] == ["10.0.0.8:8002"], "its record returned"
    assert cluster.refused == 4
    raw.close()
    cluster.close()


def test_a_leader_with_a_wrong_clock_is_no_failure_of_redis(server: RedisServer, scripts: RedisScripts) -> None:
    prefix, said = member_records.key_prefix(KEY), list[str]()
    events = SimpleNamespace(info=lambda name, **_: said.append(name), warning=lambda name, **_: said.append(name))
    cluster = Cluster(RedisScripts(server.url, prefix), [KEY], "10.0.0.1:8002", events, None)  # type: ignore[arg-type]
    wrong = ClusterMember(A, "10.0.0.8:8002")
    raw = redis.Redis(port=server.port)

    def write(skew: float) -> None:
        raw.set(f"{prefix}member:{A}", member_records.encode(wrong, time.time() - skew, KEY), ex=60)

    write(0.0)
    raw.set(f"{prefix}lead:led", A)
    assert cluster.leader("mine") is None
    assert cluster.leader("led") == wrong.address
    write(200.0)
    raw.set(f"{prefix}lead:mine", A)  # as after a silence of this supernode
    raw.set(f"{prefix}lead:new", A)
    cluster._view.released("mine")
    for task, leader in (("led", wrong.address), ("new", None), ("mine", None)):
        assert cluster.leader(task) == leader, "the leader of the last valid response, if any"
        assert cluster._view.may_request(time.monotonic()), "the next heartbeat is sent"
        assert not cluster._view.leads(task, time.monotonic())
    assert (cluster.failures, cluster.reached, said) == (0, True, [])
    raw.close()
    cluster.close()


def test_seats_at_an_origin_are_shared_by_all_members(scripts: RedisScripts, server: RedisServer) -> None:
    def say(id: str, held: int, wanted: int, term: float = 60.0, hungry: float = 60.0) -> int:
        return scripts.seats(id, 4, {"o": (held, wanted)}, term, hungry)[0]

    assert say(A, 0, 3) == 3
    assert say(B, 0, 3) == 1
    assert say(B, 1, 2) == 1, "no seat is free"
    assert scripts.seats(A, 4, {"o": (3, 5), "p": (0, 9), "q": (0, 0)}, 60.0, 60.0) == [3, 4, 0], "each origin is counted separately"
    # A returns one and wants more: the member with fewer seats is next.
    assert say(A, 2, 5) == 2
    assert say(B, 1, 2) == 2
    # With equal numbers the member that waits longer is next.
    c, d = "cc" * 16, "dd" * 16
    assert say(c, 0, 2) == 0
    time.sleep(0.01)
    assert say(d, 0, 2) == 0
    assert say(A, 1, 5) == 1
    assert say(d, 0, 2) == 0, "another member waits longer"
    assert say(c, 0, 2) == 1
    assert (say(c, 0, 0), say(d, 0, 0), say(A, 1, 5)) == (0, 0, 2)
    # A member that is silent for a while loses its turn, and after its term its seats.
    assert say(c, 0, 2) == 0
    time.sleep(0.05)
    assert say(A, 1, 5) == 1
    assert say(A, 1, 5, hungry=0.01) == 2
    assert say(c, 0, 4) == 0
    time.sleep(0.05)
    assert say(c, 0, 4, term=0.02) == 4
    # Without seats no key remains.
    raw = redis.Redis(port=server.port)
    assert say(c, 0, 0) == 0
    assert not raw.exists("p:origin:o")
    # Foreign entries count as no seat or expire; a key of another type is an error.
    raw.hset("p:origin:o", mapping={"x": "nonsense", "y": f"4 9 0 {10**15}", "z": "-1 0 0 0"})
    assert say(A, 0, 4) == 4
    raw.delete("p:origin:o")
    raw.set("p:origin:o", "x")
    with pytest.raises(ClusterError, match="WRONGTYPE"):
        say(A, 0, 1)
    raw.close()


def test_the_script_counts_seats_like_the_python_model(scripts: RedisScripts) -> None:
    chance, law, ids = random.Random(3), Count(5), [f"{n:032x}" for n in range(4)]
    held, wants, clock = dict.fromkeys(ids, 0), dict.fromkeys(ids, 0), 0.0
    for _ in range(500):
        id = chance.choice(ids)
        wants[id] = max(0, wants[id] + chance.randrange(-1, 3))
        held[id] -= held[id] > 0 and chance.random() < 0.5
        clock += 0.001
        found = scripts.seats(id, 5, {"o": (held[id], wants[id])}, 60.0, 60.0)[0]
        assert found == law.say(id, held[id], wants[id], clock, hungry=60.0)
        wants[id] -= found - held[id]
        held[id] = found
        assert sum(held.values()) <= 5
        time.sleep(0.002)  # the script's clock has milliseconds


def test_a_request_to_a_silent_redis_does_not_block_the_loop(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        cluster = Cluster(RedisScripts(server.url, "p:"), [KEY], "10.0.0.1:8002", NO_EVENTS, None)  # type: ignore[arg-type]
        assert await cluster.request(lambda scripts: scripts.seats(A, 4, {"silent": (0, 1)}, 60.0, 5.0), 5.0) == [1]
        server.signal(signal.SIGSTOP)
        try:
            asked = asyncio.ensure_future(cluster.request(lambda scripts: scripts.seats(A, 4, {"silent": (1, 1)}, 60.0, 5.0), 0.2))
            turns = 0
            while not asked.done():
                await asyncio.sleep(0.01)
                turns += 1
            assert turns > 5
            with pytest.raises(ClusterError, match="within"):
                await asked
            with pytest.raises(ClusterError, match="not asked for a while"):
                await cluster.request(lambda scripts: [], 5.0)
        finally:
            server.signal(signal.SIGCONT)

    asyncio.run(play())
