"""Wishes in vain, while other pieces come."""

from __future__ import annotations

from dfengine.client.unoffered import VAIN, UnofferedPieces


def test_what_is_named_in_vain_for_long_is_doubted_once_in_that_time() -> None:
    doubts, found = UnofferedPieces(), []
    for now in range(100):
        found += [(now, n) for n in doubts.overdue((3, 10 + now), float(now))]
    assert found == [(now, 3) for now in range(int(VAIN), 100, int(VAIN))]


def test_what_was_not_named_meanwhile_is_named_anew() -> None:
    doubts = UnofferedPieces()
    assert doubts.overdue((3,), 0.0) == []
    assert doubts.overdue((), VAIN / 2) == []
    assert doubts.overdue((3,), VAIN) == []
