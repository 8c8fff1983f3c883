"""Directories derived from a list of files, compared with those on disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine.filesystem.listings import directories

names = st.sampled_from(["a", "b", "c.txt", "d"])
trees = st.recursive(st.integers(0, 5), lambda inside: st.dictionaries(names, inside, max_size=3), max_leaves=12)


def write(folder: Path, tree: object) -> None:
    if isinstance(tree, dict):
        folder.mkdir(exist_ok=True)
        for name, inside in tree.items():
            write(folder / name, inside)
    else:
        folder.write_bytes(bytes(int(str(tree))))


def holds_a_file(folder: Path) -> bool:
    return any(path.is_file() for path in folder.rglob("*"))


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(names, trees, max_size=4))
def test_directories_agree_with_those_on_disk(tree: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as home:
        root = Path(home)
        write(root, tree)
        files = [(str(path.relative_to(root)), path.stat().st_size) for path in root.rglob("*") if path.is_file()]
        found = dict(directories("r", files))
        for name, inside in found.items():
            folder = root / name.removeprefix("r").strip("/")
            there = {each.name for each in os.scandir(folder) if each.is_file() or holds_a_file(Path(each.path))}
            assert {each["name"].rpartition("/")[2] for each in inside} == there
            for each in inside:
                path = root / each["name"].removeprefix("r/")
                assert each["type"] == ("directory" if path.is_dir() else "file")
                assert each["size"] == (0 if path.is_dir() else path.stat().st_size)
        assert found["r"] or not files


def test_an_unknown_size_is_none() -> None:
    assert dict(directories("r", [("x", -1)])) == {"r": [{"name": "r/x", "size": None, "type": "file"}]}
