"""A fetch's thread: files that it leaves on disk, and the state that the event loop sees meanwhile."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine._piece import Geometry
from dfengine.copy_states import SUCCESS, WAITING
from dfengine.errors import DigestMismatch, DiskFull, OriginUnreachable, SourceGone, StorageError
from dfengine.origin.cancel import Cancel
from dfengine.origin.version import Version
from dfengine.supernode.copies import fetch_thread, following
from dfengine.supernode.copies.cache import Cache, Description
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.eviction import DiskSpace
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.fetch_request import FetchRequest

TASK = "ab" * 32


def fetch_of(cache: Cache) -> Fetch:
    """A fetch whose events are not handled."""
    events: Any = SimpleNamespace(fetch_head=None, fetch_pieces=None, fetch_failed=None)
    return Fetch(TASK, FetchRequest("http://127.0.0.1:1/f"), cache, lambda *_: None, events, DiskSpace(cache, None, None, 0, 0))  # type: ignore[arg-type]


def begin(fetch: Fetch, etag: str) -> Copy:
    """Begin the copy of an origin's response with this ETag and 5 bytes."""
    body: Any = SimpleNamespace(version=Version(etag, length=5), length=5, vary=frozenset())
    return fetch_thread._begin(fetch, body, None)[0]


def test_a_stopped_fetch_does_not_change_the_copy_of_the_next_fetch(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path))
    old, new = fetch_of(cache), fetch_of(cache)
    old.file = begin(old, '"old"')
    old.stop()
    fresh = begin(new, '"new"')
    fresh.write(0, b"abcde", cache.piece_digest(memoryview(b"abcde")))
    for use in (lambda: begin(old, '"old"'), old.describe, lambda: fetch_thread._run(old)):
        old.file = None
        with pytest.raises(OriginUnreachable):
            use()
    old.file = fresh
    fetch_thread.fail(old, DigestMismatch("its md5 is another"))
    loaded = cache.load(TASK)
    assert loaded is not None
    assert loaded[1].etag == '"new"'
    assert loaded[0].verify(0, memoryview(bytearray(5)))


def test_a_copy_being_created_by_a_stopped_fetch_is_replaced_by_the_next_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(str(tmp_path))
    old, new = fetch_of(cache), fetch_of(cache)
    inside, go = threading.Event(), threading.Event()
    create = Copy.create

    def slowly(*given: Any) -> Copy:
        if given[-1] == old.description.generation.encode():
            inside.set()
            go.wait(60)
        return create(*given)

    monkeypatch.setattr(Copy, "create", slowly)
    threads = [threading.Thread(target=begin, args=(fetch, etag)) for fetch, etag in ((old, '"old"'), (new, '"new"'))]
    threads[0].start()
    assert inside.wait(60)
    old.stop()
    threads[1].start()
    threads[1].join(0.2)
    go.set()
    for thread in threads:
        thread.join(60)
    loaded = cache.load(TASK)
    assert loaded is not None
    assert loaded[1].etag == '"new"'
    assert loaded[0].record.generation == new.description.generation.encode()


def test_a_copy_whose_record_and_description_differ_in_generation_is_removed(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path))
    cache.create(TASK, Geometry(5), Description(url="u", generation="g" * 20, verified=""))
    assert cache.load(TASK) is not None, "a record keeps 16 bytes of its name"
    cache.write_description(TASK, Description(url="u", generation="h", verified=""))
    assert cache.load(TASK) is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_loop_sees_the_old_file_until_it_is_notified_of_the_renewal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(str(tmp_path))
    posted = queue.Queue[Any]()
    fetch = fetch_of(cache)
    fetch.post = lambda *event: posted.put(event)
    heard: list[bool] = []
    fetch.file = old = cache.create(TASK, Geometry(5), fetch.description)
    fetch.events = SimpleNamespace(fetch_renewed=lambda fetch: heard.append(fetch.file is old))
    begun = threading.Event()
    monkeypatch.setattr(fetch_thread, "_fetch", lambda fetch, found: begun.set())
    thread = threading.Thread(target=fetch_thread._renew, args=(fetch,))
    thread.start()
    event, *given = posted.get(timeout=60)
    assert not begun.wait(0.1)
    assert fetch.file is old
    event(*given)
    assert begun.wait(60)
    assert heard == [True]
    assert [fetch.file, fetch.state] == [None, WAITING]
    thread.join(60)


def test_a_fetch_that_loses_the_lead_any_number_of_times_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(str(tmp_path))
    fetch = fetch_of(cache)
    fetch.events.fetch_ended = None  # type: ignore[assignment,method-assign]
    losses = 2 * sys.getrecursionlimit()
    body: Any = SimpleNamespace(version=Version('"e"', length=5), length=5, vary=frozenset())

    def read_gaps(fetch: Fetch, origin: object, body: object, file: Copy, gaps: object) -> None:
        nonlocal losses
        losses -= 1
        if losses:
            fetch.lead_taken("h:1", 0.0)
            raise SourceGone("the download was stopped")
        file.write(0, b"abcde", cache.piece_digest(memoryview(b"abcde")))

    monkeypatch.setattr(following, "may_follow", lambda _: True)
    monkeypatch.setattr(following, "follow", lambda *_: following.ORIGIN)
    monkeypatch.setattr(fetch_thread, "open_origin", lambda *_, **__: (None, body))
    monkeypatch.setattr(fetch_thread, "read_gaps", read_gaps)
    fetch_thread.run(fetch)
    assert (fetch.state, fetch.error, losses) == (SUCCESS, None, 0)


