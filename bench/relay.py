"""A relay that adds a round-trip time to a link: every byte is delayed by half of it each way, and a connection's first byte by one more.

It simulates a long link on kernels without netem. The rate is loopback's; the additional delay of the first byte stands for the TCP
handshake.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from functools import partial


class Way(asyncio.Protocol):
    """One direction of a connection: bytes are passed on to the other side later, in order. first: not before this time."""

    def __init__(self, delay: float, first: float) -> None:
        self._delay = delay
        self._free = first
        self._loop = asyncio.get_running_loop()
        self._held: deque[bytes | None] = deque()
        self._due = 0
        self._other: asyncio.Transport | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._later(data)

    def eof_received(self) -> bool:
        """See asyncio.Protocol."""
        self._later(b"")
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._later(None)

    def leads_to(self, other: asyncio.Transport | None) -> None:
        """Set the transport to which bytes are passed on."""
        self._other = other
        self._pass(0)

    def _later(self, data: bytes | None) -> None:
        self._held.append(data)
        self._free = max(self._free, self._loop.time() + self._delay)
        self._loop.call_at(self._free, self._pass, 1)

    def _pass(self, more: int) -> None:
        """Pass on `more` bytes that are due, and those that could not be passed on yet."""
        self._due += more
        while self._due and self._other is not None:
            self._due -= 1
            data = self._held.popleft()
            if self._other.is_closing():
                continue
            if data:
                self._other.write(data)
            elif data is None:
                self._other.close()
            elif self._other.can_write_eof():
                self._other.write_eof()


async def serve(host: str, pairs: list[tuple[int, str, int]], trip: float) -> None:
    """Listen at `host` on each pair's first port, for the server at its other address. trip: round-trip time in seconds."""
    loop = asyncio.get_running_loop()

    def accept(there: tuple[str, int]) -> Way:
        ours = Way(trip / 2, loop.time() + trip * 1.5)

        async def connect() -> None:
            _, theirs = await loop.create_connection(lambda: Way(trip / 2, 0.0), *there)
            theirs.leads_to(ours.transport)
            ours.leads_to(theirs.transport)

        begun.add(task := loop.create_task(connect()))
        task.add_done_callback(begun.discard)
        return ours

    begun: set[asyncio.Task[None]] = set()
    for port, there, number in pairs:
        await loop.create_server(partial(accept, (there, number)), host, port, backlog=1024)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    # HOST MILLISECONDS PORT:HOST:PORT...
    given = [each.split(":") for each in sys.argv[3:]]
    asyncio.run(serve(sys.argv[1], [(int(port), there, int(number)) for port, there, number in given], float(sys.argv[2]) / 1000))
