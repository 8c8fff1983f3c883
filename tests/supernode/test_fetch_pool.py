"""Copies of the supernode: fetches that end while others of the same task begin, threads, and verification."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import queue
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import xxhash

from dfengine._piece import Geometry
from dfengine.copy_states import FAILED, SUCCESS
from dfengine.errors import OriginBusy, OriginTruncated, RemoteError
from dfengine.net.http import Request
from dfengine.settings import SupernodeSettings
from dfengine.supernode import api_v1
from dfengine.supernode.copies import fetch_pool
from dfengine.supernode.copies.cache import Cache, Description
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.copies.fetch_thread import fail
from dfengine.supernode.registered_downloads import RegisteredDownload
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.supernode.time_slices import SLICE
from dfengine.task import Peer, task_id
from tests.own_descriptors import own_descriptors
from tests.swarm.invariant import check

TASK = "ab" * 32


def fetch_of(node: SupernodeState, count: int, task: str = TASK) -> Fetch:
    """A fetch of `count` pieces whose head is known, without a thread."""
    fetch = Fetch(task, FetchRequest("http://127.0.0.1:1/f"), node.cache, node.fetch_pool._post_if_current, node.fetches, node.fetches.room)
    fetch.file = node.cache.create(task, Geometry(count << 22), fetch.description)
    node.fetch_pool.fetches[task] = fetch
    node.fetches.fetch_head(fetch)
    return fetch


def test_late_events_of_a_forgotten_fetch_do_not_affect_the_next_fetch(tmp_path: Path) -> None:
    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        old = fetch_of(node, 3)
        node.fetch_pool._post_if_current(node.fetches.fetch_piece, old, 1)
        node.fetches.forget(TASK)
        fetch_of(node, 3)
        fail(old, OriginTruncated("it was stopped"))
        await asyncio.sleep(0)
        assert TASK in node.swarm.tasks
        assert not node.swarm.tasks[TASK].cached.count()
        node.close()

    asyncio.run(play())


def test_a_failure_that_is_not_yet_posted_is_handled_before_the_next_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        old = fetch_of(node, 3)
        node.fetches.fetch_piece(old, 1)
        fail(old, OriginTruncated("cut"))
        assert old.state == FAILED

        def start(task: str, wanted: FetchRequest, address: str) -> Fetch:
            assert task not in node.swarm.tasks, "the new task starts without the old copy's pieces"
            return fetch_of(node, 3)

        monkeypatch.setattr(node.fetch_pool, "start", start)
        fresh = asyncio.ensure_future(node.fetches.ensure(TASK, old.request))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert node.counts["cdn_failed"] == 1
        assert TASK in node.swarm.tasks, "the old fetch's failure does not end the new task"
        fresh.cancel()
        node.close()

    asyncio.run(play())


def test_a_request_waiting_for_the_head_of_a_removed_task_fails(tmp_path: Path) -> None:
    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        fetch = fetch_of(node, 3)
        fetch.state = SUCCESS
        node.fetches.validated[TASK] = -1e9
        fetch.description.etag = "x"
        fetch.request = FetchRequest("http://127.0.0.1:1/f")
        waiting = asyncio.ensure_future(node.fetches.ensure(TASK, fetch.request))
        await asyncio.sleep(0)
        node.fetches.forget(TASK)
        with pytest.raises(RemoteError, match="register again"):
            await asyncio.wait_for(waiting, 20)
        node.close()

    asyncio.run(play())


@pytest.mark.parametrize(("native", "limit"), [(1, "origin_fetches.HEAD_SECONDS"), (0, "api_v1.LEGACY_SECONDS")])
def test_a_copy_is_used_during_a_long_comparison_with_the_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: int, limit: str
) -> None:
    """Each client is answered before it gives up waiting: 1.x's dfget would read the origin itself."""
    monkeypatch.setattr(f"dfengine.supernode.{limit}", 0.05)
    url = "http://127.0.0.1:1/f"
    message = {"rawUrl": url, "taskUrl": url, "cid": "c-1", "ip": "127.0.0.1", "path": "/peer/file/x", "hostName": "h", "version": "1",
               "superNodeIp": "127.0.0.1", "native": native}

    async def play() -> dict[str, Any]:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        fetch = fetch_of(node, 3, task_id(url))
        fetch.state = SUCCESS
        node.fetches.validated[fetch.task] = node.now()
        node.fetches._heads[fetch.task] = asyncio.get_running_loop().create_future()
        answer = await api_v1.register(node, Request("POST", b"/peer/registry", {}, json.dumps(message).encode(), "127.0.0.1"))
        node.close()
        return dict(json.loads(answer.body))

    answer = asyncio.run(play())
    assert answer["code"] == 200, answer
    assert answer["data"]["taskId"] == task_id(url)


