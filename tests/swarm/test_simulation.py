"""Whole swarms on a virtual clock. Figures are multiples of the bound M + floor(log2 N) for equal links (Mundinger, Weber, Weiss)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from math import floor, log2
from random import Random

import pytest

from dfengine.supernode.swarm import _scheduler
from dfengine.supernode.swarm._state import Download
from dfengine.supernode.swarm.leases import Leases
from dfengine.supernode.swarm.pull_result import CDN, WAIT, Assignment, PullResult
from dfengine.supernode.swarm.swarm import Limits, Swarm
from tests.swarm.invariant import check
from tests.swarm.stats import SwarmStats
from tests.swarm.structures import structures
from tests.swarm.virtual import SUPERNODE, Delays, Simulation


def bound(peers: int, pieces: int) -> float:
    return pieces + floor(log2(peers))


@pytest.mark.parametrize("peers", [1, 2, 3, 16])
@pytest.mark.parametrize("pieces", [1, 5, 64])
def test_every_download_finishes(peers: int, pieces: int) -> None:
    swarm = Simulation(pieces, seed=peers)
    swarm.checked = peers < 16
    for i in range(peers):
        swarm.join(f"c{i}")
    swarm.run(until=20 * bound(peers, pieces))
    assert len(swarm.times) == peers
    check(swarm.swarm)
    assert SwarmStats.of(swarm.swarm).leases == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_supernode_sends_each_piece_close_to_once(seed: int) -> None:
    swarm = Simulation(64, seed=seed)
    for i in range(16):
        swarm.join(f"c{i}")
    swarm.run()
    assert sum(swarm.sent_by_supernode.values()) <= 1.05 * 64
    assert max(swarm.times) <= 1.35 * bound(16, 64)


def by_finished_copies(download: Download, k: int, leases: Leases, now: float) -> PullResult:
    """A pull by the rule of 1.x: the engine is offered one piece at a time; copies in flight and claims do not count."""
    task, pieces, pull = download.task, list[Assignment](), WAIT
    share, known, cached = max(1, task.seed_slots // max(1, task.unfinished)), list(task.known), list(task.cached)

    def offer(n: int) -> PullResult:
        for other in known:
            task.known.clear(other)
        task.known.set(n)
        return _scheduler.pull(download, 1, leases, now)

    while len(pieces) < k:
        flying = [n for other in task.downloads.values() for n in other.running] or [0]
        near = sum(flying) / len(flying)
        structures.find_wanted(task, download)
        if not share:
            for n in cached:
                task.uncache(n)
        order = sorted(task.want, key=lambda n: (task.holders.copies(n), abs(n - near), n))
        pull = next((found for n in order if (found := offer(n)).pieces), WAIT) if order else _scheduler.pull(download, k, leases, now)
        for n in known:
            task.known.set(n)
        if not pull.pieces:
            break
        (piece,) = pull.pieces
        task.end_claim(piece.n)
        task.rarity.change(piece.n, -1)
        share -= piece.sources[0] is CDN
        pieces.append(piece)
    for n in cached:
        task.cache(n)
    return PullResult("pieces", tuple(pieces)) if pieces else pull


class FinishedOnly(Swarm):
    def pull(self, task_id: str, cid: str, k: int, now: float, selected: Sequence[int] | None = None) -> PullResult:
        return by_finished_copies(self.tasks[task_id].downloads[cid], k, self.leases, now)

    def done(self, task_id: str, cid: str, n: int, source_cid: str | None, now: float) -> None:
        self.tasks[task_id].rarity.change(n, 1)
        super().done(task_id, cid, n, source_cid, now)


def test_counting_only_finished_copies_makes_the_supernode_send_pieces_repeatedly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule of 1.x: rarity by finished copies, ties by distance to the pieces in flight. All new downloads then pull the same pieces."""
    monkeypatch.setattr("tests.swarm.virtual.Swarm", FinishedOnly)
    monkeypatch.setattr("dfengine.supernode.swarm.scheduler.pull", by_finished_copies)
    swarm = Simulation(64)
    for i in range(16):
        swarm.join(f"c{i}")
    swarm.run()
    assert len(swarm.times) == 16
    assert sum(swarm.sent_by_supernode.values()) >= 2 * 64


@pytest.mark.parametrize("seed", range(2))
def test_reports_before_a_piece_ends_compensate_slow_messages(seed: int) -> None:
    """When a message takes a good part of a piece's time, slots of few pieces in flight are reassigned before these end."""

    def last(limits: Limits, lead: float) -> float:
        # The unit of time is a piece, 0.18 s on such a link: the reseed delay of 2 s is 11 units.
        swarm = Simulation(64, seed=seed, limits=replace(limits, reseed_delay=11.0), delays=Delays(0.5, 0.35, lead))
        for i in range(8):
            swarm.join(f"c{i}", room=5)
        return max(swarm.run().times) / bound(8, 64)

    assert last(Limits(), 0.9) <= 1.2
    assert last(Limits(slow_slots=5), 0.0) >= 1.3
    assert last(Limits(), 0.0) >= 1.3


