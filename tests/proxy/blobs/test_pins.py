"""Pinned blobs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dfengine.errors import StorageError
from dfengine.proxy.blobs import pins
from dfengine.proxy.blobs.blob_store import BlobStore

NAMES = ("a" * 64, "b" * 64 + "." + "1" * 16, "c" * 64)


def fill(home: Path) -> BlobStore:
    """Three blobs of 1 MiB each; the first is the least recently used."""
    store = BlobStore(str(home))
    for n, name in enumerate(NAMES):
        path = home / "blobs" / name
        path.write_bytes(bytes(1 << 20))
        os.utime(path, (1e9 + n, 1e9))
    (home / "blobs" / "something else").write_bytes(b"x")
    (home / "blobs" / ("d" * 64)).symlink_to("/etc/passwd")
    return store


def test_blobs_are_listed(tmp_path: Path) -> None:
    assert pins.listed(str(tmp_path)) == []
    fill(tmp_path)
    found = pins.listed(str(tmp_path))
    assert [blob.name for blob in found] == list(NAMES)
    assert [blob.content for blob in found] == [f"df:sha256:{name[:64]}" for name in NAMES]
    assert {(blob.length, blob.pinned) for blob in found} == {(1 << 20, False)}


def test_pinned_blobs_are_never_evicted(tmp_path: Path) -> None:
    home, store = str(tmp_path), fill(tmp_path)
    pins.pin(home, NAMES[0], True)
    pins.pin(home, NAMES[0], True)
    assert pins.pinned(home) == {NAMES[0]}
    store.evict(5 << 19)
    assert [(blob.name, blob.pinned) for blob in pins.listed(home)] == [(NAMES[0], True), (NAMES[2], False)]
    store.evict(1)
    assert [blob.name for blob in pins.listed(home)] == [NAMES[0]]
    pins.pin(home, NAMES[0], False)
    pins.pin(home, NAMES[0], False)
    store.evict(1)
    assert pins.listed(home) == []


def test_dropping_a_blob_removes_its_pin(tmp_path: Path) -> None:
    home = str(tmp_path)
    fill(tmp_path)
    pins.pin(home, NAMES[1], True)
    pins.drop(home, next(blob for blob in pins.listed(home) if blob.name == NAMES[1]))
    assert (len(pins.listed(home)), pins.pinned(home)) == (2, frozenset())


def test_pins_in_a_directory_writable_by_others_are_ignored(tmp_path: Path) -> None:
    home = str(tmp_path)
    pins.pin(home, NAMES[0], True)
    (tmp_path / pins.PINNED).chmod(0o777)
    assert pins.pinned(home) == frozenset()


def test_pinning_fails_if_the_pin_directory_is_a_file(tmp_path: Path) -> None:
    (tmp_path / pins.PINNED).write_bytes(b"")
    assert pins.pinned(str(tmp_path)) == frozenset()
    with pytest.raises(StorageError):
        pins.pin(str(tmp_path), NAMES[0], True)
