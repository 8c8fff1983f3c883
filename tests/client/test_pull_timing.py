"""When the client sends pulls to its supernode, on a virtual clock."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine.client.piece_timing import LEAD, QUICK, RECENT, PieceTiming
from dfengine.client.pull_timing import ALIVE, BATCH, GRACE, PARK, QUIET, Backoff, PullTiming


class TestBackoff:
    def test_waits_double_within_their_bounds(self) -> None:
        backoff = Backoff(0.05, 0.8)
        assert [round(backoff.next(0.0), 3) for _ in range(7)] == [0.05, 0.1, 0.2, 0.4, 0.8, 0.8, 0.8]
        assert backoff.next(0.999) < 1.6
        backoff.reset()
        assert 0.05 <= backoff.next(0.5) < 0.1


class TestPullTiming:
    def test_an_idle_thread_causes_a_request_at_once(self) -> None:
        rhythm = PullTiming()
        assert rhythm.due(100.0, reports=0, to_request=1, idle_thread=True)
        rhythm.sent(100.0, 0, 1)
        rhythm.answered(100.0, 1, 0.0)
        assert not rhythm.due(100.0, reports=0, to_request=1, idle_thread=False), "the request is sent with the next reports"
        assert not rhythm.due(100.0, reports=0, to_request=0, idle_thread=True), "no piece is left to request"

    def test_one_parked_request_suffices(self) -> None:
        rhythm = PullTiming()
        rhythm.sent(0.0, 0, 8)
        assert not rhythm.due(QUIET[0] * 0.9, reports=0, to_request=8, idle_thread=True)
        assert not rhythm.due(PARK, reports=0, to_request=0, idle_thread=True), "no piece is wanted any more"

    def test_a_supernode_without_offers_is_sent_requests_at_growing_intervals(self) -> None:
        rhythm, now, asked = PullTiming(), 0.0, []
        rhythm.sent(now, 0, 8)
        while now < 200.0:
            now += rhythm.wait(now, 0, 8, True)
            asked.append(now)
            rhythm.sent(now, 0, 8)
            rhythm.answered(now, 0, 0.0)
        assert asked[:3] == [QUIET[0], 3 * QUIET[0], 7 * QUIET[0]]
        assert asked[-1] - asked[-2] == QUIET[1]
        rhythm.answered(now, 1, 0.0)
        rhythm.sent(now, 0, 8)
        assert rhythm.wait(now, 0, 8, True) == QUIET[0]

    def test_a_response_is_overdue_by_its_kind_of_request(self) -> None:
        rhythm = PullTiming()
        assert rhythm.overdue_at(3.0) == math.inf
        rhythm.sent(10.0, 0, 8)
        assert rhythm.overdue_at(3.0) == 10.0 + PARK + GRACE, "the request may be parked"
        rhythm.sent(12.0, 1, 8)
        assert rhythm.overdue_at(3.0) == 15.0, "the second request released it"
        rhythm.answered(13.0, 0, 0.0)
        assert rhythm.overdue_at(3.0) == 12.0 + PARK + GRACE
        rhythm.answered(14.0, 1, 0.0)
        rhythm.sent(20.0, 1, 0)
        assert rhythm.overdue_at(3.0) == 23.0, "no piece is wanted, so the request is not parked"

    def test_reports_are_sent_when_the_last_request_is_old_enough(self) -> None:
        rhythm = PullTiming()
        rhythm.sent(0.0, 0, 8)
        assert rhythm.wait(0.01, reports=1, to_request=0, idle_thread=False) == pytest.approx(BATCH - 0.01)
        assert rhythm.due(BATCH, reports=1, to_request=0, idle_thread=False)
        assert rhythm.due(BATCH / 2, reports=1, to_request=1, idle_thread=True)
        assert rhythm.due(0.001, reports=2, to_request=1, idle_thread=True), "the reports may free the slots that the threads wait for"

    def test_at_most_two_requests_are_unanswered(self) -> None:
        rhythm = PullTiming()
        rhythm.sent(0.0, 0, 8)
        rhythm.sent(1.0, 3, 8)
        assert rhythm.unanswered == 2
        assert rhythm.oldest == 0.0
        assert not rhythm.due(50.0, reports=9, to_request=8, idle_thread=True)
        rhythm.answered(50.0, 0, 0.0)
        assert rhythm.due(50.0, reports=9, to_request=8, idle_thread=True)

    def test_a_supernode_that_does_not_park_is_not_sent_requests_in_a_loop(self) -> None:
        rhythm, now, asked = PullTiming(), 0.0, 0
        while now < 10.0:
            wait = rhythm.wait(now, 0, 8, True)
            if wait > 0:
                now += wait
                continue
            rhythm.sent(now, 0, 8)
            asked += 1
            now += 0.0001
            rhythm.answered(now, 0, 0.0)
        assert asked < 20

    def test_an_offer_ends_the_backoff(self) -> None:
        rhythm = PullTiming()
        for _ in range(6):
            rhythm.sent(0.0, 0, 8)
            rhythm.answered(0.0, 0, 0.0)
        assert rhythm.wait(0.0, 0, 8, True) > 0
        rhythm.sent(1.0, 1, 8)
        rhythm.answered(1.0, 1, 0.0)
        assert rhythm.wait(1.0, 0, 8, True) == 0

    def test_a_request_that_was_parked_for_long_is_renewed_at_once(self) -> None:
        rhythm = PullTiming()
        rhythm.sent(0.0, 0, 8)
        rhythm.answered(PARK, 0, 0.0)
        assert rhythm.due(PARK, 0, 8, True)

    def test_an_inactive_download_sends_keep_alive_pulls(self) -> None:
        rhythm = PullTiming()
        rhythm.sent(0.0, 0, 0)
        rhythm.answered(0.0, 0, 0.0)
        assert rhythm.wait(0.0, 0, 0, False) == ALIVE

    @given(
        apart=st.floats(0.0005, 0.011),
        pieces=st.integers(50, 300),
        slots=st.integers(4, 8),
        rtt=st.floats(0.0001, 0.002),
    )
    @settings(max_examples=60, deadline=None)
    def test_at_full_rate_half_a_request_per_piece_suffices(self, apart: float, pieces: int, slots: int, rtt: float) -> None:
        """Four workers share a link that delivers a piece every `apart` seconds; the supernode lends `slots` pieces at a time."""
        rhythm, now, stock, left, reports, requests = PullTiming(), 0.0, 0, pieces, 0, 0
        lent, parked, unlent = 0, None, pieces  # a piece is lent once, however often it is requested
        ends: list[float] = []
        answers: list[tuple[float, int]] = []
        while left or reports:
            while len(ends) < 4 and stock:
                stock -= 1
                ends.append(max([now, *ends]) + apart)
            to_request = max(0, min(8 - stock - len(ends), left - stock - len(ends)))
            wait = rhythm.wait(now, reports, to_request, idle_thread=stock == 0 and len(ends) < 4)
            if wait <= 0:
                requests += 1
                rhythm.sent(now, reports, to_request)
                if parked is not None:
                    answers.append((now + rtt, 0))
                lent, reports, parked = lent - reports, 0, to_request
                give = min(parked, slots - lent, unlent)
                if give or not parked:
                    answers.append((now + rtt, give))
                    lent, parked, unlent = lent + give, None, unlent - give
                continue
            now = min([now + wait, *(at for at, _ in answers), *ends])
            for answer in [answer for answer in answers if answer[0] <= now]:
                answers.remove(answer)
                stock += answer[1]
                rhythm.answered(now, answer[1], 0.0)
            if ends and now >= min(ends):
                ends.remove(min(ends))
                left, reports = left - 1, reports + 1
        assert requests <= pieces / 2 + 6
        assert now <= pieces * apart * 1.2 + 0.1, "a worker waits long for a report to be sent"


class TestPieceTiming:
    def test_no_piece_is_late_before_durations_are_known(self) -> None:
        timing = PieceTiming()
        assert timing.late_after(0.5) == float("inf")
        assert timing.ahead(4) == 4
        timing.add(1.0)
        timing.add(1.0)
        assert timing.late_after(0.5) == float("inf")

    def test_mean_and_deviation_are_of_the_recent_durations(self) -> None:
        timing = PieceTiming()
        for seconds in (1.0, 2.0, 3.0):
            timing.add(seconds)
        assert timing.mean == 2.0
        assert timing.late_after(0.0) == 2.0
        assert timing.late_after(1.0) == pytest.approx(2.0 + (2 / 3) ** 0.5)
        for _ in range(RECENT):
            timing.add(9.0)
        assert timing.late_after(5.0) == 9.0

    @pytest.mark.parametrize(("seconds", "ahead"), [(5e-324, 4), (0.001, 4), (0.1, 4), (0.2, 2), (1.0, 1), (60.0, 1)])
    def test_slow_pieces_are_not_requested_far_ahead(self, seconds: float, ahead: int) -> None:
        timing = PieceTiming()
        timing.add(seconds)
        assert timing.ahead(4) == ahead


class TestEarlyAnnouncements:
    def test_a_slow_piece_is_announced_the_lead_time_before_its_end(self) -> None:
        timing = PieceTiming()
        assert timing.announce_in(4000, 1000, 1.0) == pytest.approx(3.0 - LEAD), "only this piece is known"
        assert timing.announce_in(4000, 3900, 1.0) < 0
        timing.add(4.0)
        assert timing.announce_in(4000, 2000, 2.0) == pytest.approx(2.0 - LEAD)
        assert timing.slow

    def test_the_lead_time_is_at_most_half_of_a_pieces_duration(self) -> None:
        timing = PieceTiming()
        timing.add(QUICK)
        assert timing.announce_in(4000, 2000, 0.05) == pytest.approx(0.05 - QUICK / 2)

    def test_quick_pieces_are_not_announced(self) -> None:
        timing = PieceTiming()
        timing.add(QUICK / 2)
        assert timing.announce_in(4000, 3999, 0.05) == math.inf
        assert not timing.slow
        assert PieceTiming().announce_in(4000, 3999, QUICK / 8) == math.inf

    def test_a_small_part_of_a_piece_gives_no_estimate(self) -> None:
        assert PieceTiming().announce_in(4000, 999, 1.0) == math.inf
        assert PieceTiming().announce_in(4000, 0, 0.0) == math.inf

    def test_the_first_part_of_a_piece_gives_an_estimate_of_its_duration(self) -> None:
        timing = PieceTiming()
        assert timing.early_estimate(0.1, 5.0) == 0.0
        assert timing.early_estimate(0.125, 7.0) == 0.0, "until now other connections may have used the link"
        assert timing.early_estimate(0.37, 7.5) == 0.0, "the part is too small"
        assert timing.early_estimate(0.375, 7.5) == 2.0
        assert timing.early_estimate(0.625, 7.5) == 1.0, "two pieces are being received"
        assert timing.early_estimate(0.0, 7.5) == 0.0, "the received part is lost"
        timing.add(1.0)
        assert timing.early_estimate(0.375, 7.5) == 0.0, "a measured duration is more exact"

    def test_the_first_part_of_a_quick_piece_gives_no_estimate(self) -> None:
        timing = PieceTiming()
        timing.early_estimate(0.5, 5.0)
        assert timing.early_estimate(1.0, 5.0 + QUICK / 4) == 0.0
