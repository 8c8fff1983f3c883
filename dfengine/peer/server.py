"""The peer server's process: one listening socket, one home directory; it ends when no download needs it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import ssl
import sys
import time
from functools import partial

from dfengine.about import VERSION
from dfengine.errors import BadValue, LocalError
from dfengine.net import fd_passing
from dfengine.net.access_log import logged
from dfengine.net.admission import Admission, raise_descriptor_limit
from dfengine.net.authentication import Authentication
from dfengine.net.dialer import Dialer
from dfengine.net.event_log import EventLog
from dfengine.net.listener import listen_on
from dfengine.net.piece_server import PieceServer
from dfengine.net.ready_line import announce, reached_by
from dfengine.net.stopping import serve, stop_on_signals
from dfengine.net.systemd import ServiceManager
from dfengine.net.token_bucket import TokenBucket
from dfengine.peer.content_announcer import ContentAnnouncer
from dfengine.peer.deregister import deregister
from dfengine.peer.host_settings import HostSettings
from dfengine.peer.routes import Deregistration, Routes
from dfengine.peer.served_downloads import ServedDownloads
from dfengine.peer.withdrawals import Withdrawals
from dfengine.settings import PeerSettings
from dfengine.storage.home import Home
from dfengine.storage.lock import lock_file
from dfengine.task import PEER_PORTS, check_peer_port

SWEEP_SECONDS = 30.0

REFRESH_SECONDS = 2.0
"""Seconds between two checks that the home, and the served outputs, still exist; a stat for each."""

PORTS_TRIED = 50


def run_peer(settings: PeerSettings, stopped: bool = False) -> None:
    """Serve until no request arrived for `alivetime` seconds (0: no limit) and no download here runs, or until SIGTERM or SIGINT.

    Ends, too, when the home is deleted. Prints `ready peer=IP:PORT`. `stopped`: the signal has arrived already, only deregister.
    Raises LocalError when the home is served already or no port is free, BadValue for a port that 1.x would refuse.
    """
    check_peer_port("--port", settings.port)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the files to reread are known
    if settings.lock_fd >= 0 and not os.fstat(settings.lock_fd).st_nlink:
        return  # the home was deleted before the first connection
    home = Home(settings.home)
    lock = settings.lock_fd if settings.lock_fd >= 0 else _locked(home)
    try:
        sock = socket.socket(fileno=settings.socket_fd) if settings.socket_fd >= 0 else _bound(settings.ip, settings.port)
        ip, port = sock.getsockname()[:2]
        # For a process that finds the lock taken; the parent that passed the socket could not know this pid.
        _say(lock, json.dumps({"ip": ip, "port": port, "pid": os.getpid()}).encode())
        serve(_serve(settings, home, lock, sock, stopped))
    finally:
        _say(lock, b"")
        os.close(lock)


def _say(lock: int, content: bytes) -> None:
    # Written before a longer old text is truncated, so that a reader finds the old or the new.
    os.pwrite(lock, content, 0)
    os.ftruncate(lock, len(content))


def _bound(ip: str, port: int) -> socket.socket:
    reason = "no port tried"
    for candidate in [port] if port else random.sample(PEER_PORTS, PORTS_TRIED):
        try:
            return listen_on(ip or "0.0.0.0", candidate)
        except OSError as error:
            reason = error.strerror or str(error)
    raise LocalError(f"cannot listen on {ip or '0.0.0.0'}:{port or 'any port'}: {reason}")


def _locked(home: Home) -> int:
    fd, held = lock_file(home.lock_path)
    if fd < 0:
        raise LocalError(f"cannot lock {home.lock_path}: it is no file of this user: choose another --home")
    if not held:
        os.close(fd)
        raise LocalError(f"another peer server serves {home.path}: use it, or another --home")
    return fd


async def _serve(settings: PeerSettings, home: Home, lock: int, sock: socket.socket, ended: bool) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    stop_on_signals(loop, stopped)
    if ended:
        stopped.set()
    limit = TokenBucket(settings.totallimit)
    listens = calls = None
    files = settings.tls_cert, settings.tls_key, settings.tls_ca
    if any(files):
        from dfengine.net import tls

        listens, calls = tls.server(*files), tls.client(*files, named=True)
    events = EventLog(settings.log_format, settings.log_level)
    authentication = Authentication(settings.secret_file, events=events)
    loop.add_signal_handler(signal.SIGHUP, partial(_reread, settings, events, authentication, tuple(filter(None, (listens, calls)))))
    host_settings = HostSettings(limit, authentication, time.monotonic)
    served_downloads = ServedDownloads(
        home, _taking(settings, home), loop, time.time, lambda message: host_settings(message) or withdrawals(message)
    )
    if settings.join_fd >= 0:
        served_downloads.accept_connection(socket.socket(fileno=settings.join_fd))
    routes = Routes(served_downloads, limit, time.time)
    announcer = ContentAnnouncer(home, sock.getsockname()[1], time.time, partial(_dialer, settings, authentication))
    notifications: set[asyncio.Task[None]] = set()

    def notify(gone: list[Deregistration]) -> None:
        task = loop.create_task(deregister(gone, authentication.files, calls))
        notifications.add(task)
        task.add_done_callback(notifications.discard)

    withdrawals = Withdrawals(routes, announcer, notify)
    answer = authentication.protect(routes)
    answer = logged(events, answer) if settings.access_log else answer
    server = PieceServer(loop, sock, answer, limit=limit, admission=Admission(raise_descriptor_limit()), tls=listens, events=events)
    server.start()
    events.info("ready", version=VERSION, peer=f"{reached_by(sock)}:{sock.getsockname()[1]}", home=home.path)
    manager = ServiceManager()
    manager.ready(loop, f"port {sock.getsockname()[1]}")
    announce(peer=(reached_by(sock), sock.getsockname()[1]))
    period = min(SWEEP_SECONDS, max(settings.alivetime / 4, 0.1)) if settings.alivetime else SWEEP_SECONDS
    served, since = 0, time.monotonic()
    swept = since
    while not stopped.is_set() and home.is_locked_by(lock):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), min(period, REFRESH_SECONDS))
        announcer.refresh()
        events.tick()
        await deregister(routes.withdraw_deleted(), authentication.files, calls)
        if time.monotonic() - swept >= period:
            swept = time.monotonic()
            await deregister(routes.sweep(), authentication.files, calls)
        if server.requests != served or server.busy:
            served, since = server.requests, time.monotonic()
        elif settings.alivetime and time.monotonic() - since >= settings.alivetime and not served_downloads.running:
            break
    manager.stopping()
    manager.close()
    events.info("stopping", requests=server.requests, sent_bytes=server.bytes_sent)
    server.close()
    await announcer.close()
    await deregister(routes.served(), authentication.files, calls)
    routes.close()
    served_downloads.close()
    events.close()


def _dialer(settings: PeerSettings, authentication: Authentication) -> Dialer:
    """The present settings for connections to supernodes. Raises BadValue."""
    return Dialer(authentication.files, (settings.tls_cert, settings.tls_key, settings.tls_ca))


def _reread(
    settings: PeerSettings, events: EventLog, authentication: Authentication, contexts: tuple[ssl.SSLContext, ...]
) -> None:
    """Handle SIGHUP: reread the files of the secrets and certificates."""
    try:
        authentication.reread()
        if contexts:
            from dfengine.net import tls

            tls.reload(contexts, settings.tls_cert, settings.tls_key, settings.tls_ca)
    except BadValue as error:
        print(f"dfengine: SIGHUP: {error}: the files read before stay in use", file=sys.stderr)
        events.error("reload_failed", reason=str(error))
    else:
        events.info("reloaded")


def _taking(settings: PeerSettings, home: Home) -> socket.socket | None:
    """The socket for messages of this user's downloads; None when it cannot be created."""
    if settings.handover_fd >= 0:
        sock = socket.socket(fileno=settings.handover_fd)
        sock.setblocking(False)
        return sock
    if settings.socket_fd < 0:
        with contextlib.suppress(OSError):
            return fd_passing.listen(home.sockets)
    return None
