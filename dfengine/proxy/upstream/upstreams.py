"""Connections to registries and other servers: where they may be made, and which are reused (see `connection`)."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import deque
from typing import TYPE_CHECKING, TypeVar, cast

from dfengine.errors import LocalError, OriginForbidden, OriginUnreachable, OriginUntrusted
from dfengine.origin.environment_proxy import Proxy, proxy_for
from dfengine.proxy.upstream import tunnel
from dfengine.proxy.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dfengine.proxy.registries import Registries, Registry

T = TypeVar("T")

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 30.0
"""An idle connection is closed after this; servers close theirs after 60 s or more."""

MAX_IDLE = 64
"""Maximum number of idle connections to one registry."""


class Waiting(asyncio.Protocol):
    """A connection that is not read before it gets another protocol. early: bytes that were received nevertheless."""

    transport: asyncio.Transport
    early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self.early += data


_Key = tuple[str, str, int, bool]


def _key(registry: Registry) -> _Key:
    return registry.scheme, registry.host, registry.port, registry.insecure


class Upstreams:
    """Connections to all registries. is_self: whether this proxy listens at (address, port). cacerts: additional PEM files to trust."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, registries: Registries, is_self: Callable[[str, int], bool], cacerts: tuple[str, ...] = (),
        insecure: bool = False,
    ) -> None:
        self._loop = loop
        self._registries = registries
        self._is_self = is_self
        self._tls: dict[bool, ssl.SSLContext] = {}
        self._cacerts, self._insecure = cacerts, insecure
        self._idle: dict[_Key, deque[UpstreamConnection]] = {}
        self._all: dict[UpstreamConnection, _Key] = {}

    def idle_connection(self, registry: Registry) -> UpstreamConnection | None:
        """An open idle connection, None without one."""
        idle = self._idle.get(_key(registry))
        while idle:
            connection = idle.pop()
            if connection.open and connection.quiet:
                return connection
            connection.cut()
        return None

    async def connect(self, registry: Registry) -> UpstreamConnection:
        """Open a connection, through the environment's proxy if there is one. Raises OriginForbidden, OriginUnreachable, OriginUntrusted,
        LocalError.
        """
        connection = await self._connect_any(registry, self._connect_directly, self._connect_by_proxy)
        self._all[connection] = _key(registry)
        return connection

    async def tunnel(self, registry: Registry) -> Waiting:
        """Open a connection for any protocol: it is not reused, and not read yet. Raises as `connect`."""
        return await self._connect_any(registry, self._open_transport, self._open_transport_by_proxy)

    async def _connect_any(
        self, registry: Registry, directly: Callable[[Registry, str], Awaitable[T]],
        by_proxy: Callable[[Proxy, Registry, str], Awaitable[T]]
    ) -> T:
        """directly, by_proxy: connect to the registry at an address, or through a proxy."""
        proxy = proxy_for(registry.scheme, registry.connect_host, registry.port, os.environ)
        if proxy is None:
            hosts = await self._addresses(registry)
        else:
            hosts = await self._proxied_hosts(proxy, registry)
        last: Exception = OriginUnreachable(f"{registry.authority} has no address")
        place = registry.authority if proxy is None else f"{registry.authority}, by the proxy {proxy.host}:{proxy.port},"
        for host in hosts:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await (directly(registry, host) if proxy is None else by_proxy(proxy, registry, host))
            except ssl.SSLCertVerificationError as error:
                raise OriginUntrusted(f"{place}: {error.verify_message}: give its authority by --cacerts") from None
            except TimeoutError:
                last = OriginUnreachable(f"{place} did not answer within {CONNECT_SECONDS:g} s")
            except (OSError, OriginUnreachable) as error:
                last = OriginUnreachable(f"{place} cannot be reached: {getattr(error, 'strerror', None) or error}")
        raise last

    async def _open_transport(self, registry: Registry, address: str) -> Waiting:
        _, waiting = await self._loop.create_connection(Waiting, address, registry.port)
        return waiting

    async def _open_transport_by_proxy(self, proxy: Proxy, registry: Registry, host: str) -> Waiting:
        waiting = Waiting()
        proxy_tls = self._tls_context(False) if proxy.scheme == "https" else None
        await tunnel.connect_through(self._loop, proxy, registry, host, waiting, proxy_tls, None)
        return waiting

    async def _connect_directly(self, registry: Registry, address: str) -> UpstreamConnection:
        _, connection = await self._loop.create_connection(
            lambda: UpstreamConnection(self._on_idle_or_closed), address, registry.port, ssl=self._context(registry),
            server_hostname=registry.connect_host if registry.scheme == "https" else None,
        )  # fmt: skip
        return connection

    async def _connect_by_proxy(self, proxy: Proxy, registry: Registry, host: str) -> UpstreamConnection:
        absolute = tunnel.absolute(proxy, registry)
        more = tunnel.authorization(proxy) if absolute else None
        connection = UpstreamConnection(self._on_idle_or_closed, registry.url if absolute else "", more)
        # The proxy's own certificate is always verified.
        proxy_tls = self._tls_context(False) if proxy.scheme == "https" else None
        await tunnel.connect_through(self._loop, proxy, registry, host, connection, proxy_tls, self._context(registry))
        return connection

    async def _proxied_hosts(self, proxy: Proxy, registry: Registry) -> list[str]:
        """Hosts for a proxy's connection: the registry's name, or its addresses if the proxy does not resolve names."""
        if self._is_self(proxy.host, proxy.port):
            raise OriginForbidden(f"the environment's proxy for {registry.scheme} URLs is this proxy itself")
        if not proxy.resolves_names:
            return await self._addresses(registry)
        self._registries.check_name(registry)
        return [registry.connect_host]

    async def _addresses(self, registry: Registry) -> list[str]:
        """The permitted addresses of a registry."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                found = await self._loop.getaddrinfo(registry.connect_host, registry.port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise OriginUnreachable(f"{registry.host} was not found within {CONNECT_SECONDS:g} s") from None
        except (OSError, UnicodeError) as error:
            raise OriginUnreachable(f"{registry.host} cannot be found: {getattr(error, 'strerror', None) or error}") from None
        addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
        if any(self._is_self(address, registry.port) for address in addresses):
            raise OriginForbidden(f"{registry.authority} is this proxy itself")
        permitted = [address for address in addresses if self._registries.permits(registry, address)]
        if addresses and not permitted:
            raise OriginForbidden(f"{registry.authority} is at an address that this proxy may not ask: {addresses[0]}")
        return permitted

    def _context(self, registry: Registry) -> ssl.SSLContext | None:
        return self._tls_context(self._insecure or registry.insecure) if registry.scheme == "https" else None

    def _tls_context(self, insecure: bool) -> ssl.SSLContext:
        if insecure not in self._tls:
            made = self._tls[insecure] = ssl.create_default_context()
            try:
                for path in self._cacerts:
                    made.load_verify_locations(path)
            except (OSError, ssl.SSLError) as error:
                del self._tls[insecure]
                raise LocalError(f"the certificates {path} cannot be read: {error.strerror or error}") from None
            if insecure:
                made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
            made.set_alpn_protocols(["http/1.1"])
        return self._tls[insecure]

    def reload(self) -> Callable[[], None]:
        """Read the certificates again; the returned function makes new connections trust them. Raises LocalError."""
        before, self._tls = self._tls, {}
        try:
            self._tls_context(False)
            fresh = self._tls
        finally:
            self._tls = before

        def apply() -> None:
            self._tls = fresh

        return apply

    def _on_idle_or_closed(self, connection: UpstreamConnection) -> None:
        """Handle the end of a connection's exchange, or its closing."""
        key = self._all.get(connection)
        if key is None:
            return
        if connection.open:
            idle = self._idle.setdefault(key, deque())
            if len(idle) < MAX_IDLE:
                idle.append(connection)
                return
            connection.cut()
        self._all.pop(connection, None)
        if connection in (idle := self._idle.get(key, deque())):
            idle.remove(connection)
        if not idle:
            self._idle.pop(key, None)

    def sweep(self, now: float) -> None:
        """Close connections that were idle for too long. now: the loop's time."""
        for idle in list(self._idle.values()):
            while idle and now - idle[0].idle_since > IDLE_SECONDS:
                idle.popleft().cut()

    def close(self) -> None:
        """Close all, when the process ends."""
        for connection in list(self._all):
            connection.cut()
