"""Copies that are kept for a time or pinned."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfengine.supernode.copies.retention import Retention


def test_kept_copies_expire_and_pinned_copies_do_not(tmp_path: Path) -> None:
    kept = Retention(str(tmp_path))
    kept.keep("a", "df:a", 100.0)
    kept.keep("b", "df:b", 100.0)
    kept.pin("b", "df:b", True)
    kept.pin("c", "http://c", True)
    assert kept.expired(99.0) == []
    assert kept.expired(100.0) == ["a"]
    assert "c" in kept
    assert kept.is_pinned("c")
    kept.pin("c", "http://c", False)
    assert "c" not in kept
    kept.pin("b", "df:b", False)
    assert sorted(kept.expired(100.0)) == ["a", "b"]


def test_kept_and_pinned_copies_survive_a_restart(tmp_path: Path) -> None:
    kept = Retention(str(tmp_path))
    kept.keep("a", "df:a", 100.0)
    kept.pin("b", "u", True)
    kept.drop("a")
    again = Retention(str(tmp_path))
    assert "a" not in again
    assert again.is_pinned("b")


def test_a_damaged_file_counts_as_empty(tmp_path: Path) -> None:
    for text in (b"", b"[]", b"{", b'{"a": 1}', b"\xff"):
        (tmp_path / "kept.json").write_bytes(text)
        assert Retention(str(tmp_path)).expired(1e18) == []


def test_of_two_changes_of_a_pin_the_later_counts_in_any_order_of_arrival(tmp_path: Path) -> None:
    told: list[tuple[str, bool]] = []
    kept = Retention(str(tmp_path))
    kept.on_changed = lambda task, url, pinned, changed: told.append((task, pinned))
    for order in ((1.0, 2.0), (2.0, 1.0)):
        for changed in order:
            kept.apply_remote(f"a{order}", "u", True, changed)
            kept.apply_remote(f"b{order}", "u", changed == 1.0, changed)
        assert kept.is_pinned(f"a{order}")
        assert not kept.is_pinned(f"b{order}")
    assert not told, "changes of others are not forwarded"
    kept.pin("private", "u", True, open=False)
    kept.pin("public", "u", True)
    kept.pin("private2", "u", True, open=False)
    kept.pin("private2", "u", False, open=False)
    assert told == [("public", True)], "the id of a private file grants access to it"
    assert {"private", "public"} & {task for task, _ in Retention(str(tmp_path)).pins()} == {"public"}
    assert Retention(str(tmp_path)).is_pinned("private")
    told.clear()
    far = 1e11
    kept.apply_remote("ahead", "u", True, far)
    kept.pin("ahead", "u", False)
    assert not kept.is_pinned("ahead"), "a local change counts even against a later remote clock"
    kept.apply_remote("ahead", "u", True, far)
    assert not kept.is_pinned("ahead")
    assert told == [("ahead", False)]


def test_remote_pins_are_bounded_and_survive_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfengine.supernode.copies.retention.MAX_REMOTE", 5)
    kept = Retention(str(tmp_path))
    for n in range(20):
        kept.apply_remote(f"t{n}", "u", True, float(n + 1))
        kept.apply_remote(f"u{n}", "u", False, float(n + 1))
    assert [task for task, _ in kept.pins()] == ["t4", "t3", "t2", "t1", "t0"]
    assert len(kept._ended) == 5
    assert [keep.changed for _, keep in Retention(str(tmp_path)).pins()] == [5.0, 4.0, 3.0, 2.0, 1.0]
