"""Rates of counters, and the share of CPU time that figures may use."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.net.http import BadRequest
from dfengine.supernode.console import budget as module
from dfengine.supernode.console.budget import Budget
from dfengine.supernode.console.rates import Rates
from dfengine.supernode.request_limits import Caller


@given(st.floats(0, 1e12), st.lists(st.floats(0.21, 34.9), min_size=2, max_size=20))
def test_a_steady_counter_has_its_rate_at_any_sampling_interval(rate: float, steps: list[float]) -> None:
    rates, now = Rates(), 1000.0
    assert rates.rate("a", 0.0, now) is None
    rates.end()
    for step in steps:
        now += step
        assert rates.rate("a", rate * (now - 1000.0), now) == pytest.approx(rate, rel=1e-6)
        rates.end()


def test_a_sample_that_is_too_old_gives_no_rate() -> None:
    rates = Rates()
    rates.rate("a", 0.0, 0.0)
    rates.end()
    assert rates.rate("a", 6000.0, 600.0) is None
    rates.end()
    assert rates.rate("a", 6000.0, 601.0) == 0


def test_a_counter_that_decreased_or_missed_a_sample_starts_again() -> None:
    rates = Rates()
    rates.rate("a", 10, 0.0)
    rates.end()
    assert rates.rate("a", 20, 1.0) == 10
    assert rates.rate("a", 25, 1.05) == rates.rate("a", 25, 1.05)
    rates.end()
    assert rates.rate("a", 5, 3.0) is None
    rates.end()
    rates.end()
    assert rates.rate("a", 9, 4.0) is None


class Clock:
    """A virtual clock with wall time and CPU time used."""

    def __init__(self, share: float, burst: float) -> None:
        self.now = self.used = 0.0
        self.budget = Budget(share, burst, lambda: self.now, lambda: self.used)

    def spend(self, seconds: float) -> None:
        with self.budget.work():
            self.used += seconds


def test_work_beyond_the_share_is_delayed() -> None:
    clock = Clock(0.1, 1.0)
    clock.spend(1.0)
    assert clock.budget.delay() == 0
    clock.spend(1.0)
    assert clock.budget.delay() == pytest.approx(10)
    clock.now = 9.0
    assert clock.budget.delay() == pytest.approx(1)
    clock.now = 1e6
    assert clock.budget.delay() == 0
    clock.spend(1.5)
    assert clock.budget.delay() == pytest.approx(5)


def test_work_is_sliced_and_other_callbacks_run_between_slices() -> None:
    clock = Clock(0.5, 0.0)
    order: list[int] = []

    def act(item: int) -> None:
        clock.now += module.SLICE
        clock.used += module.SLICE / 2
        order.append(item)

    async def scene() -> None:
        asyncio.get_running_loop().call_soon(order.append, -1)
        await clock.budget.spread(act, range(3))
        assert clock.budget.delay() == 0  # the share is half of the time, and half was used
        await clock.budget.spread(act, ())

    asyncio.run(scene())
    assert order == [0, -1, 1, 2]


def test_requests_beyond_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 1)

    async def scene() -> None:
        clock = Clock(1e-6, 0.0)
        clock.spend(1)

        async def ask() -> None:
            with clock.budget.request(Caller()):
                await clock.budget.wait_turn()

        first = asyncio.ensure_future(ask())
        await asyncio.sleep(0)
        with pytest.raises(BadRequest, match="waiting"):
            await ask()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        with clock.budget.request(Caller()):
            assert clock.budget.delay()

    asyncio.run(scene())


def test_a_client_does_not_take_all_places_of_requests_for_figures() -> None:
    with ExitStack() as stack:
        budget = Clock(1e-6, 0.0).budget

        def admitted(address: str, may_change: bool = False) -> int:
            count = 0
            with suppress(BadRequest):
                while True:
                    stack.enter_context(budget.request(Caller(address, may_change)))
                    count += 1
            return count

        assert admitted("10.0.0.1") == module.MAX_WAITING * 3 // 4
        assert admitted("10.0.0.2") == module.MAX_WAITING // 4
        assert admitted("10.0.0.1", may_change=True) == module.MAX_WAITING * 3 // 4
