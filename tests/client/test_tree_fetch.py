"""Trees that must not be written: they are refused, and leave no files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dfengine.client.tree_fetch import Tree, TreeSettings
from dfengine.errors import BadListing, BadValue, Cancelled, TimedOut
from dfengine.manifest import File, Manifest
from dfengine.settings import GetSettings
from dfengine.storage.tree_target import TreeTarget

BASE = "http://127.0.0.1:1/t/"


def settings(path: Path, **given: Any) -> TreeSettings:
    return TreeSettings(GetSettings(url=BASE, output=str(path / "out"), home=str(path / "home"), pattern="source", **given))


def a_tree(monkeypatch: pytest.MonkeyPatch, *paths: str) -> None:
    """Make every fetched manifest name these files."""
    made = Manifest(BASE, [File(path, BASE + path, 1) for path in paths])
    monkeypatch.setattr(Tree, "_manifest", lambda *_: made)


@pytest.mark.parametrize("paths", [("A", "a"), ("x/\u00e9", "x/e\u0301"), ("f", "F/1")])
def test_names_that_are_one_on_a_case_insensitive_file_system_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: tuple[str, ...]
) -> None:
    a_tree(monkeypatch, *paths)
    monkeypatch.setattr(TreeTarget, "folds_case", lambda _: True)
    with pytest.raises(BadListing, match="one path") as caught:
        Tree(settings(tmp_path)).run()
    assert all(repr(path) in str(caught.value) for path in paths)
    assert not (tmp_path / "out").exists()


def test_a_case_sensitive_file_system_is_recognized(tmp_path: Path) -> None:
    target = TreeTarget(str(tmp_path), "0123456789ab", ["a"], [1])
    target.prepare()
    assert not target.folds_case()
    (tmp_path / ".DFENGINE.0123456789AB").mkdir()
    assert target.folds_case()
    target.close()


def test_a_stopped_or_late_download_creates_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_tree(monkeypatch, "a")
    tree = Tree(settings(tmp_path))
    tree.stop(Cancelled("by the test"))
    with pytest.raises(Cancelled):
        tree.run()
    late = Tree(settings(tmp_path, timeout=1e-9))
    with pytest.raises(TimedOut):
        late.run()
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("given", [{"include": ("a//b",)}, {"exclude": ("x" * 300,)}, {"include": ("a",) * 65}])
def test_invalid_globs_are_refused(tmp_path: Path, given: dict[str, tuple[str, ...]]) -> None:
    wrong = settings(tmp_path).replace(**given)
    with pytest.raises(BadValue):
        wrong.check()
    with pytest.raises(BadValue):
        Tree(wrong)


def test_a_digest_of_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="digest"):
        settings(tmp_path, md5="0" * 32).check()
