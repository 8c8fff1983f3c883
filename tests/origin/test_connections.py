"""How many connections an origin grants, as it was learned."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dfengine.origin import connections
from dfengine.origin.connections import REMEMBERED, ConnectionLimits


def test_nothing_is_known_at_first() -> None:
    assert ConnectionLimits().allowed("http://h:80", 4, 0.0) == 4


def test_a_refusal_is_remembered_for_a_while_for_that_origin_alone() -> None:
    limits = ConnectionLimits()
    limits.refused("http://h:80", 2, 100.0)
    assert limits.allowed("http://h:80", 8, 100.0 + REMEMBERED - 1) == 2
    assert limits.allowed("http://h:80", 8, 100.0 + REMEMBERED) == 8
    assert limits.allowed("http://h:81", 8, 100.0) == 8


def test_no_more_are_allowed_than_are_wanted() -> None:
    limits = ConnectionLimits()
    limits.refused("o", 6, 0.0)
    assert limits.allowed("o", 3, 1.0) == 3
    assert limits.allowed("o", 6, 1.0) == 6


def test_one_connection_is_always_granted() -> None:
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


def test_origins_are_forgotten_before_they_fill_the_memory() -> None:
    limits = ConnectionLimits()
    for n in range(connections.MOST):
        limits.refused(f"o{n}", 1, float(n))
    limits.refused("o0", 1, float(connections.MOST))
    limits.refused("new", 1, float(connections.MOST))
    assert len(limits._learned) == connections.MOST
    assert limits.allowed("o0", 4, float(connections.MOST)) == 1, "it was refused again lately"
    assert limits.allowed("o1", 4, float(connections.MOST)) == 4


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.floats(0, REMEMBERED)), max_size=20), st.integers(1, 9))
def test_what_is_allowed_is_what_was_granted_last(refusals: list[tuple[str, int, float]], wanted: int) -> None:
    limits, now, last = ConnectionLimits(), 0.0, {}
    for origin, held, later in refusals:
        now += later
        limits.refused(origin, held, now)
        last[origin] = max(1, held), now
    for origin in "abc":
        count, at = last.get(origin, (wanted, now))
        assert limits.allowed(origin, wanted, now) == (min(count, wanted) if now - at < REMEMBERED else wanted)
