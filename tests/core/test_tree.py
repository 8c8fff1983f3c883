"""Tasks of a tree (manifest and data), and their URLs."""

from __future__ import annotations

import pytest

from dfengine.errors import BadValue
from dfengine.globs import Globs
from dfengine.manifest import File, Manifest
from dfengine.tree import DATA, MANIFEST, TreeTask, is_of, tree_url

ID = "0a" * 32

FORMS = {
    "http://h/d": "http://h/d/", "http://h/d/": "http://h/d/", "http://h": "http://h/", "s3://bucket": "s3://bucket/",
    "s3://bucket/a": "s3://bucket/a/", "s3://bucket/a/": "s3://bucket/a/", "S3://bucket/a%62": "s3://bucket/ab/",
    "hf://org/name": "hf://org/name/", "hf://org/name@v1/d": "hf://org/name@v1/d/",
    "file:///": "file:///", "file:///a": "file:///a/", "file:///a/": "file:///a/",
}  # fmt: skip


@pytest.mark.parametrize("url", FORMS)
def test_urls_of_directories_are_normalized(url: str) -> None:
    assert tree_url(url) == FORMS[url]
    assert tree_url(FORMS[url]) == FORMS[url]


@pytest.mark.parametrize("url", ["http://h/d?x", "http://h/d#x", "s3://bucket/a?versionId=1", "gopher://h/", "", "file:///a/../b", "http://"])
def test_urls_that_name_no_directory_are_rejected(url: str) -> None:
    with pytest.raises(BadValue):
        tree_url(url)


@pytest.mark.parametrize(("part", "manifest"), [
    ("", ""), ("x", ""), ("MANIFEST", ""), (MANIFEST, ID), (DATA, ""), (DATA, ID[1:]), (DATA, ID.upper()), (DATA, ID + "\n"),
    ("d" * 9999, ID),
])  # fmt: skip
def test_invalid_tree_tasks_are_rejected(part: str, manifest: str) -> None:
    with pytest.raises(BadValue):
        TreeTask.parse(part, manifest=manifest)


def test_globs_of_a_tree_task_are_checked() -> None:
    with pytest.raises(BadValue):
        TreeTask.parse(MANIFEST, ["a"] * 65)
    with pytest.raises(BadValue):
        TreeTask.parse(DATA, exclude=["a\n-b"], manifest=ID)


def test_different_tree_tasks_have_different_marks() -> None:
    tasks = [
        TreeTask.parse(MANIFEST), TreeTask.parse(DATA, manifest=ID), TreeTask.parse(DATA, manifest="0b" * 32),
        TreeTask.parse(MANIFEST, ["a"]), TreeTask.parse(MANIFEST, (), ["a"]), TreeTask.parse(MANIFEST, ["a", "b"]),
        TreeTask.parse(DATA, ["a"], manifest=ID),
    ]  # fmt: skip
    assert len({task.mark for task in tasks}) == len(tasks)
    assert all(task.mark.startswith("\n") for task in tasks)
    assert TreeTask(MANIFEST, Globs(("b", "a", "a"))).mark == TreeTask(MANIFEST, Globs(("a", "b"))).mark


@pytest.mark.parametrize(("base", "url", "same"), [
    ("http://h/d/", "http://h/d", True), ("http://h/d/", "http://h/", False), ("http://h/d/", "http://x/d/", False),
    ("s3://bkt/d/", "s3://bkt/d", True), ("s3://bkt/d/", "gs://bkt/d", False), ("file:///a/", "file:///a", True),
    ("file:///a/", "file:///", False),
    ("hf://o/n@0a0a/", "hf://o/n", True), ("hf://o/n@0a0a/", "hf://o/n@main/", True), ("hf://o/n@0a0a/", "hf://o/x", False),
    ("hf://o/n@0a0a/d/", "hf://o/n", False), ("file:///etc/", "http://h/etc", False),
])  # fmt: skip
def test_a_manifest_matches_only_the_requested_directory(base: str, url: str, same: bool) -> None:
    assert is_of(Manifest(base, [File("x", base + "x", 1)]), url) is same
