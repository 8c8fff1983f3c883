"""A process at its limit of threads: work waits, fails with one clear error, or goes on once there are threads again."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.client import interrupt
from dfengine.client.download_thread import DownloadThread
from dfengine.errors import LocalError, SourceGone, SupernodeError
from dfengine.filesystem import open_files
from dfengine.filesystem.threads import Threads
from dfengine.net import node_names, stopping
from dfengine.net.event_log import EventLog
from dfengine.net.thread_pool import ThreadPool
from dfengine.origin import object_store
from dfengine.peer import content_announcer
from dfengine.proxy.blobs.blobs import Blobs
from dfengine.settings import GetSettings, ProxySettings, SupernodeAddress
from dfengine.storage import content_digests, tree_digests
from dfengine.supernode import complaint_verifier, reachability
from dfengine.supernode.copies.fair_pool import FairPool
from dfengine.supernode.copies.network_partition import can_reach_any

FULL = "can't start new thread"

NoThreads = Callable[[], Any]


@pytest.fixture
def no_threads() -> NoThreads:
    """Returns a context in which no thread can be started."""

    def refused(thread: threading.Thread) -> None:
        raise RuntimeError(FULL)

    @contextmanager
    def full() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading.Thread, "start", refused)
            yield

    return full


def test_a_name_is_resolved_later(no_threads: NoThreads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_names, "_names", {})
    monkeypatch.setattr(node_names, "FAILED", 0.0)
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, **_: [(0, 0, 0, "", ("10.0.0.1", port))])
    nodes = [SupernodeAddress.parse("dns://sn.test:9001")]
    with no_threads(), pytest.raises(SupernodeError, match=FULL):
        node_names.resolved(nodes)
    assert [str(node) for node in node_names.resolved(nodes)] == ["10.0.0.1:9001"]


def test_lines_of_the_event_log_are_written_later(no_threads: NoThreads) -> None:
    reader, writer = os.pipe()
    log = EventLog("json", "info", writer)
    with no_threads():
        log.info("first")
    log.info("second")
    log.close()
    os.close(writer)
    with os.fdopen(reader) as file:
        assert [json.loads(line)["event"] for line in file] == ["first", "second"]


def test_calls_of_the_file_system_fail_only_without_any_thread(no_threads: NoThreads) -> None:
    pool, begun, end = Threads(), threading.Event(), threading.Event()
    ran: list[int] = []

    def first() -> int:
        begun.set()
        end.wait(60)
        return 1

    async def play() -> None:
        with no_threads(), pytest.raises(RuntimeError, match=FULL):
            await pool.run(partial(ran.append, 0))
        running = pool.run(first)
        await asyncio.to_thread(begun.wait, 60)
        with no_threads():
            waiting = pool.run(lambda: 2)
        end.set()
        assert [await running, await waiting] == [1, 2]
        assert not ran, "a call that has failed is not run later"

    asyncio.run(play())


def test_a_download_is_closed_and_its_error_says_why(no_threads: NoThreads) -> None:
    closed: list[bool] = []
    download: Any = SimpleNamespace(run=lambda: None, close=lambda: closed.append(True), abandon=print)
    thread = DownloadThread(download, "open")
    with no_threads(), pytest.raises(LocalError, match=f"{FULL}: the host, or this user, has too many threads"):
        thread.start()
    assert closed
    assert thread.over
    thread.close()


def played(play: Callable[[asyncio.AbstractEventLoop], Coroutine[Any, Any, None]]) -> None:
    """Run `play` with its loop; it must end within a minute."""

    async def within() -> None:
        await asyncio.wait_for(play(asyncio.get_running_loop()), 60)

    asyncio.run(within())


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.02)


def test_calls_of_a_pool_wait_for_a_thread(no_threads: NoThreads) -> None:
    async def play(loop: asyncio.AbstractEventLoop) -> None:
        pool = ThreadPool(2, "test")
        with no_threads():
            waiting = [loop.run_in_executor(pool, partial(int, n)) for n in range(3)]
            await asyncio.sleep(0)
        assert await asyncio.gather(*waiting) == [0, 1, 2], "although no further call is made"
        with no_threads():
            last = pool.submit(int)
        pool.shutdown(cancel_futures=True)
        assert last.cancelled() or last.result() == 0
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit(int)

    played(play)


def test_a_pool_without_a_loop_refuses_a_call(no_threads: NoThreads) -> None:
    with no_threads(), pytest.raises(RuntimeError, match=FULL):
        ThreadPool(1, "test").submit(int)


def test_complaints_are_checked_later(no_threads: NoThreads, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    monkeypatch.setattr(complaint_verifier, "may_connect", lambda *_: True)
    monkeypatch.setattr(complaint_verifier.ComplaintVerifier, "_check", lambda self, complaint, *_: checked.append(complaint.task_id))
    record = SimpleNamespace(digest=lambda n: b"")
    fetches: Any = {name: SimpleNamespace(claim=None, file=SimpleNamespace(available=[0], record=record)) for name in "ab"}
    swarm: Any = SimpleNamespace(complaints=[SimpleNamespace(task_id=name, n=0, source=None) for name in "ab"])
    anything: Any = None

    async def play(loop: asyncio.AbstractEventLoop) -> None:
        verifier = complaint_verifier.ComplaintVerifier(loop, swarm, fetches, anything, anything, anything, anything)
        with no_threads():
            verifier.start()
        assert not checked
        await until(lambda: sorted(checked) == ["a", "b"])
        verifier.close()

    played(play)


def test_addresses_are_proved_later(no_threads: NoThreads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "is_peer", lambda *_: True)
    monkeypatch.setattr(reachability, "may_be_probed", lambda *_: True)
    proved: list[Any] = []
    swarm: Any = SimpleNamespace(unproved=lambda key: key not in proved, prove=proved.append)
    anything: Any = None
    keys = [(f"10.0.0.{n}", 20001, "9.9.9.9") for n in range(reachability.AT_ONCE + 2)]

    async def play(loop: asyncio.AbstractEventLoop) -> None:
        proofs = reachability.Reachability(loop, swarm, lambda: None, anything, 75, lambda: anything)
        with no_threads():
            for key in keys[: reachability.AT_ONCE]:
                proofs.check(key)
        for key in keys[reachability.AT_ONCE :]:
            proofs.check(key)
        await until(lambda: sorted(proved) == sorted(keys))
        proofs.close()

    played(play)


def test_fetches_start_later(no_threads: NoThreads) -> None:
    ran: list[int] = []
    fetch: Any = SimpleNamespace()

    async def play(loop: asyncio.AbstractEventLoop) -> None:
        pool = FairPool("fetch", 2, 50, loop.call_soon_threadsafe)
        with no_threads():
            pool.submit(fetch, partial(ran.append, 1), "1.1.1.1")
        pool.submit(object(), partial(ran.append, 2), "1.1.1.1")  # type: ignore[arg-type]
        await until(lambda: ran == [1, 2])
        await until(lambda: not pool.shares.full("1.1.1.1"))
        pool.close()

    played(play)


def test_an_announcement_is_sent_later_to_each_supernode(no_threads: NoThreads, monkeypatch: pytest.MonkeyPatch) -> None:
    shared: Any = SimpleNamespace(name="n", until=1e18, url="u")
    monkeypatch.setattr(content_announcer, "listed", lambda home: [shared])
    monkeypatch.setattr(content_announcer, "is_whole", lambda *_: True)
    monkeypatch.setattr(content_announcer, "_supernodes", lambda *_: [("s1", True), ("s2", True)])
    sent: list[Any] = []
    monkeypatch.setattr(content_announcer.ContentAnnouncer, "_announce", lambda self, node, due: sent.append(node))
    anything: Any = SimpleNamespace()

    async def play(loop: asyncio.AbstractEventLoop) -> None:
        announcer = content_announcer.ContentAnnouncer(anything, 1, time.time, anything)
        with no_threads():
            announcer.refresh()
        await until(lambda: sorted(sent) == ["s1", "s2"])
        await announcer.close()

    played(play)


def test_blobs_are_evicted_later(no_threads: NoThreads, tmp_path: Path) -> None:
    async def play(loop: asyncio.AbstractEventLoop) -> None:
        blobs = Blobs(loop, ProxySettings(home=str(tmp_path)), None)  # type: ignore[arg-type]
        with no_threads():
            blobs.sweep()
        assert blobs._evicting
        await until(lambda: not blobs._evicting)
        blobs.close()

    played(play)


def test_a_supernode_that_is_cut_off_is_detected_by_one_thread(no_threads: NoThreads) -> None:
    """An error would end the fetch, and its copy would be removed."""
    tried: list[str] = []

    def connect(host: str, port: int, timeout: float) -> Any:
        tried.append(host)
        if host != "10.0.0.3":
            raise SourceGone("refused")
        return SimpleNamespace(close=lambda: None)

    dialer: Any = SimpleNamespace(connect=connect)
    with no_threads():
        assert can_reach_any(dialer, ["10.0.0.1:1", "10.0.0.3:1"])
        assert not can_reach_any(dialer, ["10.0.0.2:1"])
    assert tried == ["10.0.0.1", "10.0.0.3", "10.0.0.2"]


def test_idle_open_files_are_closed_although_no_timer_can_start(no_threads: NoThreads, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(open_files, "IDLE", 0.2)

    def opened(url: str) -> Any:
        return SimpleNamespace(close=lambda: closed.append(url))

    files = open_files.OpenFiles(opened)
    first, _ = files.acquire("a")
    with no_threads():
        files.release(first)
    second, _ = files.acquire("b")
    files.release(second)
    deadline = time.monotonic() + 60
    while sorted(closed) != ["a", "b"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sorted(closed) == ["a", "b"]


def test_content_cannot_be_shared(no_threads: NoThreads, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_bytes(b"content")
    with no_threads():
        with pytest.raises(LocalError, match=FULL):
            content_digests.read(str(tmp_path / "d" / "file"), ["xxh3"])
        with pytest.raises(LocalError, match=FULL):
            tree_digests.read(str(tmp_path / "d"), ["xxh3"])


def test_a_server_ends_without_a_thread(no_threads: NoThreads, monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop waits for the loop's executor in a thread."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)

    async def main() -> None:
        await asyncio.to_thread(int)

    stopping.serve(main())
    assert codes == []

    async def at_the_limit() -> None:
        await asyncio.to_thread(int)
        patch.setattr(threading.Thread, "start", refuse)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError(FULL)

    with pytest.MonkeyPatch.context() as patch:
        stopping.serve(at_the_limit())
    assert codes == [0]


def test_an_object_store_cannot_be_used(no_threads: NoThreads) -> None:
    with no_threads(), pytest.raises(LocalError, match=FULL):
        object_store.run_cancellable(lambda: "signed", lambda: None)


def test_a_second_signal_still_ends_the_process(no_threads: NoThreads, monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with no_threads():
        interrupt._exit_process(GetSettings(url="http://h/f", output="out"), 2, lambda *_: None)
    assert codes == [130]