def test_a_fetch_whose_supernode_may_not_follow_reads_on_when_another_takes_the_lead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(str(tmp_path))
    fetch, opened = fetch_of(cache), 0
    fetch.events.fetch_ended = None  # type: ignore[assignment,method-assign]
    body: Any = SimpleNamespace(version=Version('"e"', length=5), length=5, vary=frozenset())

    def open_origin(fetch: Fetch, **_: object) -> Any:
        nonlocal opened
        opened += 1
        if opened > 1:
            fetch.stop()
        if fetch.cancel is not None:
            fetch.cancel.close()
        fetch.cancel = Cancel()
        fetch.lead_taken("h:1", 0.0)  # before it reads
        return None, body

    def read_gaps(fetch: Fetch, origin: object, body: object, file: Copy, gaps: object) -> None:
        fetch.lead_taken("h:1", 0.0)
        if fetch.cancel is not None and fetch.cancel.is_set:
            raise SourceGone("the download was stopped")
        file.write(0, b"abcde", cache.piece_digest(memoryview(b"abcde")))

    monkeypatch.setattr(following, "may_follow", lambda _: True)
    monkeypatch.setattr(fetch_thread, "may_use_leader", lambda *_: False)
    monkeypatch.setattr(fetch_thread, "open_origin", open_origin)
    monkeypatch.setattr(fetch_thread, "read_gaps", read_gaps)
    fetch_thread.run(fetch)
    assert (fetch.state, fetch.error, opened) == (SUCCESS, None, 1)


@pytest.mark.parametrize("length", [-1, 5])
def test_a_copy_of_unknown_length_is_not_complete_when_the_lead_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """The next leader reads the same origin, and knows the length no better. The rest is read here."""
    fetch, read, ended = fetch_of(Cache(str(tmp_path))), list[Any](), list[Fetch]()
    body: Any = SimpleNamespace(version=Version('"v"', length=length), length=length, vary=frozenset(), close=lambda: None)
    file = fetch_thread._begin(fetch, body, None)[0]
    file.write(0, b"abcde", fetch.cache.piece_digest(memoryview(b"abcde")))
    monkeypatch.setattr(following, "may_follow", lambda *_: True)
    monkeypatch.setattr(following, "follow", lambda *_: following.ORIGIN)
    monkeypatch.setattr(fetch_thread, "may_use_leader", lambda *_: True)
    monkeypatch.setattr(fetch_thread, "open_origin", lambda *_, **__: (None, body))
    monkeypatch.setattr(fetch_thread, "_read", lambda *given: read.append(given))
    monkeypatch.setattr(fetch_thread, "_finish", lambda fetch, file: ended.append(fetch))
    fetch_thread._fetch(fetch, (file, fetch.description))
    assert (len(read), len(ended)) == ((1, 0) if length < 0 else (0, 1))


def test_a_copy_of_unknown_length_is_never_declared_complete(tmp_path: Path) -> None:
    fetch = fetch_of(Cache(str(tmp_path)))
    body: Any = SimpleNamespace(version=Version('"v"'), length=-1, vary=frozenset())
    file = fetch_thread._begin(fetch, body, None)[0]
    file.write(0, b"abcde", fetch.cache.piece_digest(memoryview(b"abcde")))
    with pytest.raises(StorageError, match="the length of the file is unknown"):
        fetch_thread._finish(fetch, file)
    assert not fetch.description.complete
    assert fetch.state != SUCCESS


def test_a_stopped_fetch_does_not_wait_for_the_loop(tmp_path: Path) -> None:
    fetch = fetch_of(Cache(str(tmp_path)))
    fetch.events = SimpleNamespace(fetch_renewed=None)
    fetch.file = fetch.cache.create(TASK, Geometry(5), fetch.description)
    threading.Timer(0.05, fetch.stop).start()
    with pytest.raises(OriginUnreachable):
        fetch_thread._renew(fetch)


def test_room_is_made_for_the_description_of_a_copy_that_was_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = fetch_of(Cache(str(tmp_path)))
    description = fetch.description
    fetch.file = file = fetch.cache.create(TASK, Geometry(5), description)
    file.write(0, b"abcde", fetch.cache.piece_digest(memoryview(b"abcde")))
    monkeypatch.setattr(fetch_thread, "read_gaps", lambda fetch, origin, body, *_, **how: body.version)
    tried: list[int] = []

    def write(task: str, work: Callable[[], object]) -> object:
        tried.append(2)
        return work()

    def full(*_: object) -> None:
        tried.append(1)
        raise DiskFull("no space")

    monkeypatch.setattr(fetch.cache, "write_description", full)
    monkeypatch.setattr(fetch.disk, "write", write)
    body: Any = SimpleNamespace(version=Version('"new"', length=5), length=5, vary=frozenset())
    assert fetch_thread._has_same_bytes(fetch, None, body, file, description, False)  # type: ignore[arg-type]
    assert tried == [2, 1], "room is made first"
    assert description.etag == '"new"'
    assert fetch.state == SUCCESS
