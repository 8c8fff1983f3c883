"""Tunnels between sockets of one process."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine

import pytest

from dfengine.proxy.forward import relay
from dfengine.proxy.forward.relay import Tunnel
from dfengine.proxy.forward.splice import Spliced
from tests.own_descriptors import own_descriptors

BIG = os.urandom(3 << 20)


def ran(work: Callable[[socket.socket, socket.socket, Spliced, list[Tunnel]], Coroutine[None, None, None]]) -> None:
    """Run `work` with the far ends of a tunnel (client, server), the tunnel, and the list of ended tunnels."""

    async def main() -> None:
        loop, ended = asyncio.get_running_loop(), list[Tunnel]()
        client, here = socket.socketpair()
        server, there = socket.socketpair()
        with client, server:
            for sock in (client, server, here, there):
                sock.setblocking(False)
            tunnel = Spliced(here, there, b"first", b"last", ended.append).start()
            assert await loop.sock_recv(client, 99) == b"last"
            assert await loop.sock_recv(server, 99) == b"first"
            await work(client, server, tunnel, ended)
            if not ended:
                tunnel.cut()
            assert (ended, here.fileno(), there.fileno()) == ([tunnel], -1, -1)
            tunnel.cut()
            assert ended == [tunnel]

    before = len(own_descriptors())
    asyncio.run(main())
    assert len(os.listdir("/proc/self/fd")) <= before + 4  # two empty pipes are kept for reuse


async def all_of(sock: socket.socket) -> bytes:
    found, loop = b"", asyncio.get_running_loop()
    while part := await loop.sock_recv(sock, 1 << 20):
        found += part
    return found


def test_each_direction_closes_independently() -> None:
    async def work(client: socket.socket, server: socket.socket, tunnel: Spliced, ended: list[Tunnel]) -> None:
        loop = asyncio.get_running_loop()
        reading = asyncio.create_task(all_of(server))
        await loop.sock_sendall(client, BIG)
        client.shutdown(socket.SHUT_WR)
        assert await reading == BIG
        assert not ended
        reading = asyncio.create_task(all_of(client))
        await loop.sock_sendall(server, BIG)
        server.shutdown(socket.SHUT_WR)
        assert await reading == BIG
        assert ended

    ran(work)


def test_a_closed_client_ends_the_tunnel_for_the_server() -> None:
    async def work(client: socket.socket, server: socket.socket, tunnel: Spliced, ended: list[Tunnel]) -> None:
        client.close()
        assert await all_of(server) == b""
        with pytest.raises(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(server, BIG * 4)

    ran(work)


def test_an_idle_tunnel_is_closed() -> None:
    async def work(client: socket.socket, server: socket.socket, tunnel: Spliced, ended: list[Tunnel]) -> None:
        before = tunnel.deadline
        tunnel.moved()
        tunnel.expire()
        assert (tunnel.deadline > before, ended) == (True, [])
        tunnel.half()
        tunnel.expire()
        assert tunnel.deadline < before + relay.HALF_SECONDS
        tunnel.expire()
        assert ended == [tunnel]
        assert await all_of(client) == b""

    ran(work)
