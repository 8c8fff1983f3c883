"""When a follower probes the origin and when it takes the lead, on a virtual clock."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from dfengine.supernode.copies.slow_leader import GRACE, MAX_WAIT, MIN_GAIN, MIN_MISSING, OWN_SPAN, SPAN, WAIT, SlowLeader, is_slow

PIECE = 4 << 20


def watched(seconds: float, every: float, took: float, law: SlowLeader | None = None, begin: float = 100.0) -> tuple[SlowLeader, float]:
    """Receive a piece each `every` seconds, which takes `took` seconds. Returns the SlowLeader and the time."""
    law, now = law or SlowLeader(), begin
    if law.rate(now) == 0:
        law.leader_changed(now)
    while now < begin + seconds:
        now += every
        law.piece_received(PIECE, took, now)
    return law, now


def test_no_probe_is_due_while_pieces_arrive_nearly_at_link_speed() -> None:
    law, now = watched(60, 0.7, 0.35)
    assert not law.is_due(100, now)


def test_a_probe_is_due_within_the_span_after_a_leader_becomes_slow() -> None:
    law, now = watched(20, 0.7, 0.35)
    times = [now + tick / 10 for tick in range(60)]
    first = next(time for time in times if law.is_due(100, time))
    assert 0 < first - now <= SPAN


def test_a_probe_is_due_when_no_first_piece_arrives() -> None:
    law = SlowLeader()
    law.leader_changed(50.0)
    assert not law.is_due(100, 50.0 + GRACE - 0.1)
    assert law.is_due(100, 50.0 + GRACE)


def test_no_probe_is_due_when_the_link_itself_is_slow() -> None:
    law, now = watched(60, 3.4, 3.4 * 2)
    assert not law.is_due(100, now + 0.1)


def test_no_probe_is_due_when_few_pieces_are_left() -> None:
    law, now = watched(20, 0.7, 0.35)
    assert law.is_due(MIN_MISSING, now + SPAN)
    assert not law.is_due(MIN_MISSING - 1, now + SPAN)


@pytest.mark.parametrize(("probe", "leader", "takes"), [
    (4.4e6, 1.2e6, True),  # a leader whose link is slow
    (1.2e6, 5e6, False), (1e6, 1e6, False),  # a slow origin: one connection beside four, or beside one
    (MIN_GAIN * 1e6, 1e6, True), (5e6, 0.0, True), (0.0, 0.0, False),
])  # fmt: skip
def test_the_lead_is_taken_if_the_origin_is_several_times_faster(probe: float, leader: float, takes: bool) -> None:
    law, now = watched(20, 0.7, 0.35)
    assert law.probed(probe, leader, now) is takes


def slow_origin() -> Iterator[tuple[float, SlowLeader]]:
    """Times within a day at which the origin is probed, while a piece arrives each 8 s."""
    law, now = watched(20, 0.7, 0.35)
    end, next_piece = now + 86400, now
    while now < end:
        now += 0.5
        if now >= next_piece:
            law.piece_received(PIECE, 0.35, now)
            next_piece += 8.0
        if law.is_due(100, now):
            yield now, law


def test_probes_of_a_slow_origin_back_off() -> None:
    probes = []
    for now, law in slow_origin():
        probes.append(now)
        assert not law.probed(2e5, 5e5, now)
    gaps = [later - earlier for earlier, later in pairwise(probes)]
    assert gaps[0] >= WAIT
    assert all(later >= 1.5 * earlier for earlier, later in pairwise(gaps[:6])), "the gaps grow"
    assert max(gaps) <= MAX_WAIT + 2 * SPAN
    assert len(probes) < 86400 / MAX_WAIT + 10


def test_a_failed_probe_delays_the_next_one() -> None:
    law, now = watched(20, 0.7, 0.35)
    now += SPAN
    law.failed(now)
    assert not law.is_due(100, now + WAIT - 0.1)
    assert law.is_due(100, now + WAIT)


def test_a_new_leader_is_not_probed_for_a_while() -> None:
    law, now = watched(20, 0.7, 0.35)
    law.leader_changed(now)
    assert not law.is_due(100, now + GRACE - 0.1)
    assert law.rate(now + SPAN) == 0
    assert law.is_due(100, now + GRACE + 0.1)


@pytest.mark.parametrize(("came", "leader", "slow"), [(0, 5e6, True), (PIECE, 5e6, False), (PIECE, 50e6, True), (0, 0.0, False)])
def test_a_link_is_slow_below_a_fourth_of_the_new_leaders_rate(came: int, leader: float, slow: bool) -> None:
    assert is_slow(came, OWN_SPAN, leader) is slow
