"""Rates of counters, and the share of the time that figures may take."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.net.http import BadRequest
from dfengine.supernode.console import budget as module
from dfengine.supernode.console.budget import Budget
from dfengine.supernode.console.rates import Rates


@given(st.floats(0, 1e12), st.lists(st.floats(0.2, 100), min_size=2, max_size=20))
def test_a_steady_counter_has_its_rate_at_any_distance_of_looks(rate: float, steps: list[float]) -> None:
    rates, now = Rates(), 1000.0
    assert rates.look("a", 0.0, now) is None
    rates.end()
    for step in steps:
        now += step
        assert rates.look("a", rate * (now - 1000.0), now) == pytest.approx(rate, rel=1e-6)
        rates.end()


def test_what_fell_or_was_not_looked_at_begins_anew() -> None:
    rates = Rates()
    rates.look("a", 10, 0.0)
    rates.end()
    assert rates.look("a", 20, 1.0) == 10
    assert rates.look("a", 25, 1.05) == rates.look("a", 25, 1.05)
    rates.end()
    assert rates.look("a", 5, 3.0) is None
    rates.end()
    rates.end()
    assert rates.look("a", 9, 4.0) is None


def test_work_beyond_the_share_has_to_wait() -> None:
    now = 0.0
    budget = Budget(0.1, 1.0, lambda: now)
    budget.spent(1.0)
    assert budget.wait() == 0
    budget.spent(1.0)
    assert budget.wait() == pytest.approx(10)
    now = 9.0
    assert budget.wait() == pytest.approx(1)
    now = 1e6
    assert budget.wait() == 0
    budget.spent(1.5)
    assert budget.wait() == pytest.approx(5)


def test_work_is_cut_and_others_run_between() -> None:
    now = 0.0
    order: list[int] = []
    budget = Budget(0.5, 0.0, lambda: now)

    def act(item: int) -> None:
        nonlocal now
        now += module.SLICE
        order.append(item)

    async def scene() -> None:
        asyncio.get_running_loop().call_soon(order.append, -1)
        await budget.spread(act, range(3))
        assert budget.wait() == pytest.approx(3 * module.SLICE)  # half of the time is its own

    asyncio.run(scene())
    assert order == [0, -1, 1, 2]


def test_too_many_who_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 1)

    async def scene() -> None:
        budget = Budget(1e-6)
        budget.spent(1)
        first = asyncio.ensure_future(budget.turn())
        await asyncio.sleep(0)
        with pytest.raises(BadRequest, match="waiting"):
            await budget.turn()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(scene())
