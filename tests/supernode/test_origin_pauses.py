"""Pauses of requests to origins, on a virtual clock: several supernodes whose notices arrive late or never."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import OriginError, OriginPaused, OriginUnreachable
from dfengine.supernode.copies import origin_pauses
from dfengine.supernode.copies.origin_pauses import MAX_PAUSE, REACHED, OriginPauses, Pause, PauseAwareRetry

ORIGIN = "http://origin:80"


def unconnected() -> OriginUnreachable:
    error = OriginUnreachable("refused")
    error.unconnected = True
    return error


def busy(seconds: float, status: int = 503) -> OriginError:
    return OriginError("origin:80 answers 503", status, seconds)


class Node:
    """A supernode. Its pauses reach the others as notices do: late or never."""

    def __init__(self) -> None:
        self.pauses = OriginPauses()
        self.pauses.on_paused = lambda origin, pause, now: self.out.append((origin, pause))
        self.out: list[tuple[str, Pause]] = []
        self.answered = -1e9


class World:
    """The origin responds 503 with Retry-After until `quiet`, and refuses connections until `down`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.quiet = self.down = 0.0
        self.nodes = [Node() for _ in range(3)]
        self.asked: list[tuple[float, int]] = []
        self.late: list[tuple[int, str, Pause, float]] = []

    def ask(self, n: int) -> None:
        node, retry = self.nodes[n], PauseAwareRetry(self.nodes[n].pauses, ORIGIN)
        retry.bound(5, 0.0)
        try:
            retry.raise_if_paused(self.now, 0.0)
        except OriginPaused as error:
            retry.pause(error, self.now, 0.0)
            return
        self.asked.append((self.now, n))
        if self.now < self.down:
            retry.pause(unconnected(), self.now, 0.5)
        elif self.now < self.quiet:
            retry.pause(busy(self.quiet - self.now), self.now, 0.5)
        else:
            retry.answered(self.now)
            node.answered = self.now

    def deliver(self, but: int) -> None:
        """Deliver the notices to all nodes except `but`."""
        for n, node in enumerate(self.nodes):
            told, node.out = node.out, []
            for origin, pause in told:
                for other, each in enumerate(self.nodes):
                    if other not in (n, but):
                        each.pauses.apply_remote(origin, pause._replace(found_by=f"n{n}"), self.now)


STEPS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from(range(3))),
    st.tuples(st.just("quiet"), st.sampled_from([1.0, 30.0, MAX_PAUSE, 500.0])),
    st.tuples(st.just("down"), st.sampled_from([1.0, 30.0])),
    st.tuples(st.just("deliver"), st.sampled_from([-1, 0, 1, 2])),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 5.0, REACHED, MAX_PAUSE])),
)


@given(st.lists(STEPS, max_size=40))
def test_a_node_that_knows_a_pause_sends_no_requests_and_every_pause_ends(steps: list[Any]) -> None:
    world = World()
    for kind, value in steps:
        if kind == "ask":
            known = world.nodes[value].pauses.find(ORIGIN, world.now)
            before = len(world.asked)
            world.ask(value)
            assert (len(world.asked) == before) == (known is not None)
        elif kind == "wait":
            world.now += value
        elif kind == "deliver":
            world.deliver(value)
        elif kind == "quiet":
            world.quiet = max(world.quiet, world.now + value)
        else:
            world.down = max(world.down, world.now + value)
        for node in world.nodes:
            found = node.pauses.find(ORIGIN, world.now)
            assert found is None or world.now < found.until <= world.now + MAX_PAUSE
            if found is not None and found.found_by and not found.requested:
                assert node.answered + REACHED <= world.now or node.answered < world.now
    world.now += MAX_PAUSE
    assert all(node.pauses.find(ORIGIN, world.now) is None for node in world.nodes)


def test_a_pause_requested_from_one_node_holds_for_all_until_its_end() -> None:
    world = World()
    world.quiet = world.now + 20
    world.ask(0)
    world.deliver(-1)
    for n in (0, 1, 2):
        world.ask(n)
    assert [n for _, n in world.asked] == [0]
    with pytest.raises(OriginPaused, match=r"left alone for 20 s: origin:80 answers 503 \(supernode n0 found it\)") as told:
        PauseAwareRetry(world.nodes[1].pauses, ORIGIN).raise_if_paused(world.now, 0.5)
    assert 20 < told.value.retry_after <= 21
    world.now += 20
    world.ask(1)
    assert [n for _, n in world.asked] == [0, 1]


def test_a_supernode_that_reaches_the_origin_ignores_others_connection_failures() -> None:
    pauses = OriginPauses()
    pauses.answered(ORIGIN, 100.0)
    pauses.apply_remote(ORIGIN, Pause(110.0, False, "refused", "n1"), 101.0)
    assert pauses.find(ORIGIN, 101.0) is None
    pauses.apply_remote(ORIGIN, Pause(110.0, True, "429", "n1"), 101.0)
    assert pauses.find(ORIGIN, 101.0) is not None
    other = OriginPauses()
    other.apply_remote(ORIGIN, Pause(1e9, False, "refused", "n1"), 101.0)
    found = other.find(ORIGIN, 101.0)
    assert found is not None
    assert found.until == 101.0 + MAX_PAUSE, "a longer pause from another node is cut"
    other.answered(ORIGIN, 102.0)
    assert other.find(ORIGIN, 102.0) is None


@pytest.mark.parametrize("error", [
    busy(0), busy(4000), busy(3, 404), busy(3, 500), OriginUnreachable("silent"), OriginPaused("already", 503, 3.0),
])  # fmt: skip
def test_failures_that_do_not_concern_the_whole_origin_pause_nothing(error: OriginError) -> None:
    pauses = OriginPauses()
    pauses.failed(ORIGIN, error, 5.0, 0.0)
    assert not len(pauses)


def test_redirects_private_requests_and_last_failures_pause_nothing() -> None:
    pauses, error = OriginPauses(), busy(5)
    error.elsewhere = True
    pauses.failed(ORIGIN, error, 5.0, 0.0)
    pauses.failed(ORIGIN, unconnected(), None, 0.0)
    private = PauseAwareRetry(None, ORIGIN)
    private.bound(5, 0.0)
    assert private.pause(busy(5), 0.0, 0.0) == 5
    assert not len(pauses)
    pauses.failed(ORIGIN, busy(50), 50.0, 0.0)
    private.raise_if_paused(1.0, 0.0)


def test_remembered_pauses_and_responses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin_pauses, "MAX_ORIGINS", 10)
    pauses = OriginPauses()
    for n in range(100):
        pauses.answered(f"a{n}", 0.0)
        pauses.failed(f"p{n}", busy(5), 5.0, 0.0)
    assert len(pauses) == len(pauses._answers) == 10
    assert list(pauses.current(1.0)) == [f"p{n}" for n in range(90, 100)]
