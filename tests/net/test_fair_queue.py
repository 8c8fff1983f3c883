"""Clients take turns, whatever the number of their connections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from dfengine.net.fair_queue import BATCH, INLINE, Turns

COST = 0.001
"""Seconds per request."""


class World:
    """A simulated event loop and clock; `round` runs the calls scheduled so far."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon: list[Callable[[], None]] = []
        self.turns = Turns(self.soon.append, lambda: self.now)
        self.handled: list[str] = []
        self.longest = 0.0

    def round(self) -> None:
        called, self.soon[:] = list(self.soon), []
        begun = self.now
        for function in called:
            function()
        self.longest = max(self.longest, self.now - begun)


class Connection:
    def __init__(self, world: World, client: str, requests: int) -> None:
        self.client = client
        self.left = requests
        self._world = world
        world.turns.join(self)

    def handle_next(self) -> None:
        self.left -= 1
        self._world.now += COST
        self._world.handled.append(self.client)
        if self.left:
            self._world.turns.join(self)


@given(st.lists(st.tuples(st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2"]), st.integers(1, 20)), max_size=12))
def test_each_client_gets_a_turn_before_any_gets_another(given: list[tuple[str, int]]) -> None:
    world = World()
    connections = [Connection(world, client, requests) for client, requests in given]
    while world.soon:
        world.round()
    assert all(connection.left == 0 for connection in connections)
    assert not world.turns._waiting
    assert world.longest <= BATCH + COST
    turns = [client.replace("db8::2", "db8::1") for client in world.handled]  # addresses of one network are one client
    left = Counter(turns)
    so_far = Counter[str]()
    for client in turns:
        so_far[client] += 1
        assert all(so_far[client] <= so_far[other] + 1 for other in left if so_far[other] < left[other]), "no client is passed over"


def test_new_requests_are_queued_only_after_long_running_handlers() -> None:
    world = World()
    assert world.turns.open
    world.turns.spent(INLINE / 10)
    assert world.turns.open
    assert not world.soon, "a short handler needs no scheduled call"
    world.turns.spent(INLINE)
    assert not world.turns.open
    world.round()
    assert world.turns.open