def test_a_copy_that_lacks_pieces_loads_as_incomplete_despite_its_description(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path))
    file = cache.create(TASK, Geometry(5), Description(url="u", generation="g", complete=True, verified=""))
    loaded = cache.load(TASK)
    assert loaded is not None
    assert not loaded[1].complete
    file.write(0, b"12345", b"d" * 16)
    loaded = cache.load(TASK)
    assert loaded is not None
    assert loaded[1].complete


@pytest.mark.parametrize(("kept", "asked"), [("insecure", ""), ("", "insecure"), ("ca:1", "ca:2"), (None, ""), (None, "insecure")])
def test_a_copy_whose_origin_was_verified_differently_is_not_used(tmp_path: Path, kept: str | None, asked: str) -> None:
    cache = Cache(str(tmp_path))
    cache.create(TASK, Geometry(5), Description(url="u", generation="g", verified=kept)).write(0, b"12345", b"d" * 16)
    assert cache.load(TASK, asked) is None
    assert kept is None or cache.load(TASK, kept) is not None


def test_one_client_cannot_occupy_all_fetch_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, posted, go = queue.Queue[str](), queue.Queue[str](), {name: threading.Event() for name in "abcdefg"}

    def slow(fetch: Fetch) -> None:
        begun.put(fetch.task)
        go[fetch.task].wait(60)

    def post(event: Any, *arguments: Any) -> None:
        event(*arguments)
        posted.put(arguments[0])

    monkeypatch.setattr(fetch_pool, "run", slow)
    fetching = fetch_pool.FetchPool(Cache(str(tmp_path)), post, None, None, workers=4)  # type: ignore[arg-type]
    for name in "abcde":
        fetching.start(name, FetchRequest("http://127.0.0.1:1/f"), "2001:db8::" + name)
    fetching.start("f", FetchRequest("http://127.0.0.1:1/f"), "10.0.0.1")
    assert {begun.get(timeout=60) for _ in range(4)} == {"a", "b", "c", "f"}, "one network is one client"
    go["b"].set()
    assert begun.get(timeout=60) == "d"
    go["f"].set()
    for _ in range(2):
        posted.get(timeout=60)
    assert begun.empty(), "a thread that another client returns is not its"
    fetching.start("g", FetchRequest("http://127.0.0.1:1/f"), "10.0.0.1")
    assert begun.get(timeout=60) == "g"
    for each in go.values():
        each.set()
    assert begun.get(timeout=60) == "e"
    for _ in range(5):
        posted.get(timeout=60)
    assert not len(fetching._fetch_threads.shares)
    assert not fetching._fetch_threads.queued
    fetching.close()


def test_one_client_cannot_occupy_all_md5_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, posted, go = queue.Queue[str](), queue.Queue[Any](), threading.Event()

    def slow(fetch: Fetch) -> None:
        begun.put(fetch.task)
        go.wait(60)

    monkeypatch.setattr(fetch_pool, "compute_md5s", slow)
    cache = Cache(str(tmp_path))
    following = fetch_pool.FetchPool(cache, lambda *event: posted.put(event), None, None, workers=4)  # type: ignore[arg-type]
    fetches = {name: Fetch(name, FetchRequest("http://127.0.0.1:1/f"), cache, lambda *_: None, None, None) for name in "abcdef"}  # type: ignore[arg-type]
    for name in "abcde":
        following.compute_md5s(fetches[name], "10.0.0.1")
        following.compute_md5s(fetches[name], "10.0.0.1")
    following.compute_md5s(fetches["f"], "10.0.0.2")
    assert {begun.get(timeout=60) for _ in range(4)} == {"a", "b", "c", "f"}
    following.fetches["d"] = fetches["d"]
    following.forget("d")
    go.set()
    while following._md5_threads.queued or len(following._md5_threads.shares):
        event, *given = posted.get(timeout=60)
        event(*given)
    assert begun.get(timeout=60) == "e"
    assert begun.empty(), "the other fetch was forgotten"
    following.close()


