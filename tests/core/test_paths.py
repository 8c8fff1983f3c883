"""Paths that may be written below a directory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadListing
from dfengine.paths import LARGEST, Paths

REFUSED = {
    "": "empty", "/a": "absolute", "//": "absolute", "a//b": "empty", "a/": "empty", "..": "empty", "a/../b": "empty", "./a": "empty",
    "a/..": "empty", "a\0": "NUL", "\ud800": "Unicode", "x" * 256: "longer", "ü" * 128: "longer", "/".join(["x" * 99] * 50): "longer",
    "/".join("x" * 65): "deep",
}  # fmt: skip


@pytest.mark.parametrize("path", REFUSED)
def test_unsafe_paths_are_rejected(path: str) -> None:
    for check in (Paths("the list", 9).file, Paths("the list", 9).folder):
        with pytest.raises(BadListing, match=REFUSED[path]) as caught:
            check(path)
        assert str(caught.value).startswith("the list names ")


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a/b/c/d", "a/b"), ("a/b", "a/b/c/d"), ("a/b/c", "a/b")])
def test_paths_that_conflict_are_rejected(paths: tuple[str, ...]) -> None:
    checked = Paths("the list", 9)
    for path in paths[:-1]:
        checked.file(path)
    with pytest.raises(BadListing, match=r"twice|directory"):
        checked.file(paths[-1])


@given(st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join), max_size=8))
def test_accepted_paths_do_not_conflict(paths: list[str]) -> None:
    checked, passed = Paths("the list", 99), list[str]()
    for path in paths:
        try:
            passed.append(checked.file(path))
        except BadListing:
            assert any(path == each or path.startswith(each + "/") or each.startswith(path + "/") for each in passed)
        else:
            assert not any(path == each or path.startswith(each + "/") or each.startswith(path + "/") for each in passed[:-1])


@pytest.mark.parametrize("size", [-2, LARGEST + 1])
def test_impossible_sizes_are_rejected(size: int) -> None:
    with pytest.raises(BadListing, match="bytes"):
        Paths("the list", 9).file("a", size)


def test_more_files_than_allowed_are_rejected() -> None:
    checked = Paths("the list", 2)
    checked.file("a")
    checked.file("b")
    with pytest.raises(BadListing, match="more than 2"):
        checked.file("c")
