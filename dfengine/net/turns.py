"""Handles requests of clients in turn, one request each, in slices so that the loop's other work goes on.

A request is handled at once, in the callback that brought it, while handlers took less than INLINE seconds since the loop last came by.
What comes then waits: of the clients that have something waiting each is given one request in turn, however many connections it has, for
BATCH seconds; then the loop looks at its sockets and timers, and the next batch follows. `now`, and what calls soon, are arguments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from dfengine.task import client_of

INLINE = 0.010
"""Seconds of handlers between two looks at the sockets, for what need not wait."""

NOTED = 0.002
"""Seconds of handlers after which the loop is asked to come by: less is not worth the call."""

BATCH = 0.005
"""Seconds of handlers for what waits, between two looks at the sockets."""


class Waiting(Protocol):
    """A connection with requests that wait."""

    client: str

    def go_on(self) -> None:
        """Handle one request, and `join` again when more wait."""


class Turns:
    """soon: calls a function after the loop has looked at its sockets. now: seconds."""

    def __init__(self, soon: Callable[[Callable[[], None]], object], now: Callable[[], float]) -> None:
        self._soon = soon
        self._now = now
        self._spent = 0.0
        self._called = False
        self._waiting: dict[str, deque[Waiting]] = {}
        """Client -> its connections in turn; the clients in turn, too."""

    @property
    def open(self) -> bool:
        """What comes now need not wait."""
        return self._spent < INLINE

    def spent(self, seconds: float) -> None:
        """So long a handler took that did not wait."""
        self._spent += seconds
        if self._spent > NOTED:
            self._call()

    def join(self, connection: Waiting) -> None:
        """It has a request that waits; joined once until it is told to go on."""
        self._waiting.setdefault(client_of(connection.client), deque()).append(connection)
        self._call()

    def _call(self) -> None:
        if not self._called:
            self._called = True
            self._soon(self._come)

    def _come(self) -> None:
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
