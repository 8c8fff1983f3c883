"""Which copies are to stay."""

from __future__ import annotations

from pathlib import Path

from dfengine.supernode.copies.kept import Kept


def test_a_time_ends_and_a_pin_does_not(tmp_path: Path) -> None:
    kept = Kept(str(tmp_path))
    kept.keep("a", "df:a", 100.0)
    kept.keep("b", "df:b", 100.0)
    kept.pin("b", "df:b", True)
    kept.pin("c", "http://c", True)
    assert kept.over(99.0) == []
    assert kept.over(100.0) == ["a"]
    assert "c" in kept
    assert kept.is_pinned("c")
    kept.pin("c", "http://c", False)
    assert "c" not in kept
    kept.pin("b", "df:b", False)
    assert sorted(kept.over(100.0)) == ["a", "b"]


def test_the_next_process_knows_it(tmp_path: Path) -> None:
    kept = Kept(str(tmp_path))
    kept.keep("a", "df:a", 100.0)
    kept.pin("b", "u", True)
    kept.drop("a")
    again = Kept(str(tmp_path))
    assert "a" not in again
    assert again.is_pinned("b")


def test_a_damaged_list_is_none(tmp_path: Path) -> None:
    for text in (b"", b"[]", b"{", b'{"a": 1}', b"\xff"):
        (tmp_path / "kept.json").write_bytes(text)
        assert Kept(str(tmp_path)).over(1e18) == []
