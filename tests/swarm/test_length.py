"""Tasks of unknown length."""

from __future__ import annotations

import pytest

from dfengine.errors import BadPiece, IllegalEvent
from tests.swarm.cluster import TASK, Cluster
from tests.swarm.stats import TaskStats


def test_a_task_that_grows_piece_by_piece_finishes() -> None:
    swarm = Cluster(-1, cached=0, supernode=10)
    swarm.join("a", "b")
    for n in range(300):
        swarm.cache(n)
        swarm.swarm.tick(swarm.now)
        taken = swarm.swarm.pull(TASK, "ab"[n % 2], 2, swarm.now)
        for piece in taken.pieces:
            swarm.swarm.done(TASK, "ab"[n % 2], piece.n, piece.sources[0].cid or "supernode", swarm.now)
    swarm.check()
    swarm.swarm.set_count(TASK, 300)
    for cid in "ab":
        while swarm.all_done(cid):
            pass
        assert swarm.pull(cid).kind == "finished"


def test_a_parked_pull_is_answered_with_a_piece_beyond_the_initial_size() -> None:
    swarm = Cluster(-1, cached=60)
    swarm.join("a", holds=[(0, 60)])
    assert swarm.park("a") == "wait"
    swarm.cache(70)
    assert swarm.woken() == {"a": [70]}


def test_claims_beyond_the_reach_are_rejected() -> None:
    swarm = Cluster(-1, cached=10, ahead=100)
    swarm.join("a")
    swarm.done("a", 109)
    for n in (110, 1 << 31, 1 << 62):
        with pytest.raises(BadPiece):
            swarm.done("a", n)
    assert swarm.swarm.tasks[TASK].size < 1000


def test_the_end_of_the_file_drops_claims_beyond_it() -> None:
    swarm = Cluster(-1, cached=10)
    swarm.join("a", holds=[(0, 20)])
    swarm.join("b", holds=[9, 15])
    swarm.join("stream", wnd=4, holds=[(0, 8)])
    swarm.join("liar", wnd=4, holds=[(0, 12)])
    swarm.swarm.set_count(TASK, 10)
    swarm.check()
    assert TaskStats.of(swarm.swarm, TASK).finished == 1
    assert swarm.pull("a").kind == "finished"
    assert swarm.swarm.departed == [(TASK, "liar")]
    assert sorted(swarm.take("stream")) == [8, 9]


def test_the_end_of_the_file_answers_pulls_of_finished_downloads() -> None:
    swarm = Cluster(-1, cached=2)
    swarm.join("a", holds=[0, 1])
    assert swarm.park("a") == "wait"
    swarm.swarm.set_count(TASK, 2)
    assert swarm.woken() == {"a": []}


def test_invalid_piece_counts_are_rejected() -> None:
    swarm = Cluster(-1, cached=10)
    for count in (0, -1, 9, 3):
        with pytest.raises(IllegalEvent):
            swarm.swarm.set_count(TASK, count)
    swarm.swarm.set_count(TASK, 10)
    swarm.swarm.set_count(TASK, 10)
    with pytest.raises(IllegalEvent):
        swarm.swarm.set_count(TASK, 11)
    swarm.check()
