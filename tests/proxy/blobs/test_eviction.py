"""Eviction of blobs from the disk."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dfengine.proxy.blobs.eviction import evict, leaving

FOUND = [(3.0, 10, "c"), (1.0, 10, "a"), (2.0, 10, "b")]


def test_the_least_recently_used_blob_is_evicted_first() -> None:
    assert leaving(FOUND, 0, 0) == []
    assert leaving(FOUND, 30, 0) == []
    assert leaving(FOUND, 29, 0) == ["a"]
    assert leaving(FOUND, 20, 0) == ["a", "b"]
    assert leaving(FOUND, 0, 11) == ["a", "b"]
    assert leaving(FOUND, 1000, 1000) == ["a", "b", "c"]
    assert leaving(FOUND, 20, 0, frozenset("a")) == ["b", "c"]
    assert leaving(FOUND, 1, 1000, frozenset("ac")) == ["b"]


@given(st.lists(st.tuples(st.floats(0, 9), st.integers(0, 50), st.uuids().map(str)), max_size=9), st.integers(0, 200), st.integers(0, 200))
def test_no_more_blobs_are_evicted_than_needed(found: list[tuple[float, int, str]], most: int, short: int) -> None:
    gone = leaving(found, most, short)
    left = sum(size for _, size, name in found if name not in gone)
    total = sum(size for _, size, _ in found)
    assert not most or left <= most or not left
    assert total - left >= min(short, total)
    if not short and (not most or total <= most):
        assert not gone


def test_an_evicted_blob_loses_all_its_names_on_disk(tmp_path: Path) -> None:
    blobs, files = tmp_path / "blobs", tmp_path / "files"
    blobs.mkdir()
    files.mkdir()
    for n, name in enumerate("abc"):
        (files / f".x.{name}.part").write_bytes(bytes(1 << 20))
        (files / f".x.{name}.record").write_bytes(b"")
        os.link(files / f".x.{name}.part", blobs / name)
        os.utime(blobs / name, (1e9 + n, 1e9))
    assert evict(str(tmp_path), str(blobs), 5 << 19) == ["a"]
    assert sorted(path.name for path in blobs.iterdir()) == ["b", "c"]
    assert sorted(path.name for path in files.iterdir()) == [".x.b.part", ".x.b.record", ".x.c.part", ".x.c.record"]


def test_partial_files_are_evicted_unless_they_are_being_fetched(tmp_path: Path) -> None:
    """Ranges of many objects leave partial files, which nothing else would remove for a week."""
    blobs, files = tmp_path / "blobs", tmp_path / "files"
    blobs.mkdir()
    files.mkdir()
    for n, name in enumerate("abcd"):
        (files / f".x.{name}.part").write_bytes(bytes(1 << 20))
        (files / f".x.{name}.record").write_bytes(b"")
        os.utime(files / f".x.{name}.part", (1e9, 1e9 + n))
    os.link(files / ".x.d.part", blobs / "d")
    os.utime(blobs / "d", (1e9 + 9, 1e9))
    with open(files / ".x.a.part", "rb") as fetched:
        fcntl.flock(fetched, fcntl.LOCK_EX)
        assert evict(str(tmp_path), str(blobs), 3 << 20) == []
        assert sorted(path.name for path in files.glob("*.part")) == [".x.a.part", ".x.d.part"]
    assert evict(str(tmp_path), str(blobs), 1 << 20) == ["d"]
    assert not [*files.iterdir()]
