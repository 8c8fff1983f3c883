"""A blob that is bound to a version: nothing is given of another one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from dfengine._piece import Geometry
from dfengine.proxy.blob import Blob, Reader
from dfengine.storage.memory_file import MemoryFile


def test_nothing_is_given_once_the_version_may_be_another_one() -> None:
    file = MemoryFile.allocate(Geometry(100, 50), b"v1")
    for n, (_, length) in enumerate(map(file.geometry.content, range(file.geometry.count))):
        file.write(n, bytes(length), bytes(16))
    blob = Blob.__new__(Blob)
    place: Any = SimpleNamespace(file=file)
    blob._transfer, blob._version, blob.named, blob.over, blob.right, blob.readers = place, b"", False, True, False, set()
    blob.loop = asyncio.new_event_loop()
    try:
        assert not blob.bind(b"v2")
        assert blob.failed
        assert blob.bind(b"v1")
        blob.right = True
        assert blob.bound
        assert not blob.failed
        reader = Reader(blob, file, (0, 100), lambda: None)
        assert reader.ready(0) == 100
        file.record.forget_generation()  # as before a byte of another version comes
        assert reader.ready(0) == 0
        assert blob.failed
        assert not blob.bound
    finally:
        blob.loop.close()
        file.close()
