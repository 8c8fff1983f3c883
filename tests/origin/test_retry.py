"""Transient failures, pauses, and the end of retries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import OriginChanged, OriginError, OriginForbidden, OriginSlow, OriginTruncated, OriginUnreachable
from dfengine.origin.retry import ASKED, FIRST_PAUSE, MAX_PAUSE, TRANSIENT, WINDOW, Rate, Retry, transient

BUSY = OriginError("busy", 503)
CHANCE = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_transient_statuses(status: int) -> None:
    assert transient(OriginError("x", status))
    assert not transient(OriginError("x", status, final=True))


@pytest.mark.parametrize("status", [200, 206, 301, 400, 401, 403, 404, 405, 407, 410, 416, 451, 501, 505])
def test_permanent_statuses(status: int) -> None:
    assert not transient(OriginError("x", status))
    assert status not in TRANSIENT


def test_connection_failures_are_transient_and_changed_files_permanent() -> None:
    assert transient(OriginUnreachable("reset"))
    assert transient(OriginTruncated("cut"))
    assert transient(OriginSlow("slow"))
    assert not transient(OriginError("no HTTP"))
    assert not transient(OriginUnreachable("its certificate", final=True))
    assert not transient(OriginChanged("another"))
    assert not transient(OriginChanged("another", 503))
    assert not transient(OriginForbidden("denied"))


def test_pauses_grow_and_tries_are_bounded() -> None:
    retry = Retry(5)
    assert [retry.pause(BUSY, 0.0, 0.0) for _ in range(6)] == [0.25, 0.5, 1.0, 2.0, 4.0, None]
    retry = Retry(5)
    assert [retry.pause(BUSY, 0.0, 0.5) for _ in range(2)] == [0.375, 0.75]


def test_zero_retries_never_pause() -> None:
    assert Retry(0).pause(BUSY, 0.0, 0.0) is None


def test_a_permanent_failure_ends_at_once_and_is_not_counted() -> None:
    retry = Retry(1)
    assert retry.pause(OriginError("gone", 404), 0.0, 0.0) is None
    assert retry.pause(BUSY, 0.0, 0.0) == FIRST_PAUSE


def test_a_rate_counts_only_the_time_of_waiting() -> None:
    bound = WINDOW[0] + WINDOW[1] / 1000.0
    rate, now = Rate(1000.0, 7.0), 7.0
    for step in range(5):
        now += 10 * bound
        rate.passed(now, now - 0.5 if step % 2 else None)
    assert not rate.slow(10), "this side paused"
    rate.passed(now + 10 * bound, now)
    assert not rate.slow(10), "this process did not run"
    now += 10 * bound
    for step in range(int(bound)):
        assert not rate.slow(10) or step > bound - 5
        rate.passed(now + step, now)
    for step in range(5):
        rate.passed(now + bound + step, 0.0)
    assert rate.slow(10)
    assert not rate.slow(10 + WINDOW[1])
    rate.passed(now, 0.0)  # another thread was later to get the lock
    assert not rate.slow(10 + WINDOW[1])


@given(st.integers(0, 5000), CHANCE)
def test_a_pause_is_bounded_after_any_number_of_failures(failures: int, chance: float) -> None:
    retry, last = Retry(1 << 20), 0.0
    for _ in range(min(failures, 40)):
        wait = retry.pause(BUSY, 0.0, chance)
        assert wait is not None
        assert max(FIRST_PAUSE, min(last, MAX_PAUSE)) <= wait <= MAX_PAUSE * 2
        last = wait
    retry._failures = failures
    assert retry.pause(BUSY, 0.0, chance) is not None


@given(st.floats(0, 2 * ASKED), CHANCE)
def test_a_requested_pause_is_kept_or_ends_the_retries(asked: float, chance: float) -> None:
    wait = Retry(5).pause(OriginError("busy", 429, asked), 0.0, chance)
    if asked > ASKED:
        assert wait is None
    else:
        assert wait is not None
        assert wait >= max(asked, FIRST_PAUSE)


def test_progress_resets_the_count() -> None:
    retry = Retry(2)
    for _ in range(10):
        assert retry.pause(BUSY, 0.0, 0.0) == 0.25
        assert retry.pause(BUSY, 0.0, 0.0) == 0.5
        retry.progress()
    assert retry.pause(BUSY, 0.0, 0.0) == 0.25
    assert retry.pause(BUSY, 0.0, 0.0) == 0.5
    assert retry.pause(BUSY, 0.0, 0.0) is None


def test_a_raised_bound_includes_earlier_failures() -> None:
    retry = Retry(0)
    assert retry.pause(OriginUnreachable("gone"), 0.0, 0.0) is None
    retry.bound(2, 0.0)
    assert [retry.pause(OriginUnreachable("gone"), 0.0, 0.0) is None for _ in range(3)] == [False, False, True]


def test_no_retry_begins_after_the_time_limit() -> None:
    retry = Retry(100, 3.0)
    assert retry.pause(BUSY, 10.0, 0.0) == 0.25
    assert retry.pause(BUSY, 12.5, 0.0) == 0.5, "it would begin just in time"
    assert retry.pause(BUSY, 12.5, 0.0) is None
    assert Retry(100, 3.0).pause(OriginError("busy", 503, 12.0), 0.0, 0.0) is None
    retry.progress()
    assert retry.pause(BUSY, 50.0, 0.0) == 0.25, "the time does not start with the first failure in a row"


@given(st.lists(st.tuples(st.floats(0, 5), CHANCE), max_size=30), st.integers(0, 6), st.floats(0.5, 20))
def test_tries_are_bounded_in_number_and_time(failures: list[tuple[float, float]], count: int, seconds: float) -> None:
    retry, now, first, tries = Retry(count, seconds), 0.0, None, 0
    for took, chance in failures:
        now += took
        first = now if first is None else first
        wait = retry.pause(BUSY, now, chance)
        if wait is None:
            continue
        tries += 1
        now += wait
        assert now <= first + seconds + 1e-9
    assert tries <= count