def test_a_fetch_forgotten_while_queued_is_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, begun, posted = threading.Event(), queue.Queue[str](), queue.Queue[Any]()

    def slow(fetch: Fetch) -> None:
        begun.put(fetch.task)
        go.wait(60)

    monkeypatch.setattr(fetch_pool, "run", slow)
    fetching = fetch_pool.FetchPool(Cache(str(tmp_path)), lambda *event: posted.put(event), None, None, workers=4)  # type: ignore[arg-type]
    for name in "abc":
        fetching.start(name, FetchRequest("http://127.0.0.1:1/f"), "10.0.0.1")
    gone = [weakref.ref(fetching.start(f"d{i}", FetchRequest("http://127.0.0.1:1/f"), "10.0.0.1")) for i in range(5)]
    fetching.start("last", FetchRequest("http://127.0.0.1:1/f"), "10.0.0.1")
    for i in range(5):
        fetching.forget(f"d{i}")
    gc.collect()
    assert not any(ref() for ref in gone)
    go.set()
    for _ in range(4):
        event, *arguments = posted.get(timeout=60)
        event(*arguments)
    assert sorted(begun.get(timeout=60) for _ in range(4)) == ["a", "b", "c", "last"]
    assert not fetching._fetch_threads.queued
    assert not fetching._fetch_threads.client_of
    fetching.close()


def test_md5s_of_a_copy_are_computed_once_for_all_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        fetch = fetch_of(node, 1)
        assert fetch.file is not None
        for n in range(fetch.geometry.count):
            content = bytes(fetch.geometry.content(n)[1])
            fetch.file.write(n, content, xxhash.xxh3_128_digest(content))
        proved: list[int] = []

        def verify(n: int, buffer: object) -> bool:
            proved.append(n)
            return True

        monkeypatch.setattr(fetch.file, "verify", verify)
        for _ in range(3):
            node.fetch_pool.compute_md5s(fetch)
            while fetch.computing_md5:
                await asyncio.sleep(0.01)
        assert proved == [0, 1]
        node.close()

    asyncio.run(play())


def test_a_failed_task_is_charged_to_the_client_of_the_latest_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())

        def start(task: str, wanted: FetchRequest, address: str) -> Fetch:
            return fetch_of(node, 1)

        monkeypatch.setattr(node.fetch_pool, "start", start)
        for headers, address in (((), "10.0.0.1"), ((("x", "y" * 9000),), "10.0.0.2")):
            waiting = asyncio.ensure_future(node.fetches.ensure(TASK, FetchRequest("http://o/f", headers), address))
            await asyncio.sleep(0)
            fail(node.fetch_pool.fetches[TASK], OriginTruncated("cut"))
            waiting.cancel()
        assert node.quota._bytes.amount_of("10.0.0.1") == 0
        assert node.quota._bytes.amount_of("10.0.0.2") > 9000
        assert len(node.quota) == 1
        node.fetches.forget(TASK)
        assert not node.quota._bytes._amounts
        node.close()

    asyncio.run(play())


