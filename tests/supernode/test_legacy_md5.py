"""Threads that compute the md5s for 1.x, while a fetch begins several generations of the file."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine._piece import Geometry
from dfengine.copy_states import SUCCESS
from dfengine.supernode.copies import fetch_pool, fetch_thread
from dfengine.supernode.copies.cache import Cache, Description
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.eviction import DiskSpace
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.fetch_pool import FetchPool
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.copies.legacy_md5 import compute_md5s

TASK = "ab" * 32


class Loop:
    """An event loop whose posted calls run when the test calls `turn`."""

    def __init__(self) -> None:
        self.posted: queue.Queue[tuple[Callable[..., object], tuple[Any, ...]]] = queue.Queue()

    def post(self, call: Callable[..., object], *given: Any) -> None:
        self.posted.put((call, given))

    def turn(self) -> None:
        call, given = self.posted.get(timeout=60)
        call(*given)


class Scene:
    """A fetch without an origin, and md5 threads, each of which ends when the test allows it."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = Loop()
        self.followed: queue.Queue[Copy | None] = queue.Queue()
        self.go: queue.Queue[None] = queue.Queue()
        events: Any = SimpleNamespace(**dict.fromkeys(("fetch_md5", "fetch_ended", "fetch_failed", "fetch_damaged"), lambda *_: None))
        cache = Cache(str(home))
        room = DiskSpace(cache, None, None, 0, 0)  # type: ignore[arg-type]
        self.fetch_pool = FetchPool(cache, self.loop.post, events, room)
        self.fetch = Fetch(TASK, FetchRequest("http://127.0.0.1:1/f"), cache, lambda *_: None, events, room)

        def slowly(fetch: Fetch) -> Copy | None:
            found = compute_md5s(fetch)
            self.followed.put(found)
            self.go.get(timeout=60)
            return found

        monkeypatch.setattr(fetch_pool, "compute_md5s", slowly)

    def generation(self, content: bytes) -> Copy:
        """Begin the copy of a file of one piece."""
        description = Description(url="u", generation=content.hex(), verified="")
        file = self.fetch_pool.cache.create(TASK, Geometry(len(content)), description)
        file.write(0, content, self.fetch_pool.cache.piece_digest(memoryview(content)))
        self.fetch.description, self.fetch.file = description, file
        self.fetch.notify()
        return file


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    made = Scene(tmp_path, monkeypatch)
    yield made
    made.fetch.stop()
    for _ in range(9):
        made.go.put(None)
    made.fetch_pool.close()


def test_a_generation_that_begins_while_a_thread_ends_gets_one_new_thread(scene: Scene) -> None:
    first = scene.generation(b"first")
    scene.fetch_pool.compute_md5s(scene.fetch)
    assert scene.followed.get(timeout=60) is first
    assert scene.fetch.md5 == hashlib.md5(b"first").hexdigest()
    second = scene.generation(b"second")
    scene.fetch_pool.compute_md5s(scene.fetch)  # a 1.x client registers: the previous thread still counts, and does not see this generation
    scene.fetch_pool.compute_md5s(scene.fetch)
    assert scene.followed.empty()
    scene.go.put(None)
    scene.loop.turn()
    scene.loop.turn()  # the client's thread is returned
    assert scene.fetch.computing_md5
    assert scene.followed.get(timeout=60) is second
    assert scene.fetch.md5 == hashlib.md5(b"second").hexdigest()
    scene.go.put(None)
    scene.loop.turn()
    scene.loop.turn()  # the client's thread is returned
    assert not scene.fetch.computing_md5
    assert scene.followed.empty()
    assert scene.loop.posted.empty()


def test_a_thread_continues_with_the_next_generation(scene: Scene) -> None:
    scene.fetch_pool.compute_md5s(scene.fetch)
    empty = scene.fetch_pool.cache.create(TASK, Geometry(5), Description(url="u", generation="g", verified=""))
    scene.fetch.file = empty
    scene.fetch.notify()
    scene.fetch.file = None
    last = scene.generation(b"last")
    assert scene.followed.get(timeout=60) is last
    assert list(last.md5s) == [0]


def test_an_expected_md5_is_computed_when_no_thread_follows(scene: Scene) -> None:
    """This happens after another generation began; otherwise no md5 would be compared with the expected one."""
    scene.fetch.request = FetchRequest("http://127.0.0.1:1/f", md5=hashlib.md5(b"data").hexdigest())
    scene.generation(b"data")
    fetch_thread.refetch_lost(scene.fetch)
    assert scene.fetch.state == SUCCESS
    assert scene.fetch.error is None


def test_stopping_while_an_md5_is_awaited_keeps_the_copy(scene: Scene) -> None:
    scene.fetch.request = FetchRequest("http://127.0.0.1:1/f", md5="0" * 32)
    scene.generation(b"data")
    scene.fetch.computing_md5 = True
    waiting = threading.Thread(target=fetch_thread.refetch_lost, args=(scene.fetch,))
    waiting.start()
    scene.fetch.stop()
    waiting.join(60)
    assert not waiting.is_alive()
    assert scene.fetch_pool.cache.load(TASK) is not None
