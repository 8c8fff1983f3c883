"""Number of pieces in flight at once: few while pieces are slow; pieces that are about to end do not count."""

from __future__ import annotations

from tests.swarm.cluster import TASK, Cluster
from tests.swarm.stats import TaskStats


def swarm_of(pieces: int = 20, **limits: object) -> Cluster:
    return Cluster(pieces, **{"slow_slots": 2, "slow": 0.3, **limits})  # type: ignore[arg-type]


def finish(swarm: Cluster, cid: str, taken: dict[int, str | None], seconds: float) -> None:
    swarm.now += seconds
    for n, source in taken.items():
        swarm.done(cid, n, source)


def test_a_crowd_starts_with_few_pieces_in_flight() -> None:
    swarm = swarm_of()
    swarm.join("a", "b")
    assert len(swarm.take("a")) == 1, "its share of two"
    assert len(swarm.take("a")) == 1
    assert swarm.pull("b").kind == "nosource"


def test_fast_pieces_raise_the_slots_and_slow_ones_lower_them() -> None:
    swarm = swarm_of()
    swarm.join("a")
    finish(swarm, "a", swarm.take("a"), 0.05)
    taken = swarm.take("a")
    assert len(taken) == 5
    finish(swarm, "a", taken, 0.4)
    # The mean of the last pieces is above 0.3 s now.
    finish(swarm, "a", swarm.take("a"), 0.9)
    assert len(swarm.take("a")) == 2


def test_a_medium_pace_keeps_the_slots() -> None:
    swarm = swarm_of()
    swarm.join("a")
    for _ in range(4):
        taken = swarm.take("a")
        assert len(taken) == 2
        finish(swarm, "a", taken, 0.2)


def test_a_new_crowd_starts_with_few_slots_again() -> None:
    swarm = swarm_of(3)
    swarm.join("a", port=0)
    while taken := swarm.take("a"):
        finish(swarm, "a", taken, 0.01)
    swarm.join("b")
    assert len(swarm.take("b")) == 2


def test_a_1x_client_raises_the_slots_because_it_reports_no_endings() -> None:
    swarm = swarm_of()
    swarm.join("old", legacy=True)
    assert len(swarm.take("old")) == 4
    swarm.join("a")
    swarm.join("seed", holds=[(0, 20)])
    finish(swarm, "a", swarm.take("a"), 9.0)
    assert len(swarm.take("a")) > 2


def test_an_ending_piece_frees_its_source_and_its_download() -> None:
    swarm = swarm_of()
    swarm.join("seed", holds=[(0, 20)])
    swarm.join("a", "b", port=0)
    taken = swarm.take("a", 2)
    assert swarm.pull("a").kind == "busy"
    ending = next(n for n, source in taken.items() if source == "seed")
    used = swarm.used("seed")
    swarm.swarm.ending(TASK, "a", ending, swarm.now)
    swarm.swarm.ending(TASK, "a", ending, swarm.now)
    assert swarm.used("seed") == used - 1
    assert len(swarm.take("a")) == 1, "one more piece only"
    before = swarm.used("seed")
    swarm.now += 1.0
    swarm.done("a", ending, "seed")
    assert swarm.used("seed") == before, "its slot was already released"
    assert swarm.pull("a").kind == "busy"


def test_a_parked_pull_gets_the_slot_of_an_ending_piece() -> None:
    swarm = swarm_of(supernode=1)
    swarm.join("a", "b")
    (n,) = swarm.take("a")
    assert swarm.park("b") == "nosource"
    swarm.swarm.ending(TASK, "a", n, swarm.now)
    assert list(swarm.woken()) == ["b"]


def test_an_ending_piece_that_expires_does_not_free_its_slot_twice() -> None:
    swarm = swarm_of(lease=30.0, supernode=1)
    swarm.join("a")
    (n,) = swarm.take("a")
    swarm.swarm.ending(TASK, "a", n, swarm.now)
    assert TaskStats.of(swarm.swarm, TASK).supernode_used == 0
    assert [lease.n for lease in swarm.wait(31.0)] == [n]
    assert TaskStats.of(swarm.swarm, TASK).supernode_used == 0
    assert len(swarm.take("a")) == 1
    assert TaskStats.of(swarm.swarm, TASK).supernode_used == 1


def test_reported_endings_that_do_not_end_are_bounded() -> None:
    """A client that reports every piece as ending gets no more slots than in a fast swarm."""
    swarm = swarm_of(30, native_down=8, supernode=30)
    swarm.join("a")
    for _ in range(30):
        for n in swarm.take("a"):
            swarm.swarm.ending(TASK, "a", n, swarm.now)
            swarm.check()
    assert len(swarm.swarm.tasks[TASK].downloads["a"].running) == 8


def test_endings_of_1x_clients_or_of_unassigned_pieces_change_nothing() -> None:
    swarm = swarm_of()
    swarm.join("old", legacy=True)
    (n, *_) = swarm.take("old", 1)
    used = TaskStats.of(swarm.swarm, TASK).supernode_used
    swarm.swarm.ending(TASK, "old", n, swarm.now)
    swarm.swarm.ending(TASK, "old", 19, swarm.now)
    swarm.check()
    assert TaskStats.of(swarm.swarm, TASK).supernode_used == used
