"""Digests of files and directories that are read once for sharing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine._piece import Geometry
from dfengine.errors import BadValue, StorageError
from dfengine.manifest import decode
from dfengine.storage import content_digests, shared_content, tree_digests
from dfengine.storage.home import Home
from dfengine.task import task_id

PIECE = Geometry(0).content_size


def pieces(data: bytes) -> bytes:
    geometry = Geometry(len(data))
    runs = [geometry.content(n) for n in range(geometry.count)]
    return b"".join(xxhash.xxh3_128_digest(data[at : at + size]) for at, size in runs)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE, 5 * PIECE + 3])
def test_one_pass_computes_all_digests(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    seen: list[int] = []
    found = content_digests.read(str(tmp_path / "f"), ("xxh3", "blake3"), seen.append)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.digests["xxh3"] == pieces(data)
    assert len(found.digests["blake3"]) == len(found.digests["xxh3"])
    assert found.length == size
    assert len(seen) == Geometry(size).count


def test_a_file_changed_during_the_pass_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f"
    changes: tuple[Callable[[], object], ...] = (lambda: os.truncate(path, PIECE), lambda: path.write_bytes(b"x" * 3 * PIECE))
    for change in changes:
        path.write_bytes(bytes(3 * PIECE))
        os.utime(path, (1, 1))

        def told(done: int) -> None:
            if done == PIECE:
                change()  # noqa: B023  # read at once

        with pytest.raises(StorageError, match="changed"):
            content_digests.read(str(path), ("xxh3",), told)


def test_only_regular_files_have_content(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(BadValue):
            content_digests.read(str(tmp_path / name), ())
    with pytest.raises(StorageError):
        content_digests.read(str(tmp_path / "missing"), ())


NAMES = st.sampled_from(["a", "b/a", "b/é", "b/c/d", "c d", "e%20", "z"])


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(NAMES, st.one_of(st.integers(0, 40), st.sampled_from([PIECE - 1, PIECE, PIECE + 1])), min_size=1))
def test_the_content_of_a_directory_is_its_files_in_order(tmp_path_factory: pytest.TempPathFactory, sizes: dict[str, int]) -> None:
    root = tmp_path_factory.mktemp("tree")
    for path, size in sizes.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(os.urandom(size))
    found = tree_digests.read(str(root), ("xxh3",))
    manifest = decode(found.manifest.encode())
    assert manifest.paths == sorted(sizes)
    whole = b"".join((root / path).read_bytes() for path in manifest.paths)
    assert found.sha256 == hashlib.sha256(whole).hexdigest()
    assert manifest.base == f"df:sha256:{found.sha256}/"
    assert found.digests["xxh3"] == pieces(whole)
    for n, path in enumerate(manifest.paths):
        assert manifest.digests[n] == "sha256:" + hashlib.sha256((root / path).read_bytes()).hexdigest()


def test_published_content_is_listed_and_a_change_is_detected(tmp_path: Path) -> None:
    path, home = tmp_path / "f", Home(str(tmp_path / "home"))
    path.write_bytes(os.urandom(PIECE + 1))
    found = content_digests.read(str(path), ("xxh3",))
    name, url = shared_content.name_of(found.sha256, "1-2.3"), f"df:sha256:{found.sha256}"
    shared = shared_content.SharedContent(name, url, found.path, found.length, "cid", "127.0.0.1", ["n:1"], [], 9e9)
    shared_content.publish(home, shared, found, task_id(shared.url))
    assert shared_content.listed(home) == [shared]
    assert shared_content.is_whole(home, shared)
    assert shared_content.digests(home, shared, "xxh3") == found.digests["xxh3"]
    assert shared_content.digests(home, shared, "blake3") == content_digests.read(str(path), ("blake3",)).digests["blake3"]
    with open(path, "r+b") as file:
        file.write(b"changed")
    assert not shared_content.is_whole(home, shared)
    home.withdraw(shared.name)
    assert [each.name for part in ("tasks", "data", "records", "shares") for each in (tmp_path / "home" / part).iterdir()] == []
    assert path.exists()


def test_damaged_descriptions_are_ignored(tmp_path: Path) -> None:
    home = Home(str(tmp_path))
    for n, text in enumerate([b"", b"{}", b"[]", b"\xff", b'{"name": 1}', b"null", b"{" * 10000]):
        (tmp_path / "shares" / f"n{n}").write_bytes(text)
    assert shared_content.listed(home) == []