def test_a_fetch_whose_thread_cannot_start_begins_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clients register again meanwhile, as while an origin does not answer."""
    run = queue.Queue[bool]()

    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        monkeypatch.setattr(fetch_pool, "run", lambda fetch: run.put(fetch.stopped))
        monkeypatch.setattr("dfengine.supernode.origin_fetches.HEAD_SECONDS", 0.1)
        with monkeypatch.context() as full:
            full.setattr(threading.Thread, "start", no_thread)
            for _ in range(2):
                with pytest.raises(OriginBusy):
                    await node.fetches.ensure(TASK, FetchRequest("http://127.0.0.1:1/f"), "10.0.0.1")
            assert run.empty()
        async with asyncio.timeout(60):
            while run.empty() or len(node.fetch_pool._fetch_threads.shares):
                await asyncio.sleep(0.01)
        assert [run.get(), run.empty()] == [False, True]
        node.close()

    asyncio.run(play())


def test_a_released_copy_has_no_open_files_and_does_not_read_its_successor(tmp_path: Path) -> None:
    before = len(own_descriptors())
    cache = Cache(str(tmp_path))
    geometry, buffer = Geometry(5), memoryview(bytearray(5))
    old = cache.create(TASK, geometry, Description(url="u", generation="g"))
    old.write(0, b"12345", xxhash.xxh3_128_digest(b"12345"))
    old.release()
    assert len(os.listdir("/proc/self/fd")) == before
    assert old.read_into(0, buffer) == 5
    old.release()
    new = cache.create(TASK, geometry, Description(url="u", generation="h", verified=""))
    new.write(0, b"abcde", xxhash.xxh3_128_digest(b"abcde"))
    assert not old.verify(0, buffer), "the old copy was replaced"
    assert list(new.record.available) == [0], "the old record does not count for the new copy"
    loaded = cache.load(TASK)
    assert loaded is not None
    assert not loaded[0].available.count(), "pieces do not count before they are verified"
    assert loaded[0].verify(0, buffer)
    assert bytes(buffer) == b"abcde"


def test_pieces_with_changed_bytes_or_digests_fail_verification(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path))
    buffer = memoryview(bytearray(4 << 20))
    file = cache.create(TASK, Geometry(3 * ((4 << 20) - 5)), Description(url="u", generation="g"))
    for n in range(3):
        content = bytes([n]) * file.geometry.content(n)[1]
        file.write(n, content, xxhash.xxh3_128_digest(content))
    os.pwrite(file.fd, b"x", 7)
    file.record.set_digest(2, bytes(16))
    assert [file.verify(n, buffer) for n in range(3)] == [False, True, False]
    assert list(file.available) == list(file.record.available) == [1]
    os.truncate(file.path, (4 << 20) + 100)
    assert file.drop_truncated() == [1]
    assert os.path.getsize(file.path) == file.geometry.length


def test_downloads_that_expect_another_length_end_before_the_task_has_a_length(tmp_path: Path) -> None:
    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), loop := asyncio.get_running_loop())
        pool, fetches = node.fetch_pool, node.fetches
        fetch = Fetch(TASK, FetchRequest("http://127.0.0.1:1/f"), node.cache, pool._post_if_current, fetches, fetches.room)
        fetch.file = node.cache.create(TASK, Geometry(-1), fetch.description)
        node.fetch_pool.fetches[TASK] = fetch
        node.fetches.fetch_head(fetch)
        node.fetches.fetch_piece(fetch, 0)
        peer = Peer("10.0.0.1", 15001, "/peer/file/x")
        for i in range(3000):
            node.swarm.join(TASK, str(i), peer, node.now())
            node.members.add((TASK, str(i)), RegisteredDownload("s", "", 1, peer, "10.0.0.1", expected_length=5 if i % 3 else 7))
        last = node.parked.park((TASK, "2999"), 1, 60.0)
        fetch.file.learn_length(7)
        clock = iter(range(1 << 20))
        node.registry._work._loop = SimpleNamespace(time=lambda: next(clock) * SLICE / 100, call_soon=loop.call_soon)  # type: ignore[assignment]
        node.fetches.fetch_ended(fetch)
        assert node.swarm.tasks[TASK].count == -1, "other callbacks of the loop run in between"
        assert len(node.members) > 2900
        while len(node.swarm.tasks[TASK].downloads) > 1000:
            assert node.swarm.tasks[TASK].count == -1
            await asyncio.sleep(0)
        assert b"7 bytes, 5 were expected" in (await last).body
        while node.registry._work._jobs:
            await asyncio.sleep(0)
        assert node.swarm.tasks[TASK].count == 1
        assert len(node.members) == 1000
        check(node.swarm)
        node.close()

    asyncio.run(play())
