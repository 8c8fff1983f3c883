"""The priority of pieces against a model, and a plan that uses it."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dfengine._window import Window
from dfengine.client.messages import Source
from dfengine.client.plan_on_demand import PlanOnDemand
from dfengine.client.priority import MAX_PIECES, Priority

PIECES = st.integers(0, 20)


class Model(RuleBasedStateMachine):
    """Lists of pieces, as simple as possible."""

    def __init__(self) -> None:
        super().__init__()
        self.priority = Priority()
        self.readers: dict[int, list[int]] = {}
        self.ahead: list[int] = []

    @rule(pieces=st.lists(PIECES, unique=True, max_size=6))
    def demand(self, pieces: list[int]) -> None:
        self.readers[self.priority.demand(pieces)] = list(pieces)
        self.ahead = [n for n in self.ahead if n not in pieces]

    @rule(which=st.integers(0, 10))
    def withdraw(self, which: int) -> None:
        if which < len(self.readers):
            reader = list(self.readers)[which]
            self.priority.withdraw(reader)
            del self.readers[reader]

    @rule(pieces=st.lists(PIECES, unique=True, max_size=6))
    def read_ahead(self, pieces: list[int]) -> None:
        self.priority.read_ahead(pieces)
        demanded = {n for reader in self.readers.values() for n in reader}
        self.ahead += [n for n in pieces if n not in self.ahead and n not in demanded]

    @rule(n=PIECES)
    def on_stored(self, n: int) -> None:
        self.priority.on_stored(n)
        self.remove({n})

    @rule(count=st.integers(0, 21))
    def end_at(self, count: int) -> None:
        self.priority.end_at(count)
        self.remove(set(range(count, 21)))

    def remove(self, pieces: set[int]) -> None:
        for reader, wanted in self.readers.items():
            self.readers[reader] = [n for n in wanted if n not in pieces]
        self.ahead = [n for n in self.ahead if n not in pieces]

    @invariant()
    def they_agree(self) -> None:
        order: list[int] = []
        left = [list(wanted) for wanted in self.readers.values()]
        while any(left):
            for wanted in left:
                while wanted and wanted[0] in order:
                    wanted.pop(0)
                if wanted:
                    order.append(wanted.pop(0))
        assert list(self.priority) == order + self.ahead
        assert len(self.priority) == len(order) + len(self.ahead)
        ranks = [self.priority.rank(n) for n in range(21)]
        assert ranks == [0 if n in order else 1 if n in self.ahead else 2 for n in range(21)]
        assert all((n in self.priority) == (ranks[n] < 2) for n in range(21))

    def teardown(self) -> None:
        for reader in self.readers:
            self.priority.withdraw(reader)
        assert list(self.priority) == self.ahead, "pieces of a reader remain"


TestModel = Model.TestCase


def test_read_ahead_pieces_are_bounded() -> None:
    priority = Priority()
    priority.read_ahead(range(MAX_PIECES + 10))
    assert list(priority) == list(range(10, MAX_PIECES + 10))


def test_a_reader_of_one_piece_does_not_wait_for_a_reader_of_many() -> None:
    priority = Priority()
    priority.demand(range(1000))
    priority.on_stored(0)
    priority.demand((5000,))
    assert list(islice(priority, 3)) == [1, 5000, 2]


SOURCE = Source("a", "127.0.0.1", 15001, "/peer/file/a")


def on_demand(count: int = 8, workers: int = 2) -> tuple[PlanOnDemand, Priority]:
    plan = PlanOnDemand(Window(-1, count), workers)
    return plan, plan.priority


def test_a_plan_without_demand_wants_nothing() -> None:
    plan, _ = on_demand()
    assert (plan.unrequested(), plan.to_request(), plan.satisfied, plan.finished) == (0, 0, True, False)
    assert plan.wanted_pieces(64) == []


def test_demanded_pieces_are_wanted_and_started_first() -> None:
    plan, priority = on_demand()
    priority.read_ahead((5, 6))
    priority.demand((3, 1))
    assert (plan.unrequested(), plan.satisfied) == (4, False)
    assert plan.wanted_pieces(64) == [3, 1, 5, 6]
    assert plan.wanted_pieces(2) == [3, 1]
    for n in (0, 6, 3, 1):
        plan.offer(n, "d", [SOURCE], 0.0)
    assert plan.wanted_pieces(64) == [5]
    jobs = [plan.assign(0.0) for _ in range(4)]
    assert [job.piece for job in jobs if job is not None] == [3, 1, 6, 0], "pieces without demand come last"
    for job in jobs:
        assert job is not None
        assert plan.arrived(job, 1.0)
        plan.written(job)
    assert list(priority) == [5]
    assert not plan.satisfied


def test_a_failed_piece_is_wanted_again() -> None:
    plan, priority = on_demand()
    priority.demand((3,))
    plan.offer(3, "d", [SOURCE], 0.0)
    job = plan.assign(0.0)
    assert job is not None
    assert plan.wanted_pieces(64) == []
    plan.failed(job, "gone", 1.0)
    assert plan.wanted_pieces(64) == [3]
    assert plan.unrequested() == 1


def test_a_silent_piece_is_requested_once_more() -> None:
    plan, priority = on_demand()
    priority.demand((3,))
    plan.offer(3, "d", [SOURCE], 0.0)
    job = plan.assign(0.0)
    assert job is not None
    plan.mark_silent(job, 4.0)
    assert plan.wanted_pieces(64) == [3]
    assert plan.to_request() >= 1


def test_pieces_beyond_a_learnt_length_are_not_wanted() -> None:
    plan, priority = on_demand(-1)
    priority.demand((0, 9))
    plan.set_count(2)
    assert plan.wanted_pieces(64) == [0]


@given(held=st.sets(st.integers(0, 7)), wanted=st.lists(st.integers(0, 7), unique=True))
def test_stored_pieces_are_not_wanted(held: set[int], wanted: list[int]) -> None:
    plan, priority = on_demand()
    priority.demand(wanted)
    plan.add_stored(held)
    assert plan.wanted_pieces(64) == [n for n in wanted if n not in held]