def test_downloads_that_join_together_get_disjoint_pieces() -> None:
    swarm = Simulation(64, limits=Limits(supernode=16, slow_slots=16))
    for i in range(4):
        swarm.join(f"c{i}", room=4)
    pieces = [n for client in swarm.clients.values() for n in client.running]
    assert len(pieces) == len(set(pieces)) == 16


def test_new_downloads_get_disjoint_pieces_from_seeds() -> None:
    swarm = Simulation(64, limits=Limits(up=50, supernode=0, slow_slots=50))
    for i in range(3):
        swarm.seed(f"seed{i}")
    for i in range(8):
        swarm.join(f"c{i}", room=8)
    pieces = [n for client in swarm.clients.values() for n in client.running]
    assert len(pieces) == len(set(pieces)) == 64


def test_a_slow_origin_does_not_make_the_supernode_send_extra_copies() -> None:
    swarm = Simulation(64, cached=0)
    for i in range(16):
        swarm.join(f"c{i}")
    for n in range(64):
        swarm.at(4.0 * (n + 1), swarm.cache, n)
    swarm.run()
    assert max(swarm.times) <= 4 * 64 + 15
    assert sum(swarm.sent_by_supernode.values()) <= 1.2 * 64


@pytest.mark.parametrize("seed", range(4))
def test_the_rest_finishes_when_a_quarter_is_killed_at_random_times(seed: int) -> None:
    random = Random(seed)
    swarm = Simulation(64, seed=seed)
    for i in range(16):
        swarm.join(f"c{i}")
    for i in random.sample(range(16), 4):
        swarm.at(random.random() * 60, swarm.die, f"c{i}")
    swarm.run(until=1000)
    assert len(swarm.times) == 12
    assert max(swarm.times) <= 1.6 * bound(16, 64)
    assert sum(swarm.sent_by_supernode.values()) <= 1.35 * 64
    check(swarm.swarm)


def test_all_that_stay_finish_under_churn() -> None:
    """Downloads arrive and depart continuously, half of the departures without notice."""
    random = Random(7)
    swarm = Simulation(40, seed=7, limits=Limits(peer_gc=60.0))
    swarm.checked = True
    for i in range(40):
        name = f"c{i}"
        swarm.arrive(3.0 * i, name)
        if i % 3 == 0:
            swarm.at(3.0 * i + 0.1 + random.random() * 50, swarm.die if i % 2 else swarm.leave, name)
    swarm.run(until=2000)
    staying = {i: client for i, client in enumerate(swarm.clients.values()) if not client.dead}
    assert len(staying) >= 26
    for i, client in staying.items():
        assert client.finished is not None
        assert client.finished - 3.0 * i <= 3 * bound(20, 40)


@pytest.mark.parametrize("seed", range(2))
def test_no_download_starves_in_a_mix_of_rates_protocols_and_serving(seed: int) -> None:
    swarm = Simulation(48, seed=seed)
    rates = {}
    for i in range(18):
        name = f"c{i}"
        rates[name] = (1.0, 0.5, 0.25)[i % 3]
        swarm.up[name] = swarm.down[name] = rates[name]
        swarm.join(name, legacy=i % 4 == 0, serves=i % 5 != 0)
    swarm.run(until=5000)
    assert len(swarm.times) == 18
    for name, client in swarm.clients.items():
        alone = max(48 / rates[name], 48 * 18 / (1 + sum(rates.values())))
        assert client.finished is not None
        assert client.finished <= 3 * alone


def test_downloads_of_unknown_length_from_a_slow_origin_finish() -> None:
    swarm = Simulation(100, cached=0, length_known=False)
    swarm.checked = True
    for i in range(4):
        swarm.join(f"c{i}")
    for n in range(100):
        swarm.at(n + 1.0, swarm.cache, n)
    swarm.at(100.5, swarm.conclude)
    swarm.run(until=1000)
    assert len(swarm.times) == 4
    assert max(swarm.times) <= 130


@pytest.mark.parametrize("wnd", [1, 5, 16])
def test_streams_and_regular_downloads_send_each_other_pieces(wnd: int) -> None:
    swarm = Simulation(120, seed=wnd)
    for i in range(3):
        swarm.join(f"stream{i}", wnd=wnd)
    for i in range(2):
        swarm.join(f"regular{i}")
    swarm.run(until=5000)
    assert len(swarm.times) == 5
    assert sum(swarm.sent[f"stream{i}"] for i in range(3)) > 0
    assert sum(swarm.sent.values()) == 5 * 120
    assert swarm.sent[SUPERNODE] < 3 * 120


def test_a_seed_gives_the_same_decisions_in_every_process() -> None:
    """Decisions do not depend on the order of sets or on hashes of strings, which differ between processes."""
    program = (
        "from tests.swarm.virtual import Simulation\n"
        "s = Simulation(30, seed=3)\n"
        "[s.join(f'c{i}') for i in range(6)]\n"
        "s.at(9.0, s.die, 'c1')\n"
        "s.run()\n"
        "print(sorted(s.sent.items()), s.times, s.answers)\n"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1
