"""The supernode's process: control port and download port on one event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
import time
import traceback
from functools import partial
from typing import TYPE_CHECKING

from dfengine.about import VERSION
from dfengine.errors import BadValue, LocalError
from dfengine.net import tracing
from dfengine.net.access_log import FastPath, logged, logged_fast_path
from dfengine.net.admission import Admission, raise_descriptor_limit
from dfengine.net.authentication import Authentication
from dfengine.net.control_server import ControlServer
from dfengine.net.event_log import EventLog
from dfengine.net.event_ring import EventRing
from dfengine.net.fair_queue import Turns
from dfengine.net.http import Request
from dfengine.net.listener import listen_on
from dfengine.net.loop_watch import LoopWatch
from dfengine.net.piece_server import PieceServer
from dfengine.net.ready_line import announce, reached_by
from dfengine.net.stopping import serve, stop_on_signals
from dfengine.net.systemd import ServiceManager
from dfengine.net.token_bucket import TokenBucket
from dfengine.settings import SupernodeAddress, SupernodeSettings
from dfengine.storage.lock import lock_file
from dfengine.storage.path_protection import is_own_folder, resolved
from dfengine.supernode import cluster_blocks, garbage_collection, idle_sweep
from dfengine.supernode.cluster.membership import Cluster
from dfengine.supernode.console.console_token import ConsoleToken
from dfengine.supernode.console.routes import public
from dfengine.supernode.copies.cache import COPIES
from dfengine.supernode.download_port import DownloadRoutes
from dfengine.supernode.preheat_token import PreheatToken
from dfengine.supernode.readiness import busy, drain
from dfengine.supernode.reconfiguring import Reconfiguring, dialer_of
from dfengine.supernode.router import Answer, Router
from dfengine.supernode.supernode_state import SupernodeState

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable


def run_supernode(settings: SupernodeSettings, fresh: Callable[[], SupernodeSettings] | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Print `ready control=IP:PORT download=IP:PORT`. Raises LocalError, BadValue.

    fresh: reads the settings again at SIGHUP; raises BadValue.
    """
    if settings.disk_high < settings.disk_low:
        raise BadValue("--disk-high is less than --disk-low: cached files are removed until --disk-high is free")
    keys = ("cluster", settings.cluster_key_file, settings.cluster), ("store", settings.store_key_file, settings.store)
    for option, key, place in keys:
        if key and not place:
            raise BadValue(f"--{option}-key-file is the key of --{option}, which is not given")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there are files to read again
    try:
        home = resolved(os.path.expanduser(settings.home_dir))
    except OSError as error:
        raise LocalError(f"cannot use {settings.home_dir}: {error.strerror}: choose another --home-dir") from None
    lock = _locked(home)
    try:
        serve(_serve(settings, home, fresh))
    finally:
        os.close(lock)


def _locked(home: str) -> int:
    try:
        os.makedirs(home, exist_ok=True)
        os.makedirs(os.path.join(home, COPIES), mode=0o700, exist_ok=True)
        # In a volume that is set up for a group, all files belong to the group.
        own = is_own_folder(os.path.join(home, COPIES), stat.S_IWOTH)
        fd, held = lock_file(os.path.join(home, "supernode.lock")) if own else (-1, False)
    except OSError as error:
        raise LocalError(f"cannot use {home}: {error.strerror}: choose another --home-dir") from error
    if fd < 0:
        raise LocalError(f"cannot use {home}: other users can write there, or files there are theirs: choose another --home-dir")
    if not held:
        os.close(fd)
        raise LocalError(f"another supernode uses {home}: choose another --home-dir")
    return fd


def _occupied(host: str, port: int, flag: str, error: OSError) -> LocalError:
    return LocalError(f"cannot listen on {host}:{port}: {error.strerror}: choose another {flag} or --host")


def _complain(state: SupernodeState, request: Request | None) -> None:
    """Log the failure of a handler at any level: it is a defect."""
    state.counts["internal_errors"] += 1
    if state.events.as_json:
        path = f"{request.method} {request.path}" if request else ""
        state.events.error("internal_error", request=path, stack=traceback.format_exc()[-400:])
        if state.events.writes("error"):
            return
    print(f"dfengine: internal error at {request.method + ' ' + request.path if request else 'a plain or parked pull'}", file=sys.stderr)
    traceback.print_exc()


