"""Deletion of extraneous files below a tree's directory: never behind a link, and no excluded file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dfengine.errors import StorageError
from dfengine.storage import folder_lock
from dfengine.storage.extraneous_files import DEEPEST, CreatedSince, find_extraneous
from tests.own_descriptors import own_descriptors


def everything(path: str) -> bool:
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with links that lead out of it."""
    top, outside = tmp_path / "top", tmp_path / "outside"
    for path in (top / "a/b/keep", top / "a/b/old", top / "old\nline", top / "a/.x.0123456789ab.part", outside / "precious"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (top / "link").symlink_to(outside)
    (top / "a/file").symlink_to(outside / "precious")
    (top / "gone").symlink_to("nowhere")
    os.mkfifo(top / "pipe")
    return top


def left(folder: Path) -> set[str]:
    return {os.path.relpath(path, folder.parent) for path in folder.parent.rglob("*") if not path.is_dir() or path.is_symlink()}


def test_extraneous_files_are_listed_and_then_deleted(folder: Path) -> None:
    before = left(folder)
    assert list(find_extraneous(str(folder), {"a/b/keep"}, everything, remove=False)) == ["a/b/old", "old\nline", "gone"]
    assert left(folder) == before
    assert list(find_extraneous(str(folder), {"a/b/keep"}, everything, remove=True)) == ["a/b/old", "old\nline", "gone"]
    assert left(folder) == before - {"top/a/b/old", "top/old\nline", "top/gone"}
    assert not list(find_extraneous(str(folder), {"a/b/keep"}, everything, remove=True))


def test_emptied_directories_and_links_that_became_dangling_are_deleted(folder: Path) -> None:
    (folder / "a/deep/er").mkdir(parents=True)
    (folder / "a/deep/er/x").touch()
    (folder / "empty").mkdir()
    (folder / "0").symlink_to("a/deep/er/x")
    (folder / "1").symlink_to("0")
    (folder / "kept").symlink_to("nowhere/x")
    (folder / "e").mkdir()
    (folder / "e/f").symlink_to("f")
    (folder / "private").symlink_to("/root/../proc/1/cwd/x" if os.geteuid() else "a/b/keep")
    found = list(find_extraneous(str(folder), {"a/b/keep"}, lambda path: path != "kept", remove=True))
    assert found == ["a/b/old", "a/deep/er/x", "old\nline", "0", "1", "e/f", "gone"]
    assert sorted(os.listdir(folder)) == ["a", "empty", "kept", "link", "pipe", "private"]
    assert sorted(os.listdir(folder / "a")) == [".x.0123456789ab.part", "b", "file"]


def test_files_created_since_the_start_stay(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    held = folder_lock.lock(fd, str(folder))
    old = {path: (folder / path).lstat().st_ctime_ns for path in ("a/b/old", "old\nline", "gone")}
    began = max(old.values()) + 1
    while folder_lock.clock(held) <= began:
        pass
    (folder / "a/b/new").touch()
    (folder / "own").touch()
    now = folder_lock.clock(held)
    created_since = CreatedSince(began, now, {"own"})
    assert list(find_extraneous(str(folder), {"a/b/keep"}, everything, True, created_since)) == ["a/b/old", "old\nline", "own", "gone"]
    assert list(find_extraneous(str(folder), {"a/b/keep"}, everything, True, CreatedSince(began, began))) == ["a/b/new"]
    folder_lock.unlock(fd, held)
    os.close(fd)


def test_a_directory_that_another_download_writes_to_is_skipped(folder: Path) -> None:
    for name in ("b", "c"):
        (folder / name).mkdir()
        (folder / name / "x").touch()
        (folder / name / folder_lock.NAME).touch()
    fd = os.open(folder / "b", os.O_RDONLY)
    held = folder_lock.lock(fd, "b")
    assert folder_lock.held_above(str(folder / "b/x/y")) == str(folder / "b")
    assert not folder_lock.held_above(str(folder / "b"))
    assert list(find_extraneous(str(folder), {"a/b/keep"}, lambda path: path[0] in "bc", True)) == ["c/.dfengine.lock", "c/x"]
    assert sorted(os.listdir(folder / "b")) == [folder_lock.NAME, "x"]
    folder_lock.unlock(fd, held)
    os.close(fd)
    assert not (folder / "b" / folder_lock.NAME).exists()


def test_paths_that_are_not_selected_stay(folder: Path) -> None:
    assert list(find_extraneous(str(folder), set(), lambda path: path.startswith("a/b/o"), remove=True)) == ["a/b/old"]
    assert (folder / "a/b/keep").exists()


def test_a_directory_replaced_by_a_link_is_not_entered(folder: Path) -> None:
    found = find_extraneous(str(folder), set(), everything, remove=True)
    assert next(found) == "a/b/keep"
    (folder / "z").symlink_to("../outside")
    assert "z/precious" not in list(found)
    assert (folder.parent / "outside/precious").exists()


def test_a_link_given_as_the_directory_is_followed(folder: Path) -> None:
    (folder.parent / "also").symlink_to("top")
    assert "a/b/old" in list(find_extraneous(str(folder.parent / "also"), {"a/b/keep"}, everything, remove=False))


@pytest.mark.parametrize("path", ["/", "~", "//", "/usr/.."])
def test_the_root_and_the_home_directory_are_refused(path: str) -> None:
    with pytest.raises(StorageError, match="nothing is deleted"):
        next(find_extraneous(os.path.expanduser(path), set(), lambda path: False, remove=False))


def test_a_missing_directory_has_no_extraneous_files(tmp_path: Path) -> None:
    assert not list(find_extraneous(str(tmp_path / "none"), set(), everything, remove=True))


def test_a_file_as_the_directory_and_too_deep_trees_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="Not a directory"):
        list(find_extraneous(str(tmp_path / "file"), set(), everything, remove=True))
    top = os.open(tmp_path, os.O_RDONLY)
    for _ in range(DEEPEST + 2):
        os.mkdir("d", dir_fd=top)
        inner = os.open("d", os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = inner
    os.close(top)
    before = len(own_descriptors())
    with pytest.raises(StorageError, match="directories deep"):
        list(find_extraneous(str(tmp_path), set(), everything, remove=True))
    assert len(os.listdir("/proc/self/fd")) == before


def test_parts_of_a_download_of_another_tree_stay(tmp_path: Path) -> None:
    (tmp_path / ".dfengine.0123456789ab").mkdir()
    (tmp_path / ".dfengine.0123456789ab" / "record").touch()
    (tmp_path / "sub" / ".dfengine.0123456789ab").mkdir(parents=True)
    (tmp_path / "sub" / ".dfengine.0123456789ab" / "file").touch()
    assert list(find_extraneous(str(tmp_path), frozenset(), everything, remove=True)) == ["sub/.dfengine.0123456789ab/file"]
