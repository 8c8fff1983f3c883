"""Handles requests of clients in turn, one request each, in slices so that the loop's other work goes on.

A request is handled at once, in the callback that received it, while handlers took less than INLINE seconds in this iteration of the loop.
Further requests wait: in batches of BATCH seconds one request of each waiting client is handled in turn, however many connections it has;
between batches the loop polls its sockets and timers. `now` and `call_soon` are arguments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from dfengine.task import client_of

INLINE = 0.010
"""Seconds of handlers between two polls of the sockets, for requests that are handled at once."""

NOTED = 0.002
"""Seconds of handlers after which the end of the iteration is scheduled for: less is not worth the call."""

BATCH = 0.005
"""Seconds of handlers in one batch of waiting requests."""


class Waiting(Protocol):
    """A connection with requests that wait."""

    client: str

    def go_on(self) -> None:
        """Handle one request, and `join` again when more wait."""


class Turns:
    """soon: calls a function in the loop's next iteration. now: seconds."""

    def __init__(self, soon: Callable[[Callable[[], None]], object], now: Callable[[], float]) -> None:
        self._soon = soon
        self._now = now
        self._spent = 0.0
        self._called = False
        self._waiting: dict[str, deque[Waiting]] = {}
        """Client -> its connections in turn; the clients in turn, too."""

    @property
    def open(self) -> bool:
        """A request that comes now is handled at once."""
        return self._spent < INLINE

    def spent(self, seconds: float) -> None:
        """A handler that ran at once took so long."""
        self._spent += seconds
        if self._spent > NOTED:
            self._call()

    def join(self, connection: Waiting) -> None:
        """It has a waiting request; join once until `go_on` is called."""
        self._waiting.setdefault(client_of(connection.client), deque()).append(connection)
        self._call()

    def _call(self) -> None:
        if not self._called:
            self._called = True
            self._soon(self._batch)

    def _batch(self) -> None:
        self._called, self._spent = False, 0.0
        if not self._waiting:
            return
        until = self._now() + BATCH
        try:
            while self._waiting:
                client, connections = next(iter(self._waiting.items()))
                del self._waiting[client]
                connection = connections.popleft()
                if connections:
                    self._waiting[client] = connections
                connection.go_on()
                if self._now() >= until:
                    break
        finally:
            if self._waiting:
                self._call()
