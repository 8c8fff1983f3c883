"""What a piece server keeps of a client that asks for much and reads nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import ExitStack

import pytest

from dfengine.net import piece_server
from dfengine.net._sendfile import FileSlice
from dfengine.net.http import Parts, Request
from dfengine.net.listener import listening
from dfengine.net.piece_server import PieceServer

SIZE = 64 << 20
REQUEST = b"GET /piece HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("clients", [2, 20])
def test_requests_that_wait_behind_the_first_answer_are_counted(clients: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece_server, "MEMORY", 256 << 10)

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        sock = listening("127.0.0.1", 0)
        server = PieceServer(loop, sock, route)
        server.start()
        try:
            for _ in range(clients):
                stack.enter_context(socket.create_connection(sock.getsockname(), 5)).sendall(REQUEST * 1000)
            until = time.monotonic() + 10
            while server.requests < clients and time.monotonic() < until:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            kept = sum(len(connection._backlog) for connection in server.connections)
            assert server.memory.of("127.0.0.1") == kept > 0
            assert kept <= server.memory.most
            assert (len(server.connections) == clients) == (clients == 2), "who is within its share is not cut off"
        finally:
            server.close()
        assert server.memory.of("127.0.0.1") == 0

    with ExitStack() as stack:
        fd = os.memfd_create("piece")
        stack.callback(os.close, fd)
        os.ftruncate(fd, SIZE)

        def route(request: Request) -> Parts:
            return Parts(206, (FileSlice(fd, 0, SIZE),))

        asyncio.run(ask())
