"""How many connections receive at once: an origin that limits each of them, and a link that limits all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.origin.receiving_limit import LONGEST_REST, MOST, REST_SECONDS, WINDOW, ReceivingLimit

STEP = 0.05


def run(width: ReceivingLimit, each: float, link: float, seconds: float, begin: float = 0.0, total: float = 0.0) -> tuple[float, list[int]]:
    """Somebody waits all the time. each, link: bytes per second of a connection, and of all. Bytes in all, and the widths that were."""
    seen = []
    for n in range(int(seconds / STEP)):
        width.record_wait(int(total), begin + n * STEP)
        total += min(link, each * width.allowed) * STEP
        seen.append(width.allowed)
    return total, seen


def test_an_origin_that_limits_each_connection_is_read_over_many() -> None:
    width = ReceivingLimit(4)
    _, seen = run(width, 1e6, 1e9, 16 * WINDOW)
    assert seen[-1] == MOST


def test_connections_up_to_what_the_link_carries() -> None:
    width = ReceivingLimit(4)
    run(width, 1e6, 10e6, 12 * WINDOW)
    assert width.allowed == 16


def test_a_link_that_few_connections_fill_is_tried_more_and_more_rarely() -> None:
    width = ReceivingLimit(4)
    _, seen = run(width, 12e6, 12e6, 1000.0)
    assert set(seen) == {4, 8}
    wide = sum(each == 8 for each in seen) * STEP
    assert wide <= (1000.0 / LONGEST_REST + 6) * 2.5 * WINDOW


def test_what_nobody_waits_for_is_not_measured() -> None:
    """A window with a break says how much was asked for, not how much more would come."""
    width = ReceivingLimit(4)
    for n in range(100):
        width.record_wait(n * 1000, n * 0.5)
    assert width.allowed == 4


def test_it_is_tried_again_when_the_link_has_become_faster() -> None:
    width = ReceivingLimit(4)
    total, _ = run(width, 3e6, 12e6, 3.0)
    assert width.allowed == 4
    _, seen = run(width, 3e6, 1e9, REST_SECONDS + 12 * WINDOW, 3.0, total)
    assert seen[-1] > 9


def test_fewer_connections_are_enough_when_the_link_has_become_slower() -> None:
    width = ReceivingLimit(4)
    total, seen = run(width, 1e6, 10e6, 12 * WINDOW)
    assert seen[-1] == 16
    run(width, 1e6, 4e6, REST_SECONDS + 6 * WINDOW, 12 * WINDOW, total)
    assert width.allowed == 4


@pytest.mark.parametrize("connections", [1, 2, 4, 16])
@given(st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(0, 10**9)), max_size=50))
def test_it_stays_within_its_bounds(connections: int, looks: list[tuple[float, int]]) -> None:
    width, now, total = ReceivingLimit(connections), 0.0, 0
    for seconds, more in looks:
        now, total = now + seconds, total + more
        width.record_wait(total, now)
        assert connections <= width.allowed <= max(MOST, connections)
