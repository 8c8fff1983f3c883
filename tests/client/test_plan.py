"""The plan as a state machine: every piece is fetched once and none is lost as long as one source works."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dfengine._window import Window
from dfengine.client.job import Job
from dfengine.client.messages import Source
from dfengine.client.piece_timing import MIN_ENDGAME
from dfengine.client.plan import Plan
from dfengine.client.source_health import AVOID, FAULTS, Health
from dfengine.errors import IllegalEvent


def where(cid: str, port: int = 15000) -> Source:
    return Source(cid, "127.0.0.1", port, f"/peer/file/{cid}")


A, B, C = where("a", 15001), where("b", 15002), where("c", 15003)


def plan(count: int = 4, workers: int = 2, **how: object) -> Plan:
    return Plan(Window(-1, count), workers, **how)  # type: ignore[arg-type]


def finish(of: Plan, job: Job, now: float) -> None:
    assert of.arrived(job, now)
    of.written(job)


class TestOnePiece:
    def test_a_piece_is_offered_assigned_received_and_reported(self) -> None:
        one = plan(1)
        assert (one.unrequested(), one.idle_thread, one.finished) == (1, True, False)
        assert one.offer(0, "d", [A], 1.0)
        assert (one.unrequested(), one.idle_thread, one.to_request()) == (0, False, 0)
        job = one.assign(1.0)
        assert job is not None
        assert (job.piece, job.source, job.digest, one.hedged) == (0, A, "d", 0)
        assert one.assign(1.0) is None
        finish(one, job, 2.0)
        assert one.finished
        assert one.drain() == ([(0, "a")], [])
        assert one.drain() == ([], [])

    def test_an_alternate_source_is_assigned_at_once_when_the_first_fails(self) -> None:
        one = plan(1)
        one.offer(0, "d", [A, B], 0.0)
        first = one.assign(0.0)
        assert first is not None
        one.failed(first, "gone", 0.1)
        second = one.assign(0.1)
        assert second is not None
        assert second.source == B
        finish(one, second, 0.2)
        assert one.drain() == ([(0, "b")], [(0, "a", "gone")])

    def test_has_alternative_ignores_failed_and_current_sources(self) -> None:
        one = plan(1)
        one.offer(0, "d", [A, B], 0.0)
        first = one.assign(0.0)
        assert first is not None
        assert one.has_alternative(first, 0.0)
        one.failed(first, "gone", 0.1)
        second = one.assign(0.1)
        assert second is not None
        assert not one.has_alternative(second, 0.1)
        one.offer(0, "d", [B], 0.15)
        assert not one.has_alternative(second, 0.15), "the only source offered is the current one"
        one.offer(0, "d", [B, C], 0.2)
        assert one.has_alternative(second, 0.2)
        finish(one, second, 0.3)
        assert not one.has_alternative(second, 0.3)

    def test_a_piece_without_sources_is_requested_again(self) -> None:
        one = plan(1)
        one.offer(0, "d", [A], 0.0)
        job = one.assign(0.0)
        assert job is not None
        one.failed(job, "slow", 1.0)
        assert one.assign(1.0) is None
        assert one.unrequested() == 1
        one.offer(0, "d", [A], 2.0)
        assert one.assign(2.0) is not None

    def test_a_released_piece_may_be_assigned_to_the_same_source(self) -> None:
        one = plan(1)
        one.offer(0, "d", [A], 0.0)
        job = one.assign(0.0)
        assert job is not None
        one.release(job, 0.0)
        assert one.failures == []
        again = one.assign(0.0)
        assert again is not None
        assert again.source == A

    def test_an_offer_of_a_stored_piece_is_reported_as_done(self) -> None:
        one = plan(2)
        one.add_stored([1])
        assert one.offer(1, "d", [A, B], 0.0)
        assert one.drain() == ([(1, "a")], [])
        assert one.assign(0.0) is None

    def test_a_second_offer_adds_sources(self) -> None:
        one = plan(1)
        one.offer(0, "d", [A], 0.0)
        job = one.assign(0.0)
        assert job is not None
        one.offer(0, "d", [B], 0.0)
        one.failed(job, "gone", 0.0)
        second = one.assign(0.0)
        assert second is not None
        assert second.source == B

    def test_events_out_of_order_raise(self) -> None:
        one = plan(1)
        one.offer(0, "d", [A], 0.0)
        job = one.assign(0.0)
        assert job is not None
        with pytest.raises(IllegalEvent):
            one.written(job)
        assert one.arrived(job, 0.0)
        with pytest.raises(IllegalEvent):
            one.arrived(job, 0.0)
        one.written(job)
        for event in (one.written, lambda job: one.failed(job, "gone", 0.0), lambda job: one.release(job, 0.0)):
            with pytest.raises(IllegalEvent):
                event(job)


class TestSources:
    def test_a_source_that_fails_repeatedly_is_avoided_for_a_while(self) -> None:
        many = plan(9)
        for n in range(FAULTS):
            many.offer(n, "d", [A], 0.0)
            job = many.assign(0.0)
            assert job is not None
            many.failed(job, "gone", 5.0)
        many.drain()
        assert not many.offer(7, "d", [A], 5.0 + AVOID - 0.1)
        assert many.drain() == ([], [(7, "a", "other")])
        assert many.refused == 1
        assert many.offer(7, "d", [A], 5.0 + AVOID)
        assert many.refused == 0

    def test_the_time_of_avoidance_doubles_each_time(self) -> None:
        health, now = Health(), 0.0
        for wait in (AVOID, 2 * AVOID, 4 * AVOID):
            assert [health.fault("a", "gone", now) for _ in range(FAULTS)] == [False] * (FAULTS - 1) + [True]
            assert health.is_avoided(A, now + wait - 0.1)
            now += wait
            assert not health.is_avoided(A, now)

    def test_a_slot_at_a_source_that_is_avoided_is_returned(self) -> None:
        many = plan(9)
        many.offer(8, "d", [A, B], 0.0)
        for n in range(FAULTS):
            many.offer(n, "d", [A], 0.0)
        jobs = [many.assign(0.0, ("127.0.0.1", A.port)) for _ in range(FAULTS + 1)]
        held = next(job for job in jobs if job is not None and job.piece == 8)
        many.release(held, 1.0)
        for job in jobs:
            if job is not None and job is not held:
                many.failed(job, "gone", 2.0)
        many.drain()
        last = many.assign(2.0)
        assert last is not None
        assert (last.piece, last.source) == (8, B)
        many.failed(last, "gone", 3.0)
        assert many.drain() == ([], [(8, "b", "gone"), (8, "a", "other")])
        assert many.unrequested() == 9

    def test_a_success_resets_failures(self) -> None:
        many = plan(9)
        for n, good in enumerate([False, False, True, False, False]):
            many.offer(n, "d", [A], 0.0)
            job = many.assign(0.0)
            assert job is not None
            if good:
                finish(many, job, 0.0)
            else:
                many.failed(job, "gone", 0.0)
        assert many.offer(8, "d", [A], 0.0)

    def test_a_source_with_a_wrong_digest_is_avoided_permanently_and_its_offers_returned(self) -> None:
        many = plan(3)
        many.offer(0, "d", [A], 0.0)
        many.offer(1, "d", [A], 0.0)
        many.offer(2, "d", [A, B], 0.0)
        job = many.assign(0.0)
        assert job is not None
        many.failed(job, "digest", 0.0)
        assert many.drain() == ([], [(0, "a", "digest"), (1, "a", "other")])
        assert many.unrequested() == 2
        left = many.assign(1e9)
        assert left is not None
        assert (left.piece, left.source) == (2, B)
        many.forget_offers()
        assert not many.offer(1, "d", [A], 1e9)

    def test_an_avoided_first_source_is_reported_and_the_next_one_assigned(self) -> None:
        many = plan(3)
        many.offer(0, "d", [A], 0.0)
        job = many.assign(0.0)
        assert job is not None
        many.failed(job, "digest", 0.0)
        many.drain()
        assert many.offer(1, "d", [A, B], 0.0)
        assert many.drain() == ([], [(1, "a", "other")])
        other = many.assign(0.0)
        assert other is not None
        assert other.source == B

    def test_a_new_supernode_resets_failures(self) -> None:
        many = plan(9)
        for n in range(FAULTS):
            many.offer(n, "d", [A], 0.0)
            job = many.assign(0.0)
            assert job is not None
            many.failed(job, "gone", 0.0)
        many.forget_offers()
        assert many.offer(8, "d", [A], 0.0)

    def test_a_source_with_an_open_connection_is_preferred(self) -> None:
        many = plan(3)
        many.offer(0, "d", [A], 0.0)
        many.offer(1, "d", [B], 0.0)
        job = many.assign(0.0, (B.ip, B.port))
        assert job is not None
        assert job.piece == 1
        assert many.assign(0.0, (C.ip, C.port), only=True) is None
        first = many.assign(0.0, (C.ip, C.port))
        assert first is not None
        assert first.piece == 0


def late(of: Plan) -> None:
    """A plan that knows from three pieces of one second each when a piece is late."""
    for n in range(3):
        of.offer(n, "d", [A], 0.0)
        job = of.assign(0.0)
        assert job is not None
        finish(of, job, 1.0)
    of.drain()


class TestHedges:
    def test_no_piece_is_hedged_while_other_pieces_can_be_requested(self) -> None:
        many = plan(5)
        late(many)
        many.offer(3, "d", [A, B], 1.0)
        assert many.assign(1.0) is not None
        assert many.assign(100.0) is None, "piece 4 is not offered yet"
        many.add_stored([4])
        hedge = many.assign(100.0)
        assert hedge is not None
        assert (hedge.piece, hedge.source, many.hedged) == (3, B, 1)
        assert many.assign(100.0) is None, "a piece is hedged twice"
        assert many.hedged == 1

    def test_only_a_late_piece_is_hedged(self) -> None:
        many = plan(4)
        late(many)
        many.offer(3, "d", [A, B], 1.0)
        assert many.assign(1.0) is not None
        due = many.hedge_at()
        assert due == pytest.approx(1.0 + 1.0 + MIN_ENDGAME)
        assert many.assign(due - 0.01) is None
        assert many.assign(due) is not None

    def test_the_first_of_two_jobs_wins_and_the_other_is_lost_without_a_fault(self) -> None:
        many = plan(4)
        late(many)
        many.offer(3, "d", [A, B], 1.0)
        slow, quick = many.assign(1.0), many.assign(100.0)
        assert slow is not None
        assert quick is not None
        assert many.arrived(quick, 101.0)
        assert many.rivals(quick) == [slow]
        assert not many.arrived(slow, 101.0)
        many.written(quick)
        assert many.finished
        assert many.drain() == ([(3, "b")], [])

    def test_a_losing_job_that_fails_later_changes_nothing(self) -> None:
        many = plan(4)
        late(many)
        many.offer(3, "d", [A, B], 1.0)
        slow, quick = many.assign(1.0), many.assign(100.0)
        assert slow is not None
        assert quick is not None
        finish(many, quick, 101.0)
        many.failed(slow, "gone", 102.0)
        assert (many.finished, many._running, many.failures) == (True, 0, [])

    def test_when_one_of_two_jobs_fails_the_other_continues(self) -> None:
        many = plan(4)
        late(many)
        many.offer(3, "d", [A, B], 1.0)
        slow, quick = many.assign(1.0), many.assign(100.0)
        assert slow is not None
        assert quick is not None
        many.failed(quick, "gone", 101.0)
        assert many.unrequested() == 0
        finish(many, slow, 102.0)
        assert many.finished

    def test_a_stream_hedges_its_next_piece_although_others_can_be_requested(self) -> None:
        window = Window(8, 20)
        stream = Plan(window, 4, order=lambda n: n, hedge_next=0.5)
        late(stream)
        for n in range(3):
            window.ack(n)
        for n in (5, 4, 3):
            stream.offer(n, "d", [A, B], 1.0)
        first = stream.assign(1.0)
        assert first is not None
        assert first.piece == 3, "the lowest piece is hedged first"
        hedge = stream.assign(50.0)
        assert hedge is not None
        assert (hedge.piece, hedge.source, stream.hedged) == (3, B, 1)


    def test_a_piece_that_was_stored_without_its_job_is_not_hedged(self) -> None:
        many = plan(4)
        late(many)
        many.offer(3, "d", [A, B], 1.0)
        job = many.assign(1.0)
        assert job is not None
        many.add_stored([3])
        assert many.assign(100.0) is None
        finish(many, job, 100.0)
        assert (many.stored, many.unrequested()) == (4, 0)


class TestWindow:
    def test_only_pieces_of_the_window_are_started(self) -> None:
        window = Window(2, 10)
        stream = Plan(window, 4)
        assert stream.unrequested() == 2
        assert not stream.offer(2, "d", [A], 0.0)
        assert stream.offer(0, "d", [A], 0.0)
        assert stream.offer(1, "d", [A], 0.0)
        job = stream.assign(0.0)
        assert job is not None
        finish(stream, job, 0.0)
        assert stream.unrequested() == 0, "stored pieces that are not delivered occupy the window"
        window.ack(0)
        assert stream.unrequested() == 1
        assert stream.offer(2, "d", [A], 0.0)

    def test_pieces_of_a_file_of_unknown_length_are_requested_until_the_end_is_known(self) -> None:
        unknown = plan(-1)
        assert (unknown.unrequested(), unknown.to_request()) == (-1, 4)
        unknown.offer(0, "d", [A], 0.0)
        unknown.offer(5, "d", [A], 0.0)
        job = unknown.assign(0.0)
        assert job is not None
        finish(unknown, job, 0.0)
        assert not unknown.finished
        unknown.set_count(1)
        assert unknown.finished
        assert unknown.assign(0.0) is None, "piece 5 does not exist"

    def test_requests_are_bounded_by_threads_and_missing_pieces(self) -> None:
        assert plan(100, workers=4).to_request() == 8
        assert plan(3, workers=4).to_request() == 3
        slow = plan(100, workers=4)
        late(slow)
        assert slow.to_request() == 5, "with pieces of one second, one in advance suffices"


CIDS = ["live", "p1", "p2", "p3"]
PORTS = {cid: 15000 + at for at, cid in enumerate(CIDS)}


class PlanMachine(RuleBasedStateMachine):
    """Offers, threads and failures in any order, checked against invariants."""

    @initialize(count=st.integers(1, 12), workers=st.integers(1, 4), told=st.booleans())
    def begin(self, count: int, workers: int, told: bool) -> None:
        self.count = count
        self.window = Window(-1, count if told else -1)
        self.plan = Plan(self.window, workers)
        self.now = 0.0
        self.jobs: list[Job] = []
        self.landing: list[Job] = []
        self.here: set[int] = set()
        self.won: set[int] = set()
        """Pieces of which a job's content was accepted; others of `here` were stored without one, perhaps while a job fetched them."""
        self.reported: list[int] = []
        self.liars: set[str] = set()

    @rule(n=st.integers(0, 11), cids=st.lists(st.sampled_from(CIDS), unique=True, max_size=3))
    def offer(self, n: int, cids: list[str]) -> None:
        n %= self.count
        taken = self.plan.offer(n, "d", [where(cid, PORTS[cid]) for cid in cids], self.now)
        assert taken or n not in self.here

    @rule(cid=st.sampled_from(CIDS), only=st.booleans())
    def take(self, cid: str, only: bool) -> None:
        hedged = self.plan.hedged
        job = self.plan.assign(self.now, ("127.0.0.1", 15000) if cid == "live" else ("127.0.0.1", 1), only)
        if job is not None:
            assert job.piece not in self.here
            assert job.source.cid not in self.liars
            same = [other for other in self.jobs if other.piece == job.piece and not other.lost]
            assert bool(same) == self.plan.hedged - hedged
            assert len(same) <= 1 or all(other.silent for other in same)
            assert all(other.source != job.source for other in same)
            assert not any(other.piece == job.piece for other in self.landing)
            self.jobs.append(job)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        job = self.jobs.pop(data.draw(st.integers(0, len(self.jobs) - 1)))
        won = self.plan.arrived(job, self.now)
        assert won == (job.piece not in self.won), "a piece has two winners"
        if won:
            self.won.add(job.piece)
            self.landing.append(job)

    @precondition(lambda self: self.landing)
    @rule()
    def write(self) -> None:
        job = self.landing.pop()
        self.plan.written(job)
        self.here.add(job.piece)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), why=st.sampled_from(["gone", "slow", "digest", "other", ""]))
    def fail(self, data: st.DataObject, why: str) -> None:
        job = self.jobs.pop(data.draw(st.integers(0, len(self.jobs) - 1)))
        if job.source.cid == "live":
            why = ""
        if why:
            if why == "digest" and not job.lost:
                self.liars.add(job.source.cid)
            self.plan.failed(job, why, self.now)
        else:
            self.plan.release(job, self.now)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), received=st.integers(0, 3))
    def listen(self, data: st.DataObject, received: int) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        if self.plan.is_overdue(job, received, self.now, 1000.0):
            assert (job.lost, job.queued, job.silent) == (False, False, False)
            if job.source.cid != "live":
                self.plan.mark_silent(job, self.now)
                assert job.silent
        assert 0 <= self.plan.stuck <= len(self.jobs)

    @rule(seconds=st.floats(0, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(n=st.integers(0, 11))
    def from_the_origin(self, n: int) -> None:
        n %= self.count
        self.plan.add_stored([n])
        self.here.add(n)

    @rule()
    def another_supernode(self) -> None:
        self.plan.forget_offers()

    @rule()
    def length_is_told(self) -> None:
        if self.window.count < 0:
            self.plan.set_count(self.count)

    @rule()
    def report(self) -> None:
        done, failures = self.plan.drain()
        assert {n for n, _ in done} <= self.here | {job.piece for job in self.landing}
        assert all(why in ("gone", "slow", "digest", "other") for _, _, why in failures)

    @invariant()
    def counts_hold(self) -> None:
        if not hasattr(self, "plan"):
            return
        assert self.plan.stored == len(self.here)
        assert self.plan._running == len(self.jobs) + len(self.landing)
        assert self.plan.finished == (self.window.count >= 0 and len(self.here) == self.count)
        assert 0 <= self.plan.to_request() <= 2 * self.plan.workers
        if self.window.count >= 0:
            assert 0 <= self.plan.unrequested() <= self.count - len(self.here)

    def teardown(self) -> None:
        """After any sequence of events: with one source that works, every piece is fetched."""
        if not hasattr(self, "plan"):
            return
        for job in self.jobs:
            self.plan.release(job, self.now)
        for job in self.landing:
            self.plan.written(job)
        if self.window.count < 0:
            self.plan.set_count(self.count)
        for _ in range(3 * self.count):
            for n in range(self.count):
                self.plan.offer(n, "d", [where("live", PORTS["live"])], self.now)
            while (given := self.plan.assign(self.now)) is not None:
                self.now += 1
                if self.plan.arrived(given, self.now):
                    self.plan.written(given)
            if self.plan.finished:
                break
        assert self.plan.finished, "a piece is lost"
        assert self.plan._running == 0
        assert self.plan.hedge_at() == math.inf


TestPlanMachine = PlanMachine.TestCase
TestPlanMachine.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
