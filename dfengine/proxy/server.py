"""The proxy's process: listening sockets, and the routing of requests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from dfengine.about import VERSION
from dfengine.net.admission import raise_descriptor_limit
from dfengine.net.event_log import NO_EVENTS, EventLog
from dfengine.net.http import BadRequest
from dfengine.net.listener import BACKLOG
from dfengine.net.origin_access import OriginAccess, address_of
from dfengine.net.stopping import serve, stop_on_signals
from dfengine.net.systemd import ServiceManager
from dfengine.proxy import header_fields, metrics, proxy_settings, targets
from dfengine.proxy.blobs.blobs import Blobs
from dfengine.proxy.blobs.preheat_worker import PreheatWorker
from dfengine.proxy.forward.certificate_authority import CertificateAuthority
from dfengine.proxy.forward.connect_handler import connect_handler
from dfengine.proxy.forward.forward_answer import Forward, client_token
from dfengine.proxy.front import max_forwards
from dfengine.proxy.front.access_control import is_own
from dfengine.proxy.front.client_connection import ClientConnection
from dfengine.proxy.front.health import probed
from dfengine.proxy.front.listening import bound, is_bound, socket_address
from dfengine.proxy.front.logged_connection import LoggedConnection
from dfengine.proxy.hub import reference as hub_reference
from dfengine.proxy.hub.hub_answer import Hub
from dfengine.proxy.reconfiguring import Reconfiguring
from dfengine.proxy.registries import Registries
from dfengine.proxy.registry.mirror import Mirror
from dfengine.proxy.registry.tokens import Tokens
from dfengine.proxy.s3 import facade as s3_facade
from dfengine.proxy.s3.facade import S3, S3Facade
from dfengine.proxy.targets import is_absolute
from dfengine.proxy.upstream.permissions import Permissions
from dfengine.proxy.upstream.upstreams import Upstreams

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.proxy.forward.forward_settings import Forwarding
    from dfengine.proxy.forward.relay import Tunnel
    from dfengine.proxy.front.interfaces import Exchange
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.proxy_settings import LoadedSettings
    from dfengine.proxy.registries import Registry
    from dfengine.settings import ProxySettings

SWEEP_SECONDS = 1.0
MAX_CLIENTS = 4096


def run_proxy(
    settings: ProxySettings, legacy: Forwarding | None = None, fresh: Callable[[], tuple[ProxySettings, Forwarding | None]] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT. Prints `ready proxy=IP:PORT ...`. Raises LocalError, BadValue.

    legacy: see `forward_settings.forwarding`. fresh: reads both again at SIGHUP; raises BadValue.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until settings can be read again
    found = proxy_settings.read(settings, legacy)
    serve(_serve(found, fresh))


async def _serve(found: LoadedSettings, fresh: Callable[[], tuple[ProxySettings, Forwarding | None]] | None) -> None:
    settings = found.settings
    loop = asyncio.get_running_loop()
    raise_descriptor_limit()
    socks: list[socket.socket] = []
    s3_socks: list[socket.socket] = []
    try:
        for each in found.listens:
            socks.append(bound(each))
        for each in found.s3_face.listens:
            s3_socks.append(bound(each))
        events = EventLog(settings.log_format, settings.log_level)
        server = Server(loop, found, [*socks, *s3_socks], events)
        owners = [(server, sock) for sock in socks] + [(server.s3_face, sock) for sock in s3_socks]
        servers = [await _listen(owner, sock, server.new_connection) for owner, sock in owners]
        stopped = asyncio.Event()
        stop_on_signals(loop, stopped)
        manager = ServiceManager()
        loop.add_signal_handler(signal.SIGHUP, Reconfiguring(server, found, fresh, events, manager).reload)
        manager.ready(loop, " ".join(map(socket_address, socks)))
        events.info("ready", version=VERSION, proxy=",".join(map(socket_address, socks)), s3=",".join(map(socket_address, s3_socks)))
        addresses = [f"proxy={socket_address(sock)}" for sock in socks] + [f"s3={socket_address(sock)}" for sock in s3_socks]
        print("ready", *addresses, flush=True)
        while not stopped.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), SWEEP_SECONDS)
            server.sweep()
            events.tick()
        manager.stopping()
        events.info("stopping")
        for listener in servers:
            listener.close()
        server.close()
        events.close()
    finally:
        for each in (*found.listens, *found.s3_face.listens):
            if each.path:
                with contextlib.suppress(OSError):
                    os.unlink(each.path)


async def _listen(server: Server | S3Facade, sock: socket.socket, make: Callable[..., ClientConnection]) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    if sock.family == socket.AF_UNIX:
        return await loop.create_unix_server(lambda: make(server), sock=sock)
    return await loop.create_server(lambda: make(server), sock=sock, backlog=BACKLOG)


class Server:
    """See interfaces.Server. socks: its listening sockets."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, found: LoadedSettings, socks: list[socket.socket], events: EventLog = NO_EVENTS
    ) -> None:
        settings, s3_face = found.settings, found.s3_face
        self.loop = loop
        self._events = events
        self.new_connection: Callable[..., ClientConnection] = ClientConnection
        """Creates a connection."""
        if settings.access_log:
            self.new_connection = partial(LoggedConnection, events)
        self._guard = found.guard
        self._registries = Registries(found.known, settings.only_registries, OriginAccess(settings.origin_allow, settings.origin_deny))
        self._places = {sock.getsockname()[:2] for sock in socks if sock.family != socket.AF_UNIX}
        self._upstreams = Upstreams(loop, self._registries, self._is_self, settings.cacerts, settings.insecure)
        permissions = Permissions(loop, self._upstreams)
        self._tokens = Tokens(loop, self._upstreams, permissions)
        self._blobs = Blobs(loop, settings, permissions, events)
        self._preheat_worker = PreheatWorker(loop, settings, self._blobs, self._registries, self._tokens)
        if not settings.no_work:
            self._preheat_worker.start()
        self._hub = Hub(loop, settings.hub, settings.xet, settings.home, self._blobs, self._upstreams)
        self._s3 = S3(loop, settings, s3_face.buckets, s3_face.keys, self._blobs, events) if s3_face.buckets else None
        self._clients: set[ClientConnection | Tunnel] = set()
        self._mark = f"dfengine-{secrets.token_hex(8)}".encode()
        """Identifies this process in the Via field, by which proxies detect a loop."""
        self._via = b"Via", b"1.1 " + self._mark
        self._forwards = found.forwards
        self._mirror = Mirror(settings.home, self._blobs, self._upstreams, self._registries, self._tokens, self._via)
        self._forward = Forward(found.forwards.chosen, self._blobs, self._upstreams, self._via, settings.nodes)
        self._certificate_authority = self._load_authority(found)

    def _load_authority(self, found: LoadedSettings) -> CertificateAuthority:
        """The certificate authority. Raises LocalError, BadValue."""
        made = CertificateAuthority(found.settings.home, found.forwards.cert, found.forwards.key, self._blobs.threads)
        if found.forwards.intercepted:
            made.check()
        return made

    def reconfigure(self, found: LoadedSettings) -> None:
        """Apply new settings. Raises LocalError, BadValue; nothing changes then."""
        settings, certificate_authority = found.settings, self._load_authority(found)
        if self._s3 is not None:
            self._s3.check(settings)
        apply_certificates, apply_secrets = self._upstreams.reload(), self._preheat_worker.reload()
        apply_certificates()
        apply_secrets()
        self._guard, self._forwards, self._certificate_authority = found.guard, found.forwards, certificate_authority
        self._forward.chosen = found.forwards.chosen
        self._registries.reconfigure(found.known, settings.only_registries)
        self._tokens.forget()
        self._blobs.cache_size = settings.cache_size
        if self._s3 is not None:
            self._s3.reconfigure(settings, found.s3_face.keys)

    def _is_self(self, address: str, port: int) -> bool:
        everywhere = any(own == port and ip in ("0.0.0.0", "::") for ip, own in self._places)
        return (address, port) in self._places or (everywhere and is_bound(address))

    @property
    def s3_face(self) -> S3Facade:
        """Handler of the S3 facade's own listening sockets."""
        assert self._s3 is not None
        return S3Facade(self, self._add, self._s3)

    # Connections.

    def admit(self, client: ClientConnection) -> bool:
        return self._guard.admits(client.address) and self._add(client)

    def _add(self, client: ClientConnection) -> bool:
        if len(self._clients) >= MAX_CLIENTS:
            return False
        self._clients.add(client)
        return True

    def answered(self, status: int) -> None:
        self._blobs.counts.answered(status)

    def remove(self, client: ClientConnection) -> None:
        self._clients.discard(client)

    def sweep(self) -> None:
        """Call every second: expire connections and blobs whose time is over."""
        now = monotonic()
        for client in [client for client in self._clients if client.deadline < now]:
            client.expire()
        self._upstreams.sweep(self.loop.time())
        self._blobs.sweep()

    def close(self) -> None:
        """Close all, when the process ends."""
        for client in list(self._clients):
            client.cut()
        self._preheat_worker.close()
        if self._s3 is not None:
            self._s3.close()
        self._blobs.close()
        self._upstreams.close()

    # Requests.

    def route(self, client: ClientConnection, head: Head) -> Exchange | None:
        """The exchange that answers a request; None if it is answered already. Raises BadRequest."""
        first = head.first
        if client.intercepted is None:
            self._normalize_target(head)
            if self._s3 is not None and head.target.startswith(s3_facade.PATH) and self._s3.checks:
                return self._s3.route(client, head)  # the client is authenticated by its signature
        forwards = is_absolute(head.target) or head.method == "CONNECT"
        if client.intercepted is None and self._guard.refuses(client_token(first)):
            self._blobs.counts.refused += 1
            self._events.warning("token_refused", client=client.address or "local")
            if forwards:
                asks = b"Proxy-Authenticate", b'Basic realm="dfengine proxy"'
                client.send_error(407, "this proxy requires its token: as the password, or in the field X-Dfengine-Token", [asks])
                return None
            raise BadRequest(401, "this proxy requires its token in the field X-Dfengine-Token")
        if b"via" in first and any(self._mark in value for name, value in head.fields if name.lower() == b"via"):
            raise BadRequest(508, "the request returned to this proxy: a configured registry leads here")
        if status := max_forwards.local_status(head, client.intercepted is not None):
            allow = b"Allow", max_forwards.ALLOWED
            if status == 200:
                client.send_response(200, b"", [allow])
            else:
                client.send_error(status, f"{head.method} is not served", [allow])
            return None
        if client.intercepted is not None:
            return self._route_intercepted(client, head, client.intercepted)
        if probed(client, head, self._blobs.full) or metrics.answer(client, head, self._blobs, len(self._clients)):
            return None
        if forwards:
            return self._route_forward(client, head)
        if head.target.startswith(b"/hub"):
            return self._route_hub(client, head)
        if self._s3 is not None and head.target.startswith(s3_facade.PATH):
            return self._s3.route(client, head)
        return self._mirror.route(client, head)

    def _normalize_target(self, head: Head) -> None:
        """Treat an absolute URL of this proxy itself as a mirror request. Amazon's client in C sends such URLs, and so do programs that use
        this proxy as a forward proxy too. Raises BadRequest.
        """
        if is_absolute(head.target) and head.method != "CONNECT":
            server, target = targets.parse_absolute(head.target)
            address = address_of("127.0.0.1" if server.host == "localhost" else server.connect_host)
            if address is not None and self._is_self(str(address), server.port):
                head.target = target.encode()

    def _route_forward(self, client: ClientConnection, head: Head) -> Exchange:
        """Handle a request of a client that uses this proxy as a forward proxy. Raises BadRequest."""
        if not self._forwards.others and not is_own(client.address):
            raise BadRequest(403, "this is a forward proxy for its own host alone: start it with --forward-for-others")
        if head.method != "CONNECT":
            return self._forward.route(client, head)
        return connect_handler(
            client, head, self._forwards, self._upstreams, self._clients.add, self._clients.discard,
            lambda server: self._certificate_authority.context(server.host), lambda server: self.new_connection(self, server),
        )  # fmt: skip

    def _route_intercepted(self, client: ClientConnection, head: Head, server: Registry) -> Exchange:
        """Handle a request in an intercepted connection to `server`. Raises BadRequest."""
        named = targets.parse_server(head.first.get(b"host", b"").decode("latin-1").strip() or server.authority, server.scheme)
        everything = head.target == max_forwards.EVERYTHING
        if (named.host.rstrip("."), named.port) != (server.host.rstrip("."), server.port) or not (everything or head.target[:1] == b"/"):
            raise BadRequest(421, f"this connection is to {server.authority}")
        return self._forward.forward(client, head, server, "*" if everything else targets.path(head.target))

    def _route_hub(self, client: ClientConnection, head: Head) -> Exchange:
        """Handle a request below /hub. Raises BadRequest."""
        asked = hub_reference.parse(head.target)
        if asked is None:
            raise BadRequest(404, "the path after /hub is not a path of a hub")
        return self._hub.route(client, head, asked, header_fields.credentials(head.fields), [self._via])
