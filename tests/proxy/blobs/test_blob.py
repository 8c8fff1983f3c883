"""Blobs bound to a version, and readers that wait for the digest."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine._piece import Geometry
from dfengine.errors import LocalError
from dfengine.files.open_file_storage import MEMORY, OpenFileStorage
from dfengine.proxy.blobs import blob as blobs_blob
from dfengine.proxy.blobs.blob import Blob, Reader
from dfengine.settings import GetSettings
from dfengine.storage.memory_file import MemoryFile

SETTINGS = GetSettings(url="http://127.0.0.1:1/f", output="")


def test_a_reader_gets_no_bytes_once_the_version_may_have_changed() -> None:
    file = MemoryFile.allocate(Geometry(100, 50), b"v1")
    for n, (_, length) in enumerate(map(file.geometry.content, range(file.geometry.count))):
        file.write(n, bytes(length), bytes(16))
    blob = Blob.__new__(Blob)
    place: Any = SimpleNamespace(file=file)
    blob._transfer, blob._version, blob.by_digest, blob.finished, blob.verified, blob.readers = place, b"", False, True, False, set()
    blob.corrupt = False
    blob.loop = asyncio.new_event_loop()
    try:
        assert not blob.bind(b"v2")
        assert blob.failed
        assert blob.bind(b"v1")
        blob.verified = True
        assert blob.bound
        assert not blob.failed
        reader = Reader(blob, file, (0, 100), lambda: None)
        assert reader.ready(0) == 100
        file.record.forget_generation()  # as happens before a byte of another version is written
        assert reader.ready(0) == 0
        assert blob.failed
        assert not blob.bound
    finally:
        blob.loop.close()
        file.close()


def test_a_range_that_ends_at_the_last_byte_waits_for_the_digest_of_a_complete_file(monkeypatch: pytest.MonkeyPatch) -> None:
    file = MemoryFile.allocate(Geometry(90, 50), b"v1")  # two pieces of 45 bytes
    blob = Blob.__new__(Blob)
    place: Any = SimpleNamespace(file=file, request=lambda pieces, told: None)
    blob._transfer, blob._version, blob.by_digest, blob.finished, blob.verified, blob.readers = place, b"", True, False, False, set()
    blob.corrupt, blob.swarm = False, False
    try:
        file.write(1, bytes(45), bytes(16))
        end, middle, whole = (Reader(blob, file, span, lambda: None) for span in ((60, 90), (60, 80), (0, 90)))
        assert (end.ready(60), middle.ready(60), whole.ready(0)) == (30, 20, 0)
        file.write(0, bytes(45), bytes(16))
        assert (end.ready(60), middle.ready(60), whole.ready(0)) == (29, 20, 0)  # a small blob is sent once its digest is verified
        monkeypatch.setattr(blobs_blob, "MIN_WITHHELD", 89)
        assert (end.ready(60), middle.ready(60), whole.ready(0)) == (29, 20, 89)
        assert end.ready(89) == 0
        blob.finished = blob.verified = True
        assert (end.ready(60), middle.ready(60), whole.ready(0)) == (30, 20, 90)
        blob.verified, blob.corrupt = False, True
        assert (end.ready(60), middle.ready(60), whole.ready(0)) == (0, 0, 0)
        assert blob.failed
    finally:
        file.close()


class Fetching:
    """A download that receives nothing, and ends when it is stopped."""

    def __init__(self, settings: GetSettings, on_finished: Callable[[], object], verify: object) -> None:
        self.place = OpenFileStorage(settings, "0" * 64, MEMORY)
        self.failure: BaseException | None = None
        self._on_finished, self._stopped = on_finished, threading.Event()

    def run(self) -> None:
        self._stopped.wait()
        self._on_finished()

    def stop(self, error: BaseException) -> None:
        self.failure = error
        self._stopped.set()

    def close(self) -> None:
        self.place.close()


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadPoolExecutor]:
    monkeypatch.setattr(blobs_blob, "_BlobFetching", Fetching)
    monkeypatch.setattr(blobs_blob, "OPEN_SECONDS", 3600.0)
    with ThreadPoolExecutor(1) as made:
        yield made


async def closed(blob: Blob) -> None:
    closing = blob.close()
    assert closing is not None
    await closing


def test_a_blob_of_unknown_length_delays_no_other_blob(pool: ThreadPoolExecutor) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        silent, other = (Blob(loop, pool, SETTINGS, lambda blob: None) for _ in range(2))
        waiting = loop.create_task(silent.opened())
        opening = loop.create_task(other.opened())
        await asyncio.sleep(0)
        assert not silent.idle
        assert not other.idle
        await asyncio.to_thread(other._fetching.place.open, Geometry(100, 50), b"v1")
        async with asyncio.timeout(60):
            assert (await opening).geometry.length == 100
            await closed(other)
            assert not waiting.done()
            await closed(silent)
            with pytest.raises(LocalError, match="not needed any more"):
                await waiting

    asyncio.run(run())


def test_a_blob_is_idle_once_the_clients_that_wait_for_its_length_have_disconnected(pool: ThreadPoolExecutor) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        blob = Blob(loop, pool, SETTINGS, lambda blob: None)
        waiting = [loop.create_task(blob.opened()) for _ in range(2)]
        await asyncio.sleep(0)
        for each in waiting:
            assert not blob.idle
            each.cancel()
            await asyncio.wait([each])
        assert blob.idle
        again = loop.create_task(blob.opened())
        await asyncio.to_thread(blob._fetching.place.open, Geometry(100, 50), b"v1")
        async with asyncio.timeout(60):
            assert (await again).geometry.length == 100
        await closed(blob)

    asyncio.run(run())


def test_a_request_waits_for_a_length_that_is_forgotten_until_another_is_known(pool: ThreadPoolExecutor) -> None:
    """A download forgets the length when the file is another version before any reader has seen it."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        blob = Blob(loop, pool, SETTINGS, lambda blob: None)
        place = blob._fetching.place
        waiting = loop.create_task(blob.opened())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        place.open(Geometry(100, 50), b"v1")  # on the loop's thread, which learns of it afterwards
        place.forget()
        await asyncio.sleep(0)
        await asyncio.to_thread(place.open, Geometry(70, 50), b"v2")
        async with asyncio.timeout(60):
            assert (await waiting).geometry.length == 70
        await closed(blob)

    asyncio.run(run())


def test_a_request_ends_after_the_time_to_learn_the_length(pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs_blob, "OPEN_SECONDS", 0.01)

    async def run() -> None:
        blob = Blob(asyncio.get_running_loop(), pool, SETTINGS, lambda blob: None)
        for _ in range(2):
            with pytest.raises(LocalError, match="not opened in time"):
                await blob.opened()
            assert blob.idle
        await closed(blob)

    asyncio.run(run())
