"""Memory and disk reads of a piece server for a client that sends many requests and reads nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import pytest

from dfengine.net import cold_slices, piece_connection, piece_server
from dfengine.net._sendfile import FileSlice
from dfengine.net.http import STALL_SECONDS, Parts, Request
from dfengine.net.listener import listen_on
from dfengine.net.piece_server import PieceServer
from dfengine.net.unacknowledged_bytes import MIN_ACKNOWLEDGED

SIZE = 64 << 20
REQUEST = b"GET /piece HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def serving(route: Callable[[Request], Parts]) -> Iterator[tuple[PieceServer, tuple[str, int]]]:
    """A server on the running loop, and its address."""
    server = PieceServer(asyncio.get_running_loop(), listen_on("127.0.0.1", 0), route)
    server.start()
    try:
        yield server, ("127.0.0.1", server.port)
    finally:
        server.close()


@pytest.fixture(name="fd")
def memory() -> Iterator[int]:
    """A file of SIZE bytes."""
    fd = os.memfd_create("piece")
    os.ftruncate(fd, SIZE)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("clients", [2, 20])
def test_requests_queued_behind_the_first_response_count_towards_the_quota(clients: int, fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece_server, "MEMORY", 256 << 10)

    async def ask() -> None:
        with ExitStack() as stack, serving(lambda request: Parts(206, (FileSlice(fd, 0, SIZE),))) as (server, address):
            for _ in range(clients):
                stack.enter_context(socket.create_connection(address, 5)).sendall(REQUEST * 1000)
            until = time.monotonic() + 10
            while server.requests < clients and time.monotonic() < until:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            kept = sum(len(connection._backlog) for connection in server.connections)
            assert server.memory.amount_of("127.0.0.1") == kept > 0
            assert kept <= server.memory.limit
            assert (len(server.connections) == clients) == (clients == 2), "a client within its share is not cut off"
        assert server.memory.amount_of("127.0.0.1") == 0

    asyncio.run(ask())


def test_nothing_is_read_from_disk_for_clients_that_have_left(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold_slices, "MAX_LOADS", 1)
    reads: list[str] = []
    goes_on = threading.Event()

    def check() -> bool:
        reads.append(threading.current_thread().name)
        return goes_on.wait(10)

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        with (
            serving(lambda request: Parts(206, (FileSlice(fd, 0, 5, check=check, must=True),))) as (server, address),
            socket.create_connection(address, 5) as stays,
        ):
            stays.sendall(REQUEST)
            until = time.monotonic() + 10
            while not reads and time.monotonic() < until:
                await asyncio.sleep(0.01)
            for _ in range(20):
                with socket.create_connection(address, 5) as leaves:
                    leaves.sendall(REQUEST)
                    while len(server.connections) < 2 or server.loads < server.requests:
                        await asyncio.sleep(0.001)
                while len(server.connections) > 1 and time.monotonic() < until:
                    await asyncio.sleep(0.001)
            goes_on.set()
            stays.setblocking(False)
            assert (await loop.sock_recv(stays, 1000)).startswith(b"HTTP/1.1 206")
            assert server.loads == 21
            assert len(server.cold_slices) == 0
            assert len(reads) == 1

    asyncio.run(ask())


def test_a_cold_slice_is_sent_while_the_default_executor_is_busy_and_its_threads_end_with_the_server(fd: int) -> None:
    readers: list[threading.Thread] = []
    goes_on = threading.Event()

    def check() -> bool:
        readers.append(threading.current_thread())
        return True

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, goes_on.wait, 20)
        before = set(threading.enumerate())
        warm, cold = FileSlice(fd, 0, 5), FileSlice(fd, 0, 5, check=check, must=True)
        with serving(lambda request: Parts(206, (cold if request.path == "/cold" else warm,))) as (_, address):
            reader, writer = await asyncio.open_connection(*address)
            for path in (b"/warm", b"/cold"):
                writer.write(REQUEST.replace(b"/piece", path))
                assert await asyncio.wait_for(reader.readuntil(bytes(5)), 10)
                assert bool(set(threading.enumerate()) - before) == bool(readers) == (path == b"/cold")
            writer.close()
        assert not busy.done()
        assert readers
        assert not any(thread.is_alive() for thread in readers)
        goes_on.set()
        await busy

    asyncio.run(ask())


def test_a_client_is_not_disconnected_while_its_slice_waits_for_a_thread(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold_slices, "MAX_LOADS", 1)
    clock, goes_on, reads = [100.0], threading.Event(), threading.Semaphore(0)
    for module in (piece_connection, piece_server):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def check() -> bool:
        reads.release()
        return goes_on.wait(60)

    def slices(request: Request) -> Parts:
        return Parts(206, (FileSlice(fd, 0, 5, check=check, must=True),))

    async def ask() -> None:
        with serving(slices) as (server, address), socket.create_connection(address, 5) as first, socket.socket() as second:
            first.sendall(REQUEST)
            while not reads.acquire(blocking=False):
                await asyncio.sleep(0.001)
            second.bind(("127.0.0.2", 0))
            second.connect(address)
            second.sendall(REQUEST)
            while server.loads < 2:
                await asyncio.sleep(0.001)
            clock[0] += 2 * STALL_SECONDS
            assert server._sweeper is not None
            server._sweeper.cancel()
            server._sweep()
            assert [connection.client for connection in server.connections] == ["127.0.0.2"], "the first one's read takes too long"
            goes_on.set()
            second.setblocking(False)
            received = b""
            while not received.endswith(bytes(5)):
                received += await asyncio.get_running_loop().sock_recv(second, 1000)

    asyncio.run(asyncio.wait_for(ask(), 60))


def test_a_response_is_sent_in_all_its_batches() -> None:
    texts = [bytes([65 + n]) * 1000 for n in range(20)]
    sent: list[int] = []

    def route(request: Request) -> Parts:
        more = iter([(text, text) for text in texts[1:]])
        return Parts(200, (texts[0],), sent=sent.append, more=more, length=39_000)

    async def ask() -> None:
        with serving(route) as (_, address):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(REQUEST.replace(b"GET", b"HEAD") + 2 * REQUEST)
            for length in (0, 39_000, 39_000):
                head = await reader.readuntil(b"\r\n\r\n")
                assert b"39000" in head
                assert await reader.readexactly(length) == b"".join(texts[:1] + [2 * text for text in texts[1:]])[:length]
            assert len(sent) == 3
            writer.close()

    asyncio.run(asyncio.wait_for(ask(), 20))


def test_bytes_taken_by_a_client_are_reported_until_it_leaves(fd: int) -> None:
    taken: list[Callable[[], int]] = []

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        with (
            serving(lambda request: Parts(206, (FileSlice(fd, 0, SIZE),), started=taken.append)) as (server, address),
            socket.socket() as client,
        ):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(address)
            client.setblocking(False)
            await loop.sock_sendall(client, REQUEST.replace(b"GET", b"HEAD"))
            assert await loop.sock_recv(client, 4096)
            assert not taken, "a response to HEAD reports no bytes"
            await loop.sock_sendall(client, REQUEST)
            await asyncio.sleep(0.3)
            (of_client,) = taken
            stands = of_client()
            await asyncio.sleep(0.3)
            assert 0 <= of_client() == stands < SIZE
            got = 0
            while got < 8 << 20:
                got += len(await loop.sock_recv(client, 1 << 20))
            assert of_client() == -1 or of_client() > stands
            client.close()
            while server.connections:
                await asyncio.sleep(0.01)
            assert of_client() == 0

    asyncio.run(asyncio.wait_for(ask(), 20))


def test_a_client_that_reads_slowly_is_not_disconnected_while_its_socket_is_full(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a rate limit, or a slow disk. A client that acknowledges less than MIN_ACKNOWLEDGED bytes is disconnected."""
    clock, queued = [100.0], [1 << 20]
    for module in (piece_connection, piece_server):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(piece_connection, "unacknowledged_bytes", lambda fd: queued[0])

    async def ask() -> None:
        with serving(lambda request: Parts(206, (FileSlice(fd, 0, SIZE),))) as (server, address), socket.socket() as client:

            def sweep(seconds: float, acknowledged: int = 0) -> None:
                clock[0] += seconds
                queued[0] -= acknowledged
                assert server._sweeper is not None
                server._sweeper.cancel()
                server._sweep()

            client.connect(address)
            client.sendall(REQUEST)
            sent = -1
            while not server.bytes_sent or sent != (sent := server.bytes_sent):
                await asyncio.sleep(0.05)
            (connection,) = server.connections
            sweep(2.0)
            for _ in range(3):
                sweep(STALL_SECONDS + 1.0, acknowledged=MIN_ACKNOWLEDGED)
                assert connection in server.connections
            sweep(STALL_SECONDS / 2, acknowledged=MIN_ACKNOWLEDGED - 1)
            assert connection in server.connections
            sweep(STALL_SECONDS / 2 + 1.0)
            assert not server.connections
            assert server.bytes_sent == sent, "the socket accepted bytes, which extend the deadline in any case"

    asyncio.run(asyncio.wait_for(ask(), 20))
