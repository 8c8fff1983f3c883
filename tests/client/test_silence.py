"""Sources that do not send in time: other sources are hedged, and no number of silent ones delays a download."""

from __future__ import annotations

import pytest

from dfengine._window import Window
from dfengine.client.job import Job
from dfengine.client.messages import Source
from dfengine.client.piece_timing import MAX_SILENCE, MIN_SILENCE, PieceTiming
from dfengine.client.plan import Plan
from dfengine.client.source_health import AVOID


def where(cid: str, port: int) -> Source:
    return Source(cid, "127.0.0.1", port, f"/peer/file/{cid}")


A, B = where("a", 15001), where("b", 15002)


def plan(count: int, workers: int = 2) -> Plan:
    return Plan(Window(-1, count), workers)


def finish(of: Plan, job: Job, now: float) -> None:
    assert of.arrived(job, now)
    of.written(job)


CDN = Source("cdnnode:1~t", "127.0.0.1", 8001, "/download/abc/abc")


class TestSilence:
    def test_a_piece_of_a_silent_source_is_hedged_at_once_and_the_first_source_may_still_win(self) -> None:
        many = plan(9)
        many.offer(0, "d", [A, B], 0.0)
        many.offer(1, "d", [A, CDN], 0.0)
        job = many.assign(0.0)
        assert job is not None
        assert not many.is_overdue(job, 0, MIN_SILENCE - 0.01, 0.0)
        assert many.is_overdue(job, 0, MIN_SILENCE, 0.0)
        many.mark_silent(job, MIN_SILENCE)
        assert many.drain() == ([], [(0, "a", "slow")])
        assert many.stuck == 1
        hedge = many.assign(MIN_SILENCE)
        assert hedge is not None
        assert (hedge.piece, hedge.source, many.hedged) == (0, B, 1)
        elsewhere = many.assign(MIN_SILENCE)
        assert elsewhere is not None
        assert elsewhere.source == CDN, "a piece is assigned to a silent source"
        finish(many, job, 0.9)
        assert hedge.lost
        assert many.drain()[0] == [(0, "a")]

    def test_a_source_that_sends_the_head_and_then_almost_nothing_is_silent(self) -> None:
        for trickle in (0, 1):
            many = plan(9)
            many.offer(0, "d", [A, B], 0.0)
            job = many.assign(0.0)
            assert job is not None
            now, received = 0.1, 200
            while not many.is_overdue(job, received, now, 16384.0):
                now, received = now + 0.1, received + trickle
                assert now < 2.0
            assert now >= MIN_SILENCE

    def test_a_source_at_the_minimum_rate_is_not_silent(self) -> None:
        many = plan(9)
        many.offer(0, "d", [A, B], 0.0)
        job = many.assign(0.0)
        assert job is not None
        assert not any(many.is_overdue(job, int(at * 1639), at / 10, 16384.0) for at in range(600))

    def test_a_source_that_continues_below_the_minimum_rate_stays_avoided(self) -> None:
        many = plan(9)
        many.offer(0, "d", [A, B], 0.0)
        job = many.assign(0.0)
        assert job is not None
        left = []
        for tick in range(100):
            now = tick / 10
            if many.is_overdue(job, tick * 100, now, 16384.0):
                many.mark_silent(job, now)
            if job.silent:
                left.append(not many.offer(5, "d", [A], now))
        assert len(left) > 50
        assert all(left)

    def test_with_two_silent_addresses_unknown_sources_are_requested_last(self) -> None:
        many = plan(20, workers=8)
        for n, port in enumerate((15011, 15011, 15012)):
            many.offer(n, "d", [where(f"m{n}", port), CDN], 0.0)
        for job in [many.assign(0.0) for _ in range(3)]:
            assert job is not None
            many.mark_silent(job, 1.0)
        many.offer(9, "d", [A, CDN], 1.0)
        taken = [many.assign(1.0) for _ in range(4)]
        assert {job.source for job in taken if job is not None} == {CDN}
        finish(many, next(job for job in taken if job is not None and job.piece == 9), 1.5)
        many.offer(10, "d", [A, CDN], 1.0 + 3 * AVOID)
        job = many.assign(1.0 + 3 * AVOID)
        assert job is not None
        assert job.source == A, "an unknown source is avoided permanently"

    def test_a_source_that_delivered_a_piece_is_not_requested_last(self) -> None:
        many = plan(20, workers=8)
        many.offer(0, "d", [A], 0.0)
        job = many.assign(0.0)
        assert job is not None
        finish(many, job, 0.1)
        for n, port in enumerate((15011, 15012), 1):
            many.offer(n, "d", [where(f"m{n}", port)], 0.0)
            job = many.assign(0.0)
            assert job is not None
            many.mark_silent(job, 1.0)
        many.offer(5, "d", [B, A, CDN], 1.0)
        job = many.assign(1.0)
        assert job is not None
        assert job.source == A

    def test_a_piece_offered_by_silent_sources_only_is_requested_again(self) -> None:
        many = plan(1, workers=1)
        many.offer(0, "d", [A], 0.0)
        job = many.assign(0.0)
        assert job is not None
        assert (many.to_request(), many.idle_thread) == (0, False)
        many.mark_silent(job, 1.0)
        assert (many.to_request(), many.idle_thread) == (1, True)
        assert many.offer(0, "d", [B], 1.1)
        hedge = many.assign(1.1)
        assert hedge is not None
        assert hedge.source == B
        assert many.to_request() == 0
        many.failed(job, "gone", 10.0)
        finish(many, hedge, 10.0)
        assert many.drain() == ([(0, "b")], [(0, "a", "slow")]), "the failure is reported twice"

    def test_a_silent_supernode_is_hedged_and_not_avoided(self) -> None:
        many = plan(9)
        many.offer(0, "d", [CDN, A], 0.0)
        many.offer(1, "d", [CDN], 0.0)
        job = many.assign(0.0)
        assert job is not None
        many.mark_silent(job, 1.0)
        assert many.drain() == ([], [])
        first, second = many.assign(1.0), many.assign(1.0)
        assert first is not None
        assert second is not None
        assert (first.piece, first.source, second.piece, second.source) == (0, A, 1, CDN)

    def test_the_time_to_silence_follows_measured_response_times(self) -> None:
        timing = PieceTiming()
        assert timing.patience == MIN_SILENCE
        for _ in range(8):
            timing.answered(0.01)
        assert timing.patience == MIN_SILENCE
        for _ in range(8):
            timing.answered(0.8)
        assert 1.6 < timing.patience <= MAX_SILENCE


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("pieces", [4, 400])
def test_any_number_of_silent_sources_costs_two_seconds_while_the_supernode_has_the_file(workers: int, pieces: int) -> None:
    """On a virtual clock: a piece of the supernode takes 10 ms, other sources send nothing, and their threads are replaced."""
    many, now = plan(pieces, workers), 0.0
    running: list[tuple[float, Job]] = []
    waiting: list[Job] = []
    mute = offered = 0
    while not many.finished:
        while offered < pieces and many.to_request():
            many.offer(offered, "d", [where(f"m{mute}", 15000 + mute), where(f"m{mute + 1}", 15001 + mute), CDN], now)
            offered, mute = offered + 1, mute + 2
        while many._running - many.stuck < workers and (job := many.assign(now)) is not None:
            if job.source is CDN:
                running.append((now + 0.01, job))
            else:
                waiting.append(job)
        if running:
            running.sort(key=lambda entry: entry[0])
            now, job = running.pop(0)
            assert many.arrived(job, now)
            for rival in many.rivals(job):  # its connection is cut
                many.failed(rival, "gone", now)
                waiting.remove(rival)
            many.written(job)
        else:
            now += 0.1
        for job in waiting:
            if many.is_overdue(job, 0, now, 0.0):
                many.mark_silent(job, now)
    assert now <= -(-pieces // workers) * 0.01 + 2.0


def test_a_wrong_digest_is_not_reset_by_a_success_of_a_running_piece() -> None:
    many = plan(9)
    for n in range(2):
        many.offer(n, "d", [A], 0.0)
    first, second = many.assign(0.0), many.assign(0.0)
    assert first is not None
    assert second is not None
    many.failed(first, "digest", 0.1)
    finish(many, second, 0.2)
    assert not many.offer(2, "d", [A], 0.3), "a source with a wrong digest is assigned again"
    assert many.offer(2, "d", [B], 0.3)
