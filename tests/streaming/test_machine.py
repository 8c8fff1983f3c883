"""The stream's three windows together, model-checked: a plan over a window, and the cache, driven by arbitrary events.

The model is a list of delivered pieces and the set of pieces in memory. Invariants after each step:
the delivered prefix is right, no piece outside the window is requested, memory is bounded by window and cache. At the end, with sources
that respond and a consumer that reads, everything is delivered.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine._bitset import Bitset
from dfengine._window import Window
from dfengine.client.job import Job
from dfengine.client.messages import Source
from dfengine.client.plan import Plan
from dfengine.streaming.cache import Cache

CDN = Source("cdnnode:s~t", "127.0.0.1", 8001, "/download/s/t")
SOURCES = (Source("a", "127.0.0.2", 20000, "/peer/file/a"), Source("b", "127.0.0.3", 20000, "/peer/file/b"), CDN)


class Stream:
    """The parts of `streaming.stream_buffer.StreamBuffer` without threads: one step per byte of input."""

    def __init__(self, wnd: int, cache: int, count: int, known: bool) -> None:
        self.count = count
        self.window = Window(wnd, count if known else -1)
        self.plan = Plan(self.window, 4, order=lambda n: n, hedge_next=0.5)
        self.used = Bitset(count)
        self.cache = Cache(cache, lambda n: bool(self.used.clear(n)))
        self.memory: set[int] = set()
        self.delivered: list[int] = []
        self.jobs: list[Job] = []
        self.told: list[list[int]] = []
        self.most = wnd + cache
        self.now = 0.0
        self.steps = 0

    def step(self, event: int, value: int) -> None:
        self.now += 0.01 * (1 + value % 7)
        self.steps += 1
        (self.offer, self.take, self.arrive, self.fail, self.consume, self.tell, self.answer, self.learn)[event % 8](value)
        self.check()

    def offer(self, value: int) -> None:
        n = self.window.una + value % (self.window.wnd + 2)
        if n < self.count:
            inside = self.window.wanted(n)
            usable = self.plan.offer(n, "xxh3:00", SOURCES[value % 3 :], self.now)
            assert not usable or inside or n in self.memory or self.window.acked(n) or any(job.piece == n for job in self.jobs)

    def take(self, value: int) -> None:
        if len(self.jobs) < 6 and (job := self.plan.assign(self.now)) is not None:
            assert self.window.una <= job.piece < self.window.end
            self.jobs.append(job)

    def arrive(self, value: int) -> None:
        if self.jobs:
            job = self.jobs.pop(value % len(self.jobs))
            if self.plan.arrived(job, self.now):
                assert job.piece not in self.memory
                assert job.piece not in self.delivered
                self.memory.add(job.piece)
                self.plan.written(job)

    def fail(self, value: int) -> None:
        if self.jobs:
            job = self.jobs.pop(value % len(self.jobs))
            why = ("gone", "digest", "slow", "other", "")[value % 5]
            if why:
                self.plan.failed(job, why, self.now)
            else:
                self.plan.release(job, self.now)

    def consume(self, value: int) -> None:
        n = len(self.delivered)
        if not self.window.here(n):
            return
        assert n in self.memory
        self.delivered.append(n)
        assert self.window.ack(n) == 1
        if value % 3 == 0 and n:
            self.used.set(value % n)
        for gone in self.cache.add(n, self.window.wnd - (self.window.end - self.window.una)):
            self.memory.remove(gone)

    def tell(self, value: int) -> None:
        self.told.append(self.cache.to_report())

    def answer(self, value: int) -> None:
        if self.told:
            for gone in self.cache.confirmed(self.told.pop(0)):
                self.memory.remove(gone)

    def learn(self, value: int) -> None:
        if self.window.count < 0 and value % 16 == 0:
            self.plan.set_count(self.count)

    def check(self) -> None:
        assert self.delivered == list(range(self.window.una))
        assert len(self.memory) <= self.most
        here = {n for n in self.memory if n >= self.window.una}
        assert here == {n for n in range(self.window.una, min(self.window.end, self.count)) if self.window.here(n)}
        assert len(self.memory) - len(here) == self.cache.pieces

    def finish(self) -> None:
        """With sources that respond and a consumer that reads, every piece is requested and everything delivered."""
        if self.window.count < 0:
            self.plan.set_count(self.count)
        for _ in range(20 * self.count + 100):
            if self.window.una == self.count:
                break
            self.now += 30.0  # avoided sources are usable again
            for n in range(self.window.una, self.window.end):
                self.plan.offer(n, "xxh3:00", (Source(f"fresh-{self.now}", "127.0.0.9", 20000, "/peer/file/x"),), self.now)
            while len(self.jobs) < 6 and (job := self.plan.assign(self.now)) is not None:
                self.jobs.append(job)
            while self.jobs:
                self.arrive(0)
            self.consume(1)
            self.check()
        assert self.delivered == list(range(self.count))
        assert self.plan.finished


@given(
    wnd=st.integers(1, 9),
    cache=st.integers(0, 9),
    count=st.integers(1, 60),
    known=st.booleans(),
    events=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 255)), max_size=120),
)
@settings(max_examples=200, deadline=None)
def test_arbitrary_events_keep_the_invariants(wnd: int, cache: int, count: int, known: bool, events: list[tuple[int, int]]) -> None:
    stream = Stream(wnd, cache, count, known)
    for event, value in events:
        stream.step(event, value)
    stream.finish()


@pytest.mark.parametrize("seed", range(10))
def test_long_runs_keep_the_invariants(seed: int) -> None:
    """Ten thousand steps each, over as many streams as they fill."""
    dice = random.Random(seed)
    steps = 0
    while steps < 10_000:
        stream = Stream(dice.choice((1, 2, 5, 9, 64)), dice.choice((0, 1, 4, 32)), dice.randrange(1, 400), dice.random() < 0.5)
        weights = [dice.random() + 0.05 for _ in range(8)]
        for event in dice.choices(range(8), weights, k=dice.randrange(10, 2000)):
            stream.step(event, dice.randrange(256))
        steps += stream.steps
        stream.finish()
