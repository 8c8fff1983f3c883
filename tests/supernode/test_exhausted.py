"""A process without a free descriptor keeps its copies, and names the lack in its responses."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import xxhash

from dfengine._piece import Geometry
from dfengine.errors import OutOfResources
from dfengine.net.http import BadRequest, Request
from dfengine.supernode.copies import legacy_md5
from dfengine.supernode.copies.cache import Cache, Description
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.copies.fetch_thread import fail
from dfengine.supernode.copies.repair import fetch_missing
from dfengine.supernode.copies.scrubber import Scrubber
from dfengine.supernode.download_port import DownloadRoutes

TASK = "cd" * 32
SIZE = (4 << 20) - 5


@pytest.fixture(name="cache")
def new_cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path))


@pytest.fixture(name="fetch")
def fetched(cache: Cache) -> Fetch:
    """A fetch with a complete copy, which is not open."""
    fetch = Fetch(TASK, FetchRequest("http://127.0.0.1:1/f"), cache, lambda *_: None, None, None)  # type: ignore[arg-type]
    fetch.description = Description(url="u", generation="g")
    file = fetch.file = cache.create(TASK, Geometry(2 * SIZE), fetch.description)
    for n in range(2):
        content = bytes([n]) * SIZE
        file.write(n, content, xxhash.xxh3_128_digest(content))
    file.release()
    return fetch


@pytest.fixture(name="exhaust", params=[errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def exhausting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(request.param, os.strerror(request.param))

    def exhaust() -> None:
        monkeypatch.setattr(os, "open", refuse)
        monkeypatch.setattr("builtins.open", refuse)

    return exhaust


def test_a_request_is_answered_503_and_the_copy_is_not_scrubbed(fetch: Fetch, exhaust: Callable[[], None]) -> None:
    scrubbed: list[object] = []
    routes = DownloadRoutes(lambda task: fetch, lambda *what: scrubbed.append(what), lambda *_: None)
    exhaust()
    with pytest.raises(BadRequest) as refused:
        routes(Request("GET", f"/piece/{TASK}".encode(), {"range": "bytes=0-99"}, b"", "127.0.0.1"))
    assert refused.value.status == 503
    assert not scrubbed


def test_a_reported_piece_that_cannot_be_read_now_is_kept(fetch: Fetch, exhaust: Callable[[], None]) -> None:
    file = fetch.file
    assert file is not None

    async def scene() -> None:
        damaged: list[int] = []
        scrubbed: Any = SimpleNamespace(task="t", file=file, piece_damaged=damaged.append)
        scrubber = Scrubber(asyncio.get_running_loop())
        exhaust()
        scrubber.scrub(scrubbed, 1, "127.0.0.1")
        async with asyncio.timeout(60):
            while scrubber._known:
                await asyncio.sleep(0.001)
        scrubber.close()
        assert not damaged

    asyncio.run(scene())
    assert list(file.available) == [0, 1]


def test_no_verification_drops_a_piece_that_cannot_be_read_now(fetch: Fetch, exhaust: Callable[[], None]) -> None:
    file = fetch.file
    assert file is not None
    buffer = file.buffer()
    exhaust()
    with pytest.raises(OutOfResources):
        file.verify(0, buffer)
    with pytest.raises(OutOfResources):
        fetch_missing(fetch, file)
    assert not legacy_md5.compute(fetch, file, wait=False)
    assert list(file.available) == [0, 1]


def test_a_fetch_that_fails_for_it_leaves_its_copy(cache: Cache, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "disk", SimpleNamespace(space_freed=lambda: None))
    monkeypatch.setattr(fetch, "post", lambda *_: None)
    monkeypatch.setattr(fetch, "events", SimpleNamespace(fetch_failed=None))
    fail(fetch, OutOfResources("no descriptor"))
    assert cache.has(TASK)


def test_a_copy_that_cannot_be_opened_now_is_not_taken_as_absent(cache: Cache, fetch: Fetch, exhaust: Callable[[], None]) -> None:
    assert isinstance(fetch.file, Copy)
    exhaust()
    with pytest.raises(OutOfResources):
        cache.load(TASK)
