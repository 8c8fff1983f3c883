"""Wishes in vain, while other pieces come."""

from __future__ import annotations

from dfengine.client.unoffered import UNOFFERED_TIMEOUT, UnofferedPieces


def test_what_is_named_in_vain_for_long_is_doubted_once_in_that_time() -> None:
    unoffered, found = UnofferedPieces(), []
    for now in range(100):
        found += [(now, n) for n in unoffered.overdue((3, 10 + now), float(now))]
    assert found == [(now, 3) for now in range(int(UNOFFERED_TIMEOUT), 100, int(UNOFFERED_TIMEOUT))]


def test_what_was_not_named_meanwhile_is_named_anew() -> None:
    unoffered = UnofferedPieces()
    assert unoffered.overdue((3,), 0.0) == []
    assert unoffered.overdue((), UNOFFERED_TIMEOUT / 2) == []
    assert unoffered.overdue((3,), UNOFFERED_TIMEOUT) == []
