"""A process at its limit of threads: work waits, fails with one clear error, or goes on once there are threads again."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.client import interrupt
from dfengine.client.download_thread import DownloadThread
from dfengine.errors import LocalError, SupernodeError
from dfengine.filesystem.threads import Threads
from dfengine.net import node_names
from dfengine.net.event_log import EventLog
from dfengine.origin import object_store
from dfengine.settings import GetSettings, SupernodeAddress
from dfengine.supernode import complaint_verifier

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


def test_complaints_are_checked_later(no_threads: NoThreads, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    monkeypatch.setattr(complaint_verifier, "may_connect", lambda *_: True)
    monkeypatch.setattr(complaint_verifier.ComplaintVerifier, "_check", lambda self, complaint, *_: checked.append(complaint.task_id))
    record = SimpleNamespace(digest=lambda n: b"")
    fetches: Any = {name: SimpleNamespace(claim=None, file=SimpleNamespace(available=[0], record=record)) for name in "abc"}
    swarm: Any = SimpleNamespace(complaints=[SimpleNamespace(task_id=name, n=0, source=None) for name in "ab"])
    anything: Any = None
    verifier = complaint_verifier.ComplaintVerifier(anything, swarm, fetches, anything, anything, anything, anything)
    with no_threads():
        verifier.start()
    assert not checked
    swarm.complaints.append(SimpleNamespace(task_id="c", n=0, source=None))
    verifier.start()
    verifier._threads.shutdown()
    assert checked == ["a", "b", "c"]


def test_an_object_store_cannot_be_used(no_threads: NoThreads) -> None:
    with no_threads(), pytest.raises(LocalError, match=FULL):
        object_store.run_cancellable(lambda: "signed", lambda: None)


def test_a_second_signal_still_ends_the_process(no_threads: NoThreads, monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with no_threads():
        interrupt._exit_process(GetSettings(url="http://h/f", output="out"), 2, lambda *_: None)
    assert codes == [130]
