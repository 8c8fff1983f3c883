from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dfengine.net.token_bucket import TokenBucket

RATES = st.integers(1, 10**10)


def test_without_a_limit_everything_is_granted_at_once() -> None:
    bucket = TokenBucket(0)
    assert bucket.acquire(10**15, 0.0) == 10**15
    assert bucket.wait(0.0) == 0.0


@given(RATES, st.lists(st.tuples(st.floats(0, 2), st.integers(1, 10**9), st.floats(0, 1)), max_size=60))
def test_no_interval_exceeds_the_rate_by_more_than_a_burst(rate: int, steps: list[tuple[float, int, float]]) -> None:
    bucket = TokenBucket(rate)
    now = 0.0
    moved: list[tuple[float, int]] = []
    for pause, want, used in steps:
        now += pause
        taken = bucket.acquire(want, now)
        assert taken == 0 or min(want, bucket.quantum) <= taken <= want
        kept = int(taken * used)
        bucket.release(taken - kept)
        moved.append((now, kept))
    for first, (begin, _) in enumerate(moved):
        for last in range(first, len(moved)):
            total = sum(count for _, count in moved[first : last + 1])
            assert total <= bucket.burst + rate * (moved[last][0] - begin) + 1 + 1e-6 * total


@given(st.integers(100_000, 10**10))
def test_a_second_stays_within_three_per_cent_of_the_rate(rate: int) -> None:
    bucket = TokenBucket(rate)
    assert bucket.burst <= 0.03 * rate


@given(RATES, st.integers(1, 10**9), st.integers(0, 10**9))
def test_the_stated_wait_is_sufficient_and_not_too_long(rate: int, want: int, spent: int) -> None:
    bucket = TokenBucket(rate)
    bucket.acquire(min(spent, bucket.burst), 0.0)
    wait = bucket.wait(0.0, want)
    if wait:
        assert bucket.acquire(want, wait * 0.5) == 0
    # One nanosecond more, because seconds are floats.
    assert bucket.acquire(want, wait * (1 + 1e-9) + 1e-6 + 1 / rate) > 0


def test_a_steady_sender_gets_the_whole_rate() -> None:
    rate, now, moved = 1_000_000, 0.0, 0
    bucket = TokenBucket(rate)
    while now < 10:
        moved += bucket.acquire(1 << 20, now)
        now += 0.001
    assert abs(moved - rate * 10) <= bucket.burst + rate * 0.001


def test_the_rate_may_change_during_use() -> None:
    bucket = TokenBucket(1000)
    assert bucket.acquire(10_000, 0.0) == bucket.burst
    bucket.set_rate(1_000_000, 0.0)
    assert bucket.acquire(10**9, 0.0) == 0
    assert bucket.acquire(10**9, 1.0) == bucket.burst == 25_000
    bucket.set_rate(0, 1.0)
    assert bucket.acquire(10**9, 1.0) == 10**9
    bucket.set_rate(1000, 2.0)
    assert bucket.acquire(10**9, 2.0) <= bucket.burst


def test_tokens_saved_at_a_higher_rate_are_dropped_at_a_lower_one() -> None:
    bucket = TokenBucket(1_000_000)
    bucket.set_rate(1000, 0.0)
    assert bucket.acquire(10**9, 0.0) == bucket.burst == 2048


def test_a_clock_that_goes_backwards_grants_nothing() -> None:
    bucket = TokenBucket(1000, 1000)
    assert bucket.acquire(1000, 5.0) == 1000
    assert bucket.acquire(1000, 4.0) == 0
    assert bucket.acquire(1000, 6.0) == 1000


def test_released_tokens_never_exceed_a_burst() -> None:
    bucket = TokenBucket(1000, 500)
    bucket.release(10**9)
    assert bucket.acquire(10**9, 0.0) == 500
