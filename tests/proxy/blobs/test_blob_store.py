"""Blobs on disk that another program changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dfengine.proxy.blobs.blob_store import BlobStore

DATA = bytes(range(256)) * 4096


def kept(home: Path) -> tuple[BlobStore, str, Path]:
    """Return a store with one blob, the blob's name and its path."""
    store, name = BlobStore(str(home)), hashlib.sha256(DATA).hexdigest()
    part = home / "part"
    part.write_bytes(DATA)
    with part.open("rb") as file:
        assert store.add(name, str(part), file.fileno())
    return store, name, home / "blobs" / name


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(70000)
        file.write(b"wrong")


def cut(path: Path) -> None:
    os.truncate(path, 70000)


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(bytes(len(DATA)))
    other.rename(path)


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("change", [overwritten, cut, replaced])
def test_changed_blobs_are_not_found_and_are_removed(tmp_path: Path, change: Callable[[Path], None], restored: bool) -> None:
    store, name, path = kept(tmp_path)
    assert store.find(name) is not None
    before = path.stat()
    change(path)
    if restored:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.find(name) is None
    assert store.verify(name) is None
    assert not path.exists()


def test_use_and_own_links_are_not_taken_for_changes(tmp_path: Path) -> None:
    store, name, path = kept(tmp_path)
    store.mark_used(name, 5e8)
    assert path.stat().st_atime == 5e8
    assert store.find(name) is not None
    with store.touching(name) as found:
        os.link(found, tmp_path / "link")
    assert store.find(name) is not None


def test_a_link_made_by_another_program_requires_verification(tmp_path: Path) -> None:
    store, name, path = kept(tmp_path)
    os.link(path, tmp_path / "link")
    assert store.find(name) is None
    assert store.verify(name) is not None
    assert store.find(name) is not None


def test_marking_a_blob_as_used_does_not_hide_a_change(tmp_path: Path) -> None:
    store, name, path = kept(tmp_path)
    before = path.stat()
    overwritten(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    store.mark_used(name, 5e8)
    assert store.find(name) is None
