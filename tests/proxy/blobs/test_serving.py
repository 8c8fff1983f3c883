"""Responses with a blob that is still being received."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine._piece import Geometry
from dfengine._window import Window
from dfengine.client.byte_counts import ByteCounts
from dfengine.client.on_demand import TransferOnDemand
from dfengine.client.plan_on_demand import PlanOnDemand
from dfengine.proxy.blobs import serving
from dfengine.proxy.blobs.blob import Reader
from dfengine.proxy.blobs.serving import Serving
from dfengine.proxy.upstream.timeouts import STALLED_SECONDS, Progress
from dfengine.storage.memory_file import MemoryFile

COUNT, CONTENT = 6, (1 << 20) - 5
WHOLE = b"".join(bytes([n + 1]) * CONTENT for n in range(COUNT))


def memory(*pieces: int) -> MemoryFile:
    file = MemoryFile.allocate(Geometry(len(WHOLE), 1 << 20), b"v1")
    for n in pieces:
        file.write(n, WHOLE[n * CONTENT : (n + 1) * CONTENT], bytes(16))
    return file


class Client:
    """The client's connection, with the methods of the proxy's connection that a response uses."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._server, self.sock = socket.socketpair()
        for each in (self._server, self.sock):
            each.setblocking(False)
        self.fileno = self._server.fileno()
        self.over = loop.create_future()
        self.waited = 0
        self.waits_for = 0.0

    def await_writable(self, then: Any) -> None:
        def writable() -> None:
            self._loop.remove_writer(self._server)
            then()

        self._loop.add_writer(self._server, writable)

    def take_unsent(self) -> bytes:
        return b""

    def response_sent(self) -> None:
        self.over.set_result(True)

    def cut(self) -> None:
        self.over.set_result(False)

    def extend_deadline(self) -> None: ...
    def set_deadline(self, seconds: float) -> None:
        self.waited += 1
        self.waits_for = seconds

    async def read(self, count: int) -> bytes:
        got = bytearray()
        while len(got) < count and (block := await self._loop.sock_recv(self.sock, count - len(got))):
            got += block
        return bytes(got)

    def close(self) -> None:
        self._loop.remove_writer(self._server)
        self._server.close()
        self.sock.close()


async def _moved(first: MemoryFile, second: MemoryFile, read: int) -> bytes:
    """Return the bytes that a client gets of a blob whose file moves to another place after `read` bytes were read."""
    plan = PlanOnDemand(Window(-1, COUNT), 4)
    transfer = TransferOnDemand(first, plan, ByteCounts(), digester=None, throttle=None)
    loop = asyncio.get_running_loop()
    client = Client(loop)
    blob: Any = SimpleNamespace(
        request=transfer.request, withdraw=transfer.withdraw, readers=set(), finished=False, failed=False, version_changed=False,
        corrupt=False, by_digest=True, verified=True, swarm=False, loop=loop,
    )
    connection: Any = client
    try:
        spans = [(0, len(WHOLE))]
        Serving(connection, first.fd, first, spans, [b"", b""], lambda span, on_written: Reader(blob, first, span, on_written)).start()
        got = await client.read(read)
        transfer.move(second)
        while transfer.wanted_pieces():
            n = transfer.wanted_pieces()[0]
            first.write(n, WHOLE[n * CONTENT : (n + 1) * CONTENT], bytes(16))
            transfer.add_shared(n, CONTENT)
            await asyncio.sleep(0)
        got += await asyncio.wait_for(client.read(len(WHOLE) - read), 20)
        assert await client.over
        return got
    finally:
        client.close()
        transfer.close()
        first.close()


def test_a_file_that_moves_is_sent_from_its_new_place() -> None:
    """The old place has zeros where pieces are written after the move."""
    assert asyncio.run(_moved(memory(0, 1), memory(*range(COUNT)), 2 * CONTENT)) == WHOLE


def test_pieces_missing_in_the_new_place_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not requested before the move, since the old place has them; without a request the response would stall."""
    monkeypatch.setattr(serving, "STEP", CONTENT)
    assert asyncio.run(_moved(memory(*range(COUNT)), memory(), CONTENT)) == WHOLE


async def _expired(clock: list[float]) -> None:
    loop = asyncio.get_running_loop()
    client = Client(loop)
    progress = Progress(clock[0])
    file, ready, blob = memory(0), [100], SimpleNamespace(failed=False, progress=progress)
    reader: Any = SimpleNamespace(ready=lambda at: max(0, ready[0] - at), blob=blob, fd=file.fd, close=lambda: None)
    connection: Any = client
    try:
        serving = Serving(connection, file.fd, file, [(0, 300)], [b"", b""], lambda span, on_written: reader)
        serving._clock = lambda: clock[0]  # type: ignore[method-assign]
        serving.start()
        assert await client.read(100) == WHOLE[:100]
        # Bytes of other pieces arrive from any source: each extends the deadline by the full time.
        for count in range(1, 8):
            clock[0] += STALLED_SECONDS * 0.9
            progress.update(count, clock[0])
            clock[0] += STALLED_SECONDS * 0.05
            serving.expired()
            assert client.waits_for <= STALLED_SECONDS * 0.96
        assert client.waited == 7
        assert not client.over.done(), "new bytes arrive"
        ready[0] = 200
        serving._pump()
        clock[0] += STALLED_SECONDS * 0.9
        progress.update(7, clock[0])  # a lost piece is received again
        serving.expired()
        assert client.waits_for == pytest.approx(STALLED_SECONDS * 0.1)
        assert not client.over.done(), "the response had bytes of its own since"
        clock[0] += STALLED_SECONDS * 0.1
        serving.expired()
        assert await client.over is False
    finally:
        client.close()
        file.close()


def test_a_response_waits_for_its_next_byte_as_long_as_new_bytes_arrive() -> None:
    """And no longer: other activity of the download does not extend the deadline."""
    asyncio.run(_expired([1000.0]))


def test_a_client_that_reads_none_of_the_available_bytes_is_cut() -> None:
    async def run() -> None:
        client = Client(asyncio.get_running_loop())
        file = memory(*range(COUNT))
        blob = SimpleNamespace(failed=False)
        reader: Any = SimpleNamespace(ready=lambda at: len(WHOLE) - at, blob=blob, fd=file.fd, close=lambda: None)
        connection: Any = client
        try:
            serving = Serving(connection, file.fd, file, [(0, len(WHOLE))], [b"", b""], lambda span, on_written: reader).start()
            serving.expired()
            assert await client.over is False
        finally:
            client.close()
            file.close()

    asyncio.run(run())
