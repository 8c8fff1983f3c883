"""A tunnel: bytes of a client and a server, passed on in both directions until both have ended.

Memory is bounded: while one side does not read, the other one is not read. Each side may end its own direction and still receive. An idle
tunnel is closed.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

HIGH_WATER = 1 << 20
"""Unsent bytes for one side at which reading from the other side stops."""

IDLE_SECONDS = 900.0
HALF_SECONDS = 120.0
"""Idle time after one side has ended."""


class Tunnel:
    """Deadlines and end of a tunnel, a connection of the server, like `ClientConnection`. ended: called once both sides are closed."""

    def __init__(self, ended: Callable[[Tunnel], None]) -> None:
        self._ended = ended
        self.deadline = monotonic() + IDLE_SECONDS
        self._seconds = IDLE_SECONDS
        self._moved = False
        self._over = False

    def moved(self) -> None:
        """Record that bytes were received."""
        self._moved = True

    def half(self) -> None:
        """Record that one side has ended."""
        self._seconds = HALF_SECONDS
        self._moved = True

    def closed(self) -> None:
        """Report that both sides are closed."""
        if not self._over:
            self._over = True
            self._ended(self)

    def expire(self) -> None:
        """Handle the deadline: close the tunnel unless bytes moved since."""
        if self._moved:
            self._moved = False
            self.deadline = monotonic() + self._seconds
        else:
            self.cut()

    def cut(self) -> None:
        """Close both sides at once."""
        raise NotImplementedError


class Relay(Tunnel):
    """A tunnel through this process, for a side that is not a plain socket, such as the connection to an https proxy."""

    def __init__(self, ended: Callable[[Tunnel], None]) -> None:
        super().__init__(ended)
        self.client, self.server = Side(self), Side(self)
        self.client.other, self.server.other = self.server, self.client

    def begin(self, client: asyncio.Transport, server: asyncio.Transport, first: bytes, last: bytes) -> None:
        """Take over both transports. first: bytes already read from the client; last: from the server."""
        for side, transport in ((self.client, client), (self.server, server)):
            transport.set_protocol(side)
            side.connection_made(transport)
        for side, data in ((self.client, first), (self.server, last)):
            if data:
                side.data_received(data)
        for transport in (client, server):
            if not transport.is_reading():
                transport.resume_reading()

    def side_closed(self) -> None:
        """Handle the closing of one side."""
        if self.client.transport is None and self.server.transport is None:
            self.closed()

    def cut(self) -> None:
        for side in (self.client, self.server):
            if side.transport is not None:
                side.transport.abort()


class Side(asyncio.Protocol):
    """One side."""

    other: Side

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.transport: asyncio.Transport | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        self._relay.moved()
        there = self.other.transport
        if there is not None:
            there.write(data)

    def eof_received(self) -> bool:
        """Pass on the end of this side's bytes; the other direction may continue."""
        self._ended = True
        self._relay.half()
        there = self.other.transport
        if there is not None and there.can_write_eof():
            there.write_eof()
        if self.other._ended:
            self._close()
        return True

    def _close(self) -> None:
        for side in (self, self.other):
            if side.transport is not None:
                side.transport.close()

    def pause_writing(self) -> None:
        there = self.other.transport
        if there is not None and not there.is_closing():
            there.pause_reading()

    def resume_writing(self) -> None:
        there = self.other.transport
        if there is not None and not there.is_closing():
            there.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        there = self.other.transport
        if there is not None:
            # A reset is passed on as a reset, so that the receiver does not take a part for the whole.
            (there.abort() if exc is not None or not self._ended else there.close())
        self._relay.side_closed()
