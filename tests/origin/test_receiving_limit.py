"""The number of connections that receive at once: for an origin that limits each of them, and a link that limits all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.origin.receiving_limit import MAX_CONNECTIONS, MAX_REST, REST_SECONDS, WINDOW, ReceivingLimit

STEP = 0.05


def run(width: ReceivingLimit, each: float, link: float, seconds: float, begin: float = 0.0, total: float = 0.0) -> tuple[float, list[int]]:
    """A reader waits all the time. each, link: bytes per second of a connection, and of all. Returns the bytes in all, and the limits."""
    seen = []
    for n in range(int(seconds / STEP)):
        width.record_wait(int(total), begin + n * STEP)
        total += min(link, each * width.allowed) * STEP
        seen.append(width.allowed)
    return total, seen


def test_an_origin_that_limits_each_connection_is_read_over_many() -> None:
    width = ReceivingLimit(4)
    _, seen = run(width, 1e6, 1e9, 16 * WINDOW)
    assert seen[-1] == MAX_CONNECTIONS


def test_the_limit_grows_up_to_the_capacity_of_the_link() -> None:
    width = ReceivingLimit(4)
    run(width, 1e6, 10e6, 12 * WINDOW)
    assert width.allowed == 16


def test_more_connections_are_tried_ever_more_rarely_without_a_gain() -> None:
    width = ReceivingLimit(4)
    _, seen = run(width, 12e6, 12e6, 1000.0)
    assert set(seen) == {4, 8}
    wide = sum(each == 8 for each in seen) * STEP
    assert wide <= (1000.0 / MAX_REST + 6) * 2.5 * WINDOW


def test_the_limit_stays_while_no_reader_waits() -> None:
    """In a window with a break, the bytes depend on requests, not on the capacity."""
    width = ReceivingLimit(4)
    for n in range(100):
        width.record_wait(n * 1000, n * 0.5)
    assert width.allowed == 4


def test_more_connections_are_used_when_the_link_becomes_faster() -> None:
    width = ReceivingLimit(4)
    total, _ = run(width, 3e6, 12e6, 3.0)
    assert width.allowed == 4
    _, seen = run(width, 3e6, 1e9, REST_SECONDS + 12 * WINDOW, 3.0, total)
    assert seen[-1] > 9


def test_fewer_connections_are_used_when_the_link_becomes_slower() -> None:
    width = ReceivingLimit(4)
    total, seen = run(width, 1e6, 10e6, 12 * WINDOW)
    assert seen[-1] == 16
    run(width, 1e6, 4e6, REST_SECONDS + 6 * WINDOW, 12 * WINDOW, total)
    assert width.allowed == 4


@pytest.mark.parametrize("connections", [1, 2, 4, 16])
@given(st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(0, 10**9)), max_size=50))
def test_the_limit_stays_within_its_bounds(connections: int, looks: list[tuple[float, int]]) -> None:
    width, now, total = ReceivingLimit(connections), 0.0, 0
    for seconds, more in looks:
        now, total = now + seconds, total + more
        width.record_wait(total, now)
        assert connections <= width.allowed <= max(MAX_CONNECTIONS, connections)
