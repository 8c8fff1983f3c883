"""Sources that do not send in time: how long each is waited for, and that no number of them holds a download up."""

from __future__ import annotations

import pytest

from dfengine._window import Window
from dfengine.client.health import COOL, COOLEST, READY, ROW, SILENT, STRANGE, Health
from dfengine.client.job import Job
from dfengine.client.messages import Where
from dfengine.client.pace import FIRST, OFTEN, RECENT, SILENCE, SOON, Pace
from dfengine.client.plan import Plan
from dfengine.task import OWN

SUPERNODE = Where(f"{OWN}192.0.2.1~t", "192.0.2.1", 15000, "/peer/file/x")


def peer(n: int) -> Where:
    return Where(f"p{n}", "192.0.2.2", 15001 + n, "/peer/file/x")


class TestPatience:
    def test_it_is_short_while_another_source_could_be_asked(self) -> None:
        assert Pace().patience(elsewhere=True, own=False, silences=0) == SOON
        assert Pace().patience(elsewhere=False, own=False, silences=0) == OFTEN * SOON

    def test_it_follows_what_answers_take(self) -> None:
        pace = Pace()
        for _ in range(RECENT):
            pace.answered(0.3)
        assert pace.patience(elsewhere=True, own=False, silences=0) == pytest.approx(OFTEN * 0.3)
        for _ in range(RECENT):
            pace.answered(100.0)
        assert pace.patience(elsewhere=True, own=False, silences=0) == FIRST
        for _ in range(RECENT):
            pace.answered(0.001)
        assert pace.patience(elsewhere=True, own=False, silences=0) == SOON

    def test_a_few_answers_that_are_held_back_do_not_stretch_it(self) -> None:
        pace = Pace()
        for seconds in [0.001, 9.0] * 4 + [0.001]:
            pace.answered(seconds)
        assert pace.patience(elsewhere=True, own=False, silences=0) == SOON

    def test_one_that_is_slow_by_nature_has_all_the_time_there_is_in_the_end(self) -> None:
        times = [Pace().patience(elsewhere=True, own=False, silences=silences) for silences in range(2000)]
        assert times == sorted(times)
        assert times[0] == SOON
        assert times[-1] == SILENCE

    def test_a_supernode_that_many_ask_has_longer(self) -> None:
        assert Pace().patience(elsewhere=True, own=True, silences=0) == FIRST
        assert Pace().patience(elsewhere=False, own=True, silences=0) == SILENCE


class TestHealth:
    def test_who_did_not_send_in_time_is_asked_last_until_it_sends(self) -> None:
        health = Health()
        health.fault("a", "slow", 0.0)
        assert (health.rank("a", 1e9), health.rank("b", 0.0)) == (SILENT, READY)
        health.success("a")
        assert health.rank("a", 0.0) == READY

    def test_strangers_are_in_doubt_after_a_row_of_silences(self) -> None:
        health = Health()
        health.success("known")
        for n in range(ROW):
            assert health.rank("new", 0.0) == READY
            health.fault(f"mute-{n}", "slow", 0.0)
        assert health.rank("new", COOL - 0.1) == STRANGE
        assert health.rank("known", 0.0) == health.rank(SUPERNODE.cid, 0.0) == READY

    def test_one_at_a_time_is_tried_then_and_later_each_time(self) -> None:
        health, now, cool = Health(), 0.0, COOL
        for n in range(ROW):
            health.fault(f"mute-{n}", "slow", now)
        for trial in range(12):
            assert health.rank("new", now + cool - 0.01) == STRANGE
            now += cool
            assert health.rank("new", now) == READY
            health.start(f"trial-{trial}", now)
            assert health.rank("new", now) == STRANGE, "the trial is under way"
            now += SOON
            health.fault(f"trial-{trial}", "slow", now)
            cool = min(cool * 2, COOLEST)
        health.success("good")
        assert health.rank("new", now) == READY

    def test_what_a_known_source_sends_says_nothing_of_strangers(self) -> None:
        health = Health()
        health.success("known")
        for n in range(ROW):
            health.fault(f"mute-{n}", "slow", 0.0)
            health.success("known")
            health.success(SUPERNODE.cid)
        assert health.rank("new", 0.0) == STRANGE

    def test_failures_that_are_told_at_once_cost_no_time_and_raise_no_doubt(self) -> None:
        health = Health()
        for n in range(10 * ROW):
            health.fault(f"p{n}", "gone", 0.0)
        assert health.rank("new", 0.0) == READY


def fail(plan: Plan, job: Job, now: float) -> None:
    plan.failed(job, "slow", now)
    plan.drain()


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("pieces", [4, 400])
def test_mute_sources_cost_two_seconds_whatever_their_number_while_the_supernode_has_the_file(workers: int, pieces: int) -> None:
    """On a virtual clock: a piece of a mute source takes what patience it is given, one of the supernode a hundredth of a second."""
    plan, now = Plan(Window(-1, pieces), workers), 0.0
    running: list[tuple[float, int, Job]] = []
    mute = offered = 0
    while not plan.finished:
        while offered < pieces and plan.appetite():
            plan.offer(offered, "d", [peer(mute), peer(mute + 1), SUPERNODE], now)
            offered, mute = offered + 1, mute + 2
        while len(running) < workers and (job := plan.take(now)) is not None:
            ends = 0.01 if job.source is SUPERNODE else plan.patience(job, now)
            running.append((now + ends, len(running), job))
        running.sort(key=lambda entry: entry[0])
        now, _, job = running.pop(0)
        if job.source is SUPERNODE:
            assert plan.arrived(job, now)
            plan.written(job)
        else:
            fail(plan, job, now)
    undisturbed = -(-pieces // workers) * 0.01
    # One thread has to wait for each trial itself.
    trials = 0.0 if pieces < 400 or workers > 1 else 2 * SOON
    assert now <= undisturbed + 2.0 + trials


def test_what_nobody_else_has_is_asked_of_strangers_all_the_same() -> None:
    plan = Plan(Window(-1, 9), 4)
    for n in range(ROW):
        plan.offer(n, "d", [peer(n), SUPERNODE], 0.0)
    for job in [plan.take(0.0) for _ in range(ROW)]:
        assert job is not None
        fail(plan, job, 0.5)
    plan.offer(7, "d", [peer(70)], 0.5)
    plan.offer(8, "d", [peer(80), SUPERNODE], 0.5)
    taken = [plan.take(0.5) for _ in range(5)]
    assert [(job.piece, job.source.cid) for job in taken if job] == [*((n, SUPERNODE.cid) for n in (0, 1, 2, 8)), (7, "p70")]
