"""The priority over pieces against a model, and a plan that goes by it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dfengine._window import Window
from dfengine.client.messages import Where
from dfengine.client.plan_on_demand import PlanOnDemand
from dfengine.client.priority import AHEAD, Priority

PIECES = st.integers(0, 20)
SOME = st.lists(PIECES, unique=True, max_size=6)


class Model(RuleBasedStateMachine):
    """Lists of pieces, written as plainly as can be."""

    def __init__(self) -> None:
        super().__init__()
        self.priority = Priority()
        self.readers: list[list[int]] = []
        self.order: list[int] = []
        self.ahead: list[int] = []

    def waiting(self) -> set[int]:
        return {n for reader in self.readers for n in reader}

    @rule(pieces=SOME)
    def demand(self, pieces: list[int]) -> None:
        self.priority.demand(pieces)
        self.readers.append(list(pieces))
        self.order += [n for n in pieces if n not in self.order]
        self.ahead = [n for n in self.ahead if n not in pieces]

    @rule(which=st.integers(0, 10))
    def withdraw(self, which: int) -> None:
        if which < len(self.readers):
            self.priority.withdraw(self.readers.pop(which))
            self.order = [n for n in self.order if n in self.waiting()]

    @rule(pieces=SOME)
    def read_ahead(self, pieces: list[int]) -> None:
        self.priority.read_ahead(pieces)
        self.ahead += [n for n in pieces if n not in self.ahead and n not in self.order]

    @rule(n=PIECES)
    def landed(self, n: int) -> None:
        self.priority.landed(n)
        for reader in self.readers:
            if n in reader:
                reader.remove(n)
        self.order = [each for each in self.order if each != n]
        self.ahead = [each for each in self.ahead if each != n]

    @rule(count=st.integers(0, 21))
    def end_at(self, count: int) -> None:
        self.priority.end_at(count)
        self.readers = [[n for n in reader if n < count] for reader in self.readers]
        self.order = [n for n in self.order if n < count]
        self.ahead = [n for n in self.ahead if n < count]

    @invariant()
    def they_agree(self) -> None:
        assert list(self.priority) == self.order + self.ahead
        assert len(self.priority) == len(self.order) + len(self.ahead)
        assert self.priority.demanded == bool(self.order)
        assert sorted(range(21), key=self.priority.rank)[: len(self.priority)] == self.order + self.ahead
        assert all((n in self.priority) == (n in self.order + self.ahead) for n in range(21))


TestModel = Model.TestCase


def test_what_is_read_ahead_is_bounded() -> None:
    priority = Priority()
    priority.read_ahead(range(AHEAD + 10))
    assert list(priority) == list(range(10, AHEAD + 10))


SOURCE = Where("a", "127.0.0.1", 15001, "/peer/file/a")


def on_demand(count: int = 8, workers: int = 2) -> tuple[PlanOnDemand, Priority]:
    plan = PlanOnDemand(Window(-1, count), workers)
    return plan, plan.priority


def test_a_plan_without_demand_wants_nothing() -> None:
    plan, _ = on_demand()
    assert (plan.unasked(), plan.appetite(), plan.sated, plan.finished) == (0, 0, True, False)
    assert plan.wishes(64) == []


def test_demanded_pieces_are_wanted_and_started_first() -> None:
    plan, priority = on_demand()
    priority.read_ahead((5, 6))
    priority.demand((3, 1))
    assert (plan.unasked(), plan.sated) == (4, False)
    assert plan.wishes(64) == [3, 1, 5, 6]
    assert plan.wishes(2) == [3, 1]
    for n in (0, 6, 1, 3):
        plan.offer(n, "d", [SOURCE], 0.0)
    assert plan.wishes(64) == [5]
    jobs = [plan.assign(0.0) for _ in range(4)]
    assert [job.piece for job in jobs if job is not None] == [3, 1, 6, 0], "what nobody asked for comes last"
    for job in jobs:
        assert job is not None
        assert plan.arrived(job, 1.0)
        plan.written(job)
    assert list(priority) == [5]
    assert not plan.sated


def test_a_piece_that_failed_is_wanted_again() -> None:
    plan, priority = on_demand()
    priority.demand((3,))
    plan.offer(3, "d", [SOURCE], 0.0)
    job = plan.assign(0.0)
    assert job is not None
    assert plan.wishes(64) == []
    plan.failed(job, "gone", 1.0)
    assert plan.wishes(64) == [3]
    assert plan.unasked() == 1


def test_a_silent_piece_is_wished_for_once_more() -> None:
    plan, priority = on_demand()
    priority.demand((3,))
    plan.offer(3, "d", [SOURCE], 0.0)
    job = plan.assign(0.0)
    assert job is not None
    plan.silent(job, 4.0)
    assert plan.wishes(64) == [3]
    assert plan.appetite() >= 1


def test_the_length_ends_what_is_wanted() -> None:
    plan, priority = on_demand(-1)
    priority.demand((0, 9))
    plan.set_count(2)
    assert plan.wishes(64) == [0]


@given(held=st.sets(st.integers(0, 7)), wanted=st.lists(st.integers(0, 7), unique=True))
def test_what_is_here_is_not_wanted(held: set[int], wanted: list[int]) -> None:
    plan, priority = on_demand()
    priority.demand(wanted)
    plan.hold(held)
    assert plan.wishes(64) == [n for n in wanted if n not in held]
