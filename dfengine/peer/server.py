"""The peer server's process: one listening socket, one home directory, an end when nobody needs it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import signal
import socket
import time
from urllib.parse import urlencode

import msgspec

from dfengine.errors import BadValue, LocalError
from dfengine.net.limit import TokenBucket
from dfengine.net.piece_server import PieceServer, listening
from dfengine.peer.routes import Routes
from dfengine.settings import PeerSettings
from dfengine.storage.home import Home
from dfengine.task import PEER_PORTS

SWEEP_SECONDS = 30.0
FAREWELL_SECONDS = 2.0
"""How long a supernode may take to hear that a peer stops serving; its lease would tell it anyhow."""


def run_peer(settings: PeerSettings) -> None:
    """Serve until idle for `alivetime` seconds (0: for ever), SIGTERM or SIGINT.

    Prints `ready peer=IP:PORT`. Raises LocalError when the home is served already or no port is free.
    """
    home = Home(settings.home)
    sock = socket.socket(fileno=settings.socket_fd) if settings.socket_fd >= 0 else _bound(settings)
    lock = settings.lock_fd if settings.lock_fd >= 0 else _locked(home)
    ip, port = sock.getsockname()[:2]
    # Read by whoever finds the lock taken; the parent that handed the socket over wrote its own pid.
    os.ftruncate(lock, 0)
    os.pwrite(lock, msgspec.json.encode({"ip": ip, "port": port, "pid": os.getpid()}), 0)
    import uvloop

    try:
        uvloop.run(_serve(settings, home, sock))
    finally:
        os.ftruncate(lock, 0)
        os.close(lock)


def _bound(settings: PeerSettings) -> socket.socket:
    if settings.port and settings.port not in PEER_PORTS:
        raise BadValue("a peer serves on 15000..65000: choose --port there")
    ports = [settings.port] if settings.port else random.sample(PEER_PORTS, 50)
    for port in ports:
        try:
            return listening(settings.ip or "0.0.0.0", port)
        except OSError as error:
            reason = error
    raise LocalError(f"cannot listen on {settings.ip or '0.0.0.0'}:{settings.port or 'any port'}: {reason.strerror}")


def _locked(home: Home) -> int:
    fd = os.open(home.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise LocalError(f"another peer server serves {home.path}: use it, or another --home") from None
    return fd


async def _serve(settings: PeerSettings, home: Home, sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    limit = TokenBucket(settings.totallimit)
    routes = Routes(home, limit, time.time)
    server = PieceServer(loop, sock, routes, limit=limit)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server.start()
    ip, port = sock.getsockname()[:2]
    print(f"ready peer={ip}:{port}", flush=True)
    period = min(SWEEP_SECONDS, max(settings.alivetime / 4, 0.1)) if settings.alivetime else SWEEP_SECONDS
    while not stopped.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), period)
        await _farewell(routes.sweep())
        idle = time.time() - routes.used
        if settings.alivetime and idle > settings.alivetime and not any(one.answer for one in server.connections):
            break
    server.close()
    await _farewell(routes.served())


async def _farewell(gone: list[tuple[str, str, str]]) -> None:
    """Tell each supernode which downloads are served no longer; best effort."""
    if gone:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(_leave(*one) for one in gone), return_exceptions=True), FAREWELL_SECONDS)


async def _leave(node: str, task: str, cid: str) -> None:
    host, _, port = node.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        query = urlencode({"taskId": task, "cid": cid})
        writer.write(f"GET /peer/service/down?{query} HTTP/1.1\r\nHost: {node}\r\nConnection: close\r\n\r\n".encode())
        await reader.read(1024)
    finally:
        writer.close()
