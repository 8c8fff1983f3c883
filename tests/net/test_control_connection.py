"""Memory that a control server uses for clients that read nothing or wait for a response."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
import uvloop

from dfengine.net import control_server
from dfengine.net.control_connection import Answer
from dfengine.net.control_server import ControlServer
from dfengine.net.http import Request, Response
from tests.e2e.certificates import Authority

SIZE, BEHIND = 100_000, 20


@pytest.mark.parametrize("parked", ["first", "all"])
@pytest.mark.parametrize("clients", [1, 5])
def test_responses_queued_behind_a_parked_one_count_towards_the_memory_quota(
    parked: str, clients: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_server, "MEMORY", 4 * SIZE * BEHIND)

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        waiting: list[asyncio.Future[Response]] = []
        ready: list[asyncio.Future[Response]] = []

        def handler(request: Request) -> Answer:
            answer = Response(200, bytes(SIZE))
            if request.path != "/parked" and parked == "first":
                return answer
            future = loop.create_future()
            waiting.append(future)
            if request.path != "/parked":
                ready.append(future)
            return future

        server = ControlServer(loop, handler)
        await server.start("127.0.0.1", 0)
        try:
            for _ in range(clients):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 5))
                sock.sendall(b"".join(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in (b"parked", *[b"ready"] * BEHIND)))
            until = time.monotonic() + 10
            asked = 0
            while (asked < server.requests or not asked) and time.monotonic() < until:
                asked = server.requests
                await asyncio.sleep(0.1)
                for future in ready:
                    if not future.done():
                        future.set_result(Response(200, bytes(SIZE)))
            await asyncio.sleep(0.1)
            parked_bytes = Request("GET", b"/parked", {"host": "x"}, b"", "").memory
            assert server.memory.amount_of("127.0.0.1") == len(server.connections) * (parked_bytes + SIZE * BEHIND)
            assert server.connections
            assert (len(server.connections) == clients) == (clients == 1), "a client within its share is not cut off"
            for future in waiting:
                if not future.done():
                    future.set_result(Response(200))
            stack.close()
            while server.connections and time.monotonic() < until:
                await asyncio.sleep(0.01)
            assert server.memory.amount_of("127.0.0.1") == 0
        finally:
            server.close()

    with ExitStack() as stack:
        asyncio.run(ask())


@pytest.mark.parametrize("keeps", ["body", "target", "fields", "nothing"])
def test_waiting_requests_count_towards_the_memory_quota(keeps: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "MEMORY", 1 << 20)
    target, fields, body = b"/", b"", b""
    if keeps == "target":
        target += b"x" * 10_000
    elif keeps == "fields":
        fields = b"".join(b"%d: y\r\n" % n for n in range(120))
    else:
        body = bytes(60_000)
    message = b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (target, fields, len(body), body)

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        waiting: list[asyncio.Future[Response]] = []

        def handler(request: Request) -> Answer:
            if keeps == "nothing":
                request.body = b""
            waiting.append(loop.create_future())
            return waiting[-1]

        server = ControlServer(loop, handler)
        await server.start("127.0.0.1", 0)
        try:
            with ExitStack() as stack:
                connections = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 5)) for _ in range(3)]
                await wait_until(lambda: len(server.connections) == 3)
                for number in range(1, 61):
                    if keeps != "nothing" and len(server.connections) < 3:
                        break
                    connections[number % 3].sendall(message)
                    await wait_until(partial(lambda sent: server.requests == sent or len(server.connections) < 3, number))
                assert server.memory.amount_of("127.0.0.1") <= server.memory.limit
                if keeps == "nothing":
                    assert server.memory.amount_of("127.0.0.1") < 60 * 1000
                await wait_until(lambda: len(server.connections) == (3 if keeps == "nothing" else 2))
                for future in waiting:
                    if not future.done():
                        future.set_result(Response(200))
                await wait_until(lambda: server.memory.amount_of("127.0.0.1") == 0)
            await wait_until(lambda: not server.connections)
        finally:
            server.close()

    asyncio.run(ask())


CLOSING = {
    "keep": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "close": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "1.0": b"GET / HTTP/1.0\r\n\r\n",
    "malformed": b"GET /parked HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nmalformed\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", CLOSING.values(), ids=CLOSING)
@pytest.mark.parametrize("clients", [2, 8])
def test_unread_responses_count_towards_the_memory_quota_on_every_connection(
    clients: int, request_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 16 << 20  # more than the kernel buffers
    monkeypatch.setattr(control_server, "MEMORY", 4 * size)

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        parked: list[asyncio.Future[Response]] = []

        def handler(request: Request) -> Answer:
            if request.path != "/parked":
                return Response(200, bytes(size))
            parked.append(loop.create_future())
            return parked[-1]

        server = ControlServer(loop, handler)
        await server.start("127.0.0.1", 0)
        try:
            with ExitStack() as stack:
                for _ in range(clients):
                    sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 5))
                    sock.sendall(request_bytes)
                requests = clients * request_bytes.count(b"GET")
                await wait_until(lambda: server.requests == requests)
                for future in parked:
                    if not future.done():
                        future.set_result(Response(200))
                await wait_until(lambda: all(connection._unread for connection in server.connections))
                unread = [connection._transport.get_write_buffer_size() for connection in server.connections if connection._transport]
                assert 0 < server.memory.amount_of("127.0.0.1") <= server.memory.limit
                assert len(unread) * size // 2 < server.memory.amount_of("127.0.0.1")
                assert (len(unread) == clients) == (clients == 2), "a client within its share is not cut off"
            await wait_until(lambda: not server.connections)
            assert server.memory.amount_of("127.0.0.1") == 0
        finally:
            server.close()

    asyncio.run(ask())


async def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until
        await asyncio.sleep(0.01)


@pytest.fixture(scope="module", name="contexts")
def tls_contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's context and a client's."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.issue("server", "IP:127.0.0.1"))
    return server, ssl.create_default_context(cafile=authority.ca)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("kind", ["keep", "close"])
def test_unread_responses_over_tls_count_towards_the_memory_quota(
    kind: str, run: Callable[[Coroutine[Any, Any, None]], None], contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = random.Random(1).randbytes(16 << 20)
    monkeypatch.setattr(control_server, "MEMORY", 4 * len(content))

    async def ask() -> None:
        server = ControlServer(asyncio.get_running_loop(), lambda request: Response(200, content))
        await server.start("127.0.0.1", 0, contexts[0])

        def connect(stack: ExitStack) -> ssl.SSLSocket:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 5))
            wrapped = stack.enter_context(contexts[1].wrap_socket(sock, server_hostname="127.0.0.1"))
            wrapped.sendall(CLOSING[kind])
            return wrapped

        def reached(requests: int) -> bool:
            return server.requests == requests

        def receive(sock: ssl.SSLSocket) -> bytes:
            data = sock.recv(1 << 20)
            while len(data) < data.index(b"\r\n\r\n") + 4 + len(content):
                data += sock.recv(1 << 20)
            return data

        try:
            with ExitStack() as stack:
                first = await asyncio.to_thread(connect, stack)
                await wait_until(lambda: server.memory.amount_of("127.0.0.1") > len(content) // 2)
                assert (await asyncio.to_thread(receive, first)).endswith(content)
                if kind == "close":
                    first.close()  # the server waits for it after its own end of TLS
                await wait_until(lambda: not server.memory.amount_of("127.0.0.1"))
                for number in range(2, 9):
                    await asyncio.to_thread(connect, stack)
                    await wait_until(partial(reached, number))
                assert 2 <= sum(connection._unread for connection in server.connections) < 7, "a client beyond its share is cut off"
                assert len(content) < server.memory.amount_of("127.0.0.1") <= server.memory.limit
            await wait_until(lambda: not server.connections)
            assert server.memory.amount_of("127.0.0.1") == 0
        finally:
            server.close()

    run(ask())
