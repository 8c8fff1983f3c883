"""Requested pieces that are not offered while other pieces are."""

from __future__ import annotations

from dfengine.client.unoffered_pieces import UNOFFERED_TIMEOUT, UnofferedPieces


def test_an_unoffered_piece_is_overdue_once_per_timeout() -> None:
    unoffered, found = UnofferedPieces(), []
    for now in range(100):
        found += [(now, n) for n in unoffered.overdue((3, 10 + now), float(now))]
    assert found == [(now, 3) for now in range(int(UNOFFERED_TIMEOUT), 100, int(UNOFFERED_TIMEOUT))]


def test_the_time_of_a_piece_restarts_when_it_was_not_requested_meanwhile() -> None:
    unoffered = UnofferedPieces()
    assert unoffered.overdue((3,), 0.0) == []
    assert unoffered.overdue((), UNOFFERED_TIMEOUT / 2) == []
    assert unoffered.overdue((3,), UNOFFERED_TIMEOUT) == []
