"""When and how often an open file that reads from the origin looks for a supernode."""

from __future__ import annotations

import threading
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dfengine._piece import Geometry
from dfengine.client import swarm_recovery
from dfengine.client.swarm_recovery import RETURNS, TRIES, SwarmRecovery
from dfengine.errors import SourceGone

GEOMETRY = Geometry(100, 10)
LINE = SimpleNamespace(close=lambda: None)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Thread:
    """Runs when it is started."""

    def __init__(self, target: Any, args: Any, **_: Any) -> None:
        self._target, self._args = target, args

    def start(self) -> None:
        self._target(*self._args)

    def is_alive(self) -> bool:
        return False

    def join(self, timeout: float) -> None:
        pass


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, float]] = []
        self.left: list[Any] = []
        self.answer: Any = SourceGone("refused")
        monkeypatch.setattr(swarm_recovery, "time", self.clock)
        monkeypatch.setattr(threading, "Thread", Thread)
        monkeypatch.setattr(swarm_recovery, "join", self._join)
        monkeypatch.setattr(swarm_recovery, "leave", self.left.append)
        monkeypatch.setattr(swarm_recovery, "chance", lambda: 0.5)
        record = SimpleNamespace(generation=b"v1")
        self.transfer = cast(Any, SimpleNamespace(
            parked=False, wake=lambda: None, plan=SimpleNamespace(stored=3), file=SimpleNamespace(geometry=Geometry(100, 10), record=record)
        ))
        self.recovery = SwarmRecovery(None, lambda: ["a", "b"], None)  # type: ignore[arg-type, list-item]
        self.recovery.begin(self.transfer)

    def _join(self, _: Any, node: str, *__: Any, **___: Any) -> Any:
        self.asked.append((node, self.clock.now))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def wait(self, seconds: float) -> bool:
        """Whether a supernode was found, by a download thread that checks each second."""
        found = False
        for _ in range(int(seconds)):
            self.clock.now += 1.0
            found = found or self.recovery.check(self.transfer)
        return found


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def member(geometry: Geometry = GEOMETRY, generation: bytes = b"v1", native: bool = True, source: str = "supernode") -> Any:
    return SimpleNamespace(geometry=geometry, generation=generation, native=native, cdn_source=source, connection=LINE)


def test_pauses_grow_and_tries_are_bounded(world: World) -> None:
    assert not world.wait(3 * 86400)
    times = [at for node, at in world.asked if node == "a"]
    assert len(times) == TRIES
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses == sorted(pauses)
    assert max(pauses) <= 2 * swarm_recovery.PAUSES[1] + 1
    assert [node for node, _ in world.asked[:4]] == ["a", "b", "a", "b"]


def test_while_parked_no_supernode_is_tried(world: World) -> None:
    world.transfer.parked = True
    assert not world.wait(3600)
    assert world.asked == []
    world.transfer.parked = False
    world.wait(1)
    assert world.asked


def test_a_found_membership_is_claimed_once(world: World) -> None:
    world.answer = found = member()
    assert world.wait(60)
    assert world.recovery.claim_membership(world.transfer) is found
    assert world.recovery.claim_membership(world.transfer) is None
    assert (len(world.asked), world.left) == (1, [])


@pytest.mark.parametrize(
    "other",
    [
        member(generation=b"v2"), member(generation=b""), member(native=False), member(source="source"), member(Geometry(101, 10)),
        member(Geometry(100, 20)),
    ],
)  # fmt: skip
def test_a_supernode_with_another_file_is_left(world: World, other: Any) -> None:
    world.answer = other
    assert not world.wait(60)
    assert set(map(id, world.left)) == {id(other)}


def test_a_file_without_a_version_does_not_return_to_the_swarm(world: World) -> None:
    world.transfer.file.record.generation = b""
    world.answer = member(generation=b"")
    assert not world.wait(60)


def test_returns_without_new_pieces_are_bounded(world: World) -> None:
    world.answer = member()
    returns = 0
    for _ in range(10):
        if not world.wait(86400):
            break
        returns += 1
        world.recovery.claim_membership(world.transfer)
        world.recovery.begin(world.transfer)
    assert returns == RETURNS


def test_a_return_with_new_pieces_resets_the_count(world: World) -> None:
    world.answer = member()
    for _ in range(10):
        assert world.wait(86400)
        world.recovery.claim_membership(world.transfer)
        world.transfer.plan.stored += 1
        world.recovery.begin(world.transfer)


def test_a_membership_found_before_the_close_is_left(world: World) -> None:
    world.answer = found = member()
    assert world.wait(60)
    world.recovery.close()
    assert world.left == [found]
    assert world.recovery.claim_membership(world.transfer) is None
