"""A relay that lends a link a round trip: every byte is held for half of it each way, and a connection's first byte for one more.

It stands for a long link where the kernel has no netem. The rate is loopback's; the round trip of the TCP handshake is what the first byte
waits for in addition.
"""

from __future__ import annotations

import asyncio
import sys

STEP = 256 << 10
"""Bytes that are passed on at once."""


class Way(asyncio.Protocol):
    """One direction of a connection: what comes in here goes out at `other`, later."""

    def __init__(self, delay: float, first: float) -> None:
        self._delay = delay
        self._free = first
        self._loop = asyncio.get_running_loop()
        self._held: list[bytes] = []
        self.other: asyncio.Transport | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(64 << 20)

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

    def _later(self, data: bytes | None) -> None:
        self._free = max(self._free, self._loop.time() + self._delay)
        self._loop.call_at(self._free, self._pass, data)

    def _pass(self, data: bytes | None) -> None:
        if self.other is None or self.other.is_closing():
            return
        if data:
            self.other.write(data)
        elif data is None:
            self.other.close()
        elif self.other.can_write_eof():
            self.other.write_eof()


async def serve(host: str, pairs: list[tuple[int, str, int]], trip: float) -> None:
    """Listen at `host` on each pair's first port, for the server at its other address. trip: seconds."""
    loop = asyncio.get_running_loop()

    def accept(there: tuple[str, int]) -> Way:
        ours = Way(trip / 2, loop.time() + trip * 1.5)

        async def connect() -> None:
            _, theirs = await loop.create_connection(lambda: Way(trip / 2, 0.0), *there)
            ours.other, theirs.other = theirs.transport, ours.transport

        begun.add(task := loop.create_task(connect()))
        task.add_done_callback(begun.discard)
        return ours

    begun: set[asyncio.Task[None]] = set()
    for port, there, number in pairs:
        await loop.create_server(lambda there=there, number=number: accept((there, number)), host, port, backlog=1024)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    # HOST MILLISECONDS PORT:HOST:PORT...
    given = [each.split(":") for each in sys.argv[3:]]
    asyncio.run(serve(sys.argv[1], [(int(port), there, int(number)) for port, there, number in given], float(sys.argv[2]) / 1000))
