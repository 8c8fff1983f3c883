"""A connection to a registry through a proxy of the environment: CONNECT (RFC 9110 section 9.3.6), SOCKS 5 (RFC 1928, 1929), 4 or 4a.

For an http registry, an http proxy needs no tunnel: it receives the absolute URL of each request, see `absolute`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from base64 import b64encode
from typing import TYPE_CHECKING, cast

from dfengine.errors import OriginUnreachable

if TYPE_CHECKING:
    import ssl

    from dfengine.origin.environment_proxy import Proxy
    from dfengine.proxy.registries import Registry

MAX_HEAD = 64 << 10
"""Maximum number of bytes of a proxy's response to CONNECT."""

SOCKS5_ERRORS = {
    1: "it failed", 2: "its rules forbid it", 3: "network unreachable", 4: "host unreachable", 5: "connection refused", 6: "TTL expired",
    7: "it does not support CONNECT", 8: "it does not support this type of address",
}  # fmt: skip


def absolute(proxy: Proxy, registry: Registry) -> bool:
    """Whether the proxy receives the absolute URL of each request, without a tunnel."""
    return registry.scheme == "http" and not proxy.tunnels


def authorization(proxy: Proxy) -> list[tuple[bytes, bytes]]:
    """The field with an http proxy's user and password."""
    if not proxy.user and not proxy.password:
        return []
    return [(b"Proxy-Authorization", b"Basic " + b64encode(proxy.user + b":" + proxy.password))]


class TunnelOpening(asyncio.Protocol):
    """Reads a proxy's response until the tunnel is open; then the transport gets another protocol."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._data = b""
        self._closed = False
        self._received = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        self._received.set()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._received.set()

    async def _more(self) -> None:
        if self._closed:
            raise OriginUnreachable("it closed the connection")
        self._received.clear()
        await self._received.wait()

    async def exactly(self, count: int) -> bytes:
        """The next bytes. Raises OriginUnreachable."""
        while len(self._data) < count:
            await self._more()
        data, self._data = self._data[:count], self._data[count:]
        return data

    async def head(self) -> bytes:
        """The head of an HTTP response. Raises OriginUnreachable."""
        while b"\r\n\r\n" not in self._data:
            if len(self._data) > MAX_HEAD:
                raise OriginUnreachable("the head of its answer is too large")
            await self._more()
        found, _, self._data = self._data.partition(b"\r\n\r\n")
        return found

    async def open(self, proxy: Proxy, host: str, port: int) -> None:
        """Make the proxy connect to `host`, a name or an address without brackets. Raises OriginUnreachable with the reason alone."""
        if proxy.scheme.startswith("socks5"):
            await self._socks5(proxy, host, port)
        elif proxy.scheme.startswith("socks4"):
            await self._socks4(proxy, host, port)
        else:
            await self._connect(proxy, host, port)
        if self._data:
            raise OriginUnreachable("it sent more than its answer")

    def _send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    async def _connect(self, proxy: Proxy, host: str, port: int) -> None:
        place = f"{f'[{host}]' if ':' in host else host}:{port}".encode()
        fields = b"".join(b"%b: %b\r\n" % field for field in authorization(proxy))
        self._send(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (place, place, fields))
        first = (await self.head()).partition(b"\r\n")[0].decode("latin-1")
        version, _, rest = first.partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/1.") or not status.isdigit():
            raise OriginUnreachable("its response is not HTTP/1.1")
        if status[0] != "2":
            raise OriginUnreachable(f"it answers {rest[:80].strip()}")

    async def _socks4(self, proxy: Proxy, host: str, port: int) -> None:
        named = proxy.resolves_names and not _is_ipv4(host)
        if not named and not _is_ipv4(host):
            raise OriginUnreachable("SOCKS 4 does not support IPv6")
        address = b"\0\0\0\1" if named else socket.inet_aton(host)
        self._send(struct.pack(">BBH4s", 4, 1, port, address) + proxy.user + b"\0" + (host.encode() + b"\0" if named else b""))
        code = (await self.exactly(8))[1]
        if code != 90:
            raise OriginUnreachable(f"it refuses, with SOCKS 4's code {code}")

    async def _socks5(self, proxy: Proxy, host: str, port: int) -> None:
        user = bool(proxy.user or proxy.password)
        self._send(b"\5\2\0\2" if user else b"\5\1\0")
        version, method = await self.exactly(2)
        if version != 5 or method not in ((0, 2) if user else (0,)):
            raise OriginUnreachable("it requires a user" if version == 5 else "its response is not SOCKS 5")
        if method == 2:
            name, password = proxy.user[:255], proxy.password[:255]
            self._send(b"\1%c%b%c%b" % (len(name), name, len(password), password))
            if (await self.exactly(2))[1]:
                raise OriginUnreachable("it refuses the user")
        if _is_ipv4(host):
            place = b"\1" + socket.inet_aton(host)
        elif ":" in host:
            place = b"\4" + socket.inet_pton(socket.AF_INET6, host)
        else:
            place = b"\3%c%b" % (len(host.encode()), host.encode())
        self._send(b"\5\1\0" + place + struct.pack(">H", port))
        version, code, _, kind = await self.exactly(4)
        if version != 5:
            raise OriginUnreachable("its response is not SOCKS 5")
        if code:
            raise OriginUnreachable(SOCKS5_ERRORS.get(code, f"it refuses, with SOCKS 5's code {code}"))
        if kind not in (1, 3, 4):
            raise OriginUnreachable("its response is not SOCKS 5")
        await self.exactly({1: 4, 4: 16}.get(kind) or (await self.exactly(1))[0])
        await self.exactly(2)


def _is_ipv4(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        return False
    return True


async def connect_through(
    loop: asyncio.AbstractEventLoop, proxy: Proxy, registry: Registry, host: str, protocol: asyncio.Protocol,
    proxy_tls: ssl.SSLContext | None, tls: ssl.SSLContext | None,
) -> None:
    """Connect `protocol` to the registry at `host` (its name or one of its addresses). proxy_tls: for an https proxy. tls: for an https
    registry. Raises OriginUnreachable with the reason alone, OSError.
    """
    _, opening = await loop.create_connection(
        TunnelOpening, proxy.host, proxy.port, ssl=proxy_tls, server_hostname=proxy.host if proxy_tls is not None else None
    )
    transport = opening.transport
    assert transport is not None
    try:
        if not absolute(proxy, registry):
            await opening.open(proxy, host, registry.port)
        if tls is not None:
            started = await loop.start_tls(transport, protocol, tls, server_hostname=registry.connect_host)
            if started is None:
                raise OriginUnreachable("it closed the connection")
            transport = started
        else:
            transport.set_protocol(protocol)
    except BaseException:
        transport.abort()
        raise
    protocol.connection_made(transport)