def _tls(settings: SupernodeSettings) -> ssl.SSLContext | None:
    """Return the TLS context of both ports; with a CA, this process's own requests to peers use TLS as well. Raises BadValue."""
    files = settings.tls_cert, settings.tls_key, settings.tls_ca
    if not any(files):
        return None
    from dfengine.net.tls import server

    return server(*files)


async def _serve(settings: SupernodeSettings, home: str, fresh: Callable[[], SupernodeSettings] | None) -> None:
    given = settings
    loop = asyncio.get_running_loop()
    manager = ServiceManager()
    events = EventLog(settings.log_format, settings.log_level, ring=EventRing())
    authentication = Authentication(settings.secret_file, settings.client_share, events)
    tls = _tls(settings)
    dialer = dialer_of(settings)
    try:
        sock = listen_on(settings.host, settings.download_port)
    except OSError as error:
        raise _occupied(settings.host, settings.download_port, "--download-port", error) from error
    settings = settings.replace(advertise_ip=settings.advertise_ip or reached_by(sock), download_port=sock.getsockname()[1])
    state = SupernodeState(settings, home, loop, dialer, events=events)
    share, limit = settings.client_share, TokenBucket(settings.max_bandwidth)
    admission, turns = Admission(raise_descriptor_limit(), share), Turns(loop.call_soon, time.monotonic)
    routes = authentication.protect(DownloadRoutes(state.fetch_pool.fetches.get, state.scrubber.scrub_unreadable, state.requested))
    routes = logged(events, routes) if settings.access_log else routes
    pieces = PieceServer(loop, sock, routes, limit=limit, share=share, admission=admission, turns=turns, tls=tls, events=events)
    watch = LoopWatch(loop)
    token = PreheatToken(settings.preheat_token_file, bool(settings.secret_file))
    console = ConsoleToken(settings.console_token_file, bool(settings.secret_file), public())
    router = Router(state, pieces, watch, token, console)
    signed = authentication.protect(router)

    def route(request: Request) -> Answer:
        return router(request) if token.permits(request) or console.permits(request) else signed(request)

    # A pull with a proof of the secret is not plain: only a handler that reads its headers may answer it.
    quick: FastPath | None = None if settings.secret_file else router.quick
    if quick is not None and settings.access_log:
        quick = logged_fast_path(events, quick, "POST", "/swarm/pull")
    control = ControlServer(
        loop, logged(events, route) if settings.access_log else route, fast_path=quick, on_closed=state.connection_lost,
        report=partial(_complain, state), share=share,
        admission=admission, turns=turns, events=events,
    )
    try:
        await control.start(settings.host, settings.port, tls)
    except OSError as error:
        pieces.close()
        raise _occupied(settings.host, settings.port, "--port", error) from error
    cluster = Cluster.of(settings, str(SupernodeAddress(state.advertise_ip, control.port)), events, lambda: state.dialer)
    if cluster is not None:
        router.join(cluster)
        cluster_blocks.share(state, cluster)
        state.join(cluster)
        state.fetches.join(cluster)
    pieces.start()
    stopped = asyncio.Event()
    configured = Reconfiguring(state, given, fresh, authentication, (token, console), tls, limit, manager)
    stop_on_signals(loop, stopped, lambda: configured.drain)
    loop.add_signal_handler(signal.SIGHUP, configured.reread)
    events.info("ready", version=VERSION, control=f"{state.advertise_ip}:{control.port}", download=f"{state.advertise_ip}:{pieces.port}")
    manager.ready(loop, f"control {state.advertise_ip}:{control.port}, download {state.advertise_ip}:{pieces.port}")
    announce(control=(state.advertise_ip, control.port), download=(state.advertise_ip, pieces.port))
    garbage_collection.begin()
    while not stopped.is_set():
        try:
            await asyncio.wait_for(stopped.wait(), idle_sweep.PERIOD)
        except TimeoutError:
            await idle_sweep.note_use(state)
            await idle_sweep.sweep(state)
            garbage_collection.settle()
            events.tick()
    manager.stopping("waiting for downloads to end" if configured.drain else "")
    if configured.drain:
        events.info("draining", seconds=configured.drain, busy=await busy(state))
        events.info("drained", busy=await drain(state, configured.drain))
    events.info("stopping")
    manager.close()
    watch.close()
    router.close()
    state.close()
    control.close()
    pieces.close()
    events.close()
    tracing.flush()
