"""Learnt limits on the number of connections to an origin."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dfengine.origin import connection_limits
from dfengine.origin.connection_limits import REMEMBERED, ConnectionLimits


def test_without_refusals_all_wanted_connections_are_allowed() -> None:
    assert ConnectionLimits().allowed("http://h:80", 4, 0.0) == 4


def test_a_refusal_is_remembered_for_a_while_for_its_origin_only() -> None:
    limits = ConnectionLimits()
    limits.refused("http://h:80", 2, 100.0)
    assert limits.allowed("http://h:80", 8, 100.0 + REMEMBERED - 1) == 2
    assert limits.allowed("http://h:80", 8, 100.0 + REMEMBERED) == 8
    assert limits.allowed("http://h:81", 8, 100.0) == 8


def test_at_most_the_wanted_connections_are_allowed() -> None:
    limits = ConnectionLimits()
    limits.refused("o", 6, 0.0)
    assert limits.allowed("o", 3, 1.0) == 3
    assert limits.allowed("o", 6, 1.0) == 6


def test_one_connection_is_always_allowed() -> None:
    limits = ConnectionLimits()
    limits.refused("o", 0, 0.0)
    assert limits.allowed("o", 4, 1.0) == 1


def test_the_last_refusal_counts() -> None:
    limits = ConnectionLimits()
    limits.refused("o", 3, 0.0)
    limits.refused("o", 1, 5.0)
    assert limits.allowed("o", 4, 10.0) == 1
    limits.refused("o", 2, 20.0)
    assert limits.allowed("o", 4, 10.0 + REMEMBERED) == 2


def test_the_oldest_refusals_are_forgotten_at_the_capacity() -> None:
    limits = ConnectionLimits()
    for n in range(connection_limits.MAX_ORIGINS):
        limits.refused(f"o{n}", 1, float(n))
    limits.refused("o0", 1, float(connection_limits.MAX_ORIGINS))
    limits.refused("new", 1, float(connection_limits.MAX_ORIGINS))
    assert len(limits._learned) == connection_limits.MAX_ORIGINS
    assert limits.allowed("o0", 4, float(connection_limits.MAX_ORIGINS)) == 1, "a recent refusal was forgotten"
    assert limits.allowed("o1", 4, float(connection_limits.MAX_ORIGINS)) == 4


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.floats(0, REMEMBERED)), max_size=20), st.integers(1, 9))
def test_the_last_granted_number_is_allowed(refusals: list[tuple[str, int, float]], wanted: int) -> None:
    limits, now, last = ConnectionLimits(), 0.0, {}
    for origin, held, later in refusals:
        now += later
        limits.refused(origin, held, now)
        last[origin] = max(1, held), now
    for origin in "abc":
        count, at = last.get(origin, (wanted, now))
        assert limits.allowed(origin, wanted, now) == (min(count, wanted) if now - at < REMEMBERED else wanted)
