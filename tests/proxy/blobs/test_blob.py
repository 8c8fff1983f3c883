"""Blobs bound to a version, and readers that wait for the digest."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine._piece import Geometry
from dfengine.proxy.blobs import blob as blobs_blob
from dfengine.proxy.blobs.blob import Blob, Reader
from dfengine.storage.memory_file import MemoryFile


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
