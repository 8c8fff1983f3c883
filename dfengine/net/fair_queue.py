"""Fair scheduling of clients' requests: one request per client in turn, in slices that leave the loop time for other work.

A request is handled at once, in the callback that received it, while handlers have used less than INLINE seconds in this iteration of the
loop. Further requests wait: in batches of BATCH seconds, one request of each waiting client is handled in turn, however many connections it
has. Between batches the loop polls its sockets and timers. `now` and `call_soon` are arguments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from dfengine.task import client_of

INLINE = 0.010
"""Seconds of handlers between two polls of the sockets for requests that are handled at once."""

NOTED = 0.002
"""Seconds of handlers from which on the end of the iteration is scheduled; for less the call is not worth its cost."""

BATCH = 0.005
"""Seconds of handlers in one batch of waiting requests."""


class Waiting(Protocol):
    """A connection with waiting requests."""

    client: str

    def handle_next(self) -> None:
        """Handle one request, and `join` again if more wait."""


class Turns:
    """The waiting connections of a loop. soon: calls a function in the loop's next iteration. now: seconds."""

    def __init__(self, soon: Callable[[Callable[[], None]], object], now: Callable[[], float]) -> None:
        self._soon = soon
        self._now = now
        self._spent = 0.0
        self._called = False
        self._waiting: dict[str, deque[Waiting]] = {}
        """Client -> its connections in turn; the clients are in turn as well."""

    @property
    def open(self) -> bool:
        """Whether a request that arrives now is handled at once."""
        return self._spent < INLINE

    def spent(self, seconds: float) -> None:
        """Count the seconds of a handler that ran at once."""
        self._spent += seconds
        if self._spent > NOTED:
            self._call()

    def join(self, connection: Waiting) -> None:
        """Queue a connection that has a waiting request; call once until its `handle_next` is called."""
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
                connection.handle_next()
                if self._now() >= until:
                    break
        finally:
            if self._waiting:
                self._call()
