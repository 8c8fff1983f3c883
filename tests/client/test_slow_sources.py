"""Sources that send, but so slowly that another one would have completed the piece."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dfengine._window import Window
from dfengine.client.job import Job
from dfengine.client.messages import Source
from dfengine.client.piece_timing import MIN_SLOW
from dfengine.client.plan import Plan

LENGTH = 4 << 20
FLOOR = 16384.0
CDN = Source("cdnnode:1~t", "127.0.0.1", 8001, "/download/abc/abc")


def peer(n: int) -> Source:
    return Source(f"p{n}", f"127.0.1.{n}", 15001, f"/peer/file/p{n}")


class Scene:
    """A download of four threads. Each source has sent `sends[cid](seconds)` bytes of a piece after so many seconds."""

    def __init__(self, count: int, workers: int = 4, trusted: bool = True) -> None:
        self.plan = Plan(Window(-1, count), workers)
        self.now = 0.0
        self.sends: dict[str, Callable[[float], float]] = {CDN.cid: lambda seconds: seconds * 80e6}
        self.running: list[Job] = []
        self.left: set[str] = set()
        for n in range(count):
            self.plan.offer(n, "d", [peer(n), *([CDN] if trusted else [])], 0.0)

    def step(self, share: float = float("inf")) -> None:
        """Advance by a tenth of a second."""
        plan = self.plan
        while len([job for job in self.running if not job.silent]) < plan.workers and len(self.running) < 2 * plan.workers:
            job = plan.assign(self.now)
            if job is None:
                break
            self.running.append(job)
        self.now += 0.1
        for job in list(self.running):
            received = min(LENGTH, int(self.sends[job.source.cid](self.now - job.began)))
            if job.lost:
                plan.release(job, self.now)
                self.running.remove(job)
            elif received == LENGTH and plan.arrived(job, self.now):
                plan.written(job)
                self.running.remove(job)
            elif plan.is_overdue(job, received, self.now, FLOOR):
                plan.mark_silent(job, self.now)
            elif plan.is_slow(job, LENGTH, self.now, share):
                plan.mark_slow(job, self.now)

    def run(self, most: float, share: float = float("inf")) -> float:
        """Run until all pieces are stored. Return the seconds."""
        while not self.plan.finished:
            assert self.now < most, f"only {self.plan.stored} pieces are stored"
            self.step(share)
        return self.now


@pytest.mark.parametrize(
    "sends",
    [
        lambda seconds: 1000 + seconds * 20_000,
        lambda seconds: 1000 + seconds * 70_000,
        lambda seconds: 1000 + seconds * 300_000,
        lambda seconds: (2 << 20) + seconds * 4,
        lambda seconds: (3 << 20) + seconds * 10_000,
        lambda seconds: LENGTH - 6 + int(seconds / 0.4),
    ],
    ids=["20K", "70K", "300K", "half, then drips", "most, then drips", "withholds the end"],
)
def test_no_number_of_slow_sources_delays_pieces_of_the_supernode(sends: Callable[[float], float]) -> None:
    scene = Scene(24)
    scene.sends.update({peer(n).cid: sends for n in range(24)})
    scene.run(2.5)


def test_a_slow_source_is_replaced_once_fast_ones_are_known() -> None:
    scene = Scene(24)
    scene.sends.update({peer(n).cid: (lambda seconds: seconds * 50e6) for n in range(24)})
    scene.sends["p20"] = lambda seconds: seconds * 100_000
    assert scene.run(4.0) < MIN_SLOW + 2.0
    done, failures = scene.plan.drain()
    assert {(n, cid) for n, cid, _ in failures} <= {(20, "p20")}
    assert (20, CDN.cid) in done


def test_when_all_sources_are_equally_slow_one_piece_is_hedged_and_no_source_reported() -> None:
    scene = Scene(12)
    scene.sends = {where.cid: (lambda seconds: seconds * 400_000) for where in (CDN, *map(peer, range(12)))}
    scene.run(60.0)
    done, failures = scene.plan.drain()
    assert len(done) == 12
    assert not failures
    assert scene.plan.hedged <= 1 + 1, "one to measure, one at the end"


def test_pieces_within_the_spread_of_rates_are_not_slow() -> None:
    """Half of the sources have a quarter of the rate."""
    scene = Scene(32)
    for n in range(32):
        scene.sends[peer(n).cid] = lambda seconds, n=n: seconds * (8e6 if n % 2 else 2e6)  # type: ignore[misc]
    scene.run(60.0)
    assert not scene.plan.drain()[1]


def test_slow_peers_without_a_trusted_alternative_are_not_hedged() -> None:
    scene = Scene(4, trusted=False)
    scene.sends.update({peer(n).cid: (lambda seconds: seconds * 400_000) for n in range(4)})
    scene.run(60.0)
    assert not scene.plan.hedged


def test_a_limit_of_this_host_makes_no_source_slow() -> None:
    scene = Scene(8)
    scene.sends = {where.cid: (lambda seconds: seconds * 25_000) for where in (CDN, *map(peer, range(8)))}
    while scene.now < 4 * MIN_SLOW:
        scene.step(share=12_500.0)
    assert not scene.plan.hedged
