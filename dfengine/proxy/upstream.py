"""Connections to registries: made where they may be made, kept while they are of use.

A `Line` carries one exchange at a time. It is kept after an answer whose end was seen, unless one side wished to close. It is read only
while whoever takes its answer keeps up.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import httptools

from dfengine.errors import DfengineError, LocalError, OriginForbidden, OriginUnreachable, OriginUntrusted
from dfengine.net.http import BadRequest
from dfengine.origin.proxy import Proxy, proxy_for
from dfengine.proxy import tunnel
from dfengine.proxy.fields import UNTIL_CLOSE, Fields, bodiless, framing, head

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from dfengine.proxy.registries import Registries, Registry

    class Exchange(Protocol):
        """What takes an answer."""

        def interim(self, status: int) -> None: ...
        def answer(self, status: int, reason: bytes, fields: Fields, length: int) -> None: ...
        def body_part(self, data: bytes) -> None: ...
        def end(self) -> None: ...
        def flush(self) -> None: ...
        def lost(self, error: Exception) -> None: ...
        def hold(self, held: bool) -> None: ...


CONNECT_SECONDS = 10.0
IDLE_SECONDS = 30.0
"""A kept connection is closed after this; servers close theirs after 60 s or more."""

MOST_IDLE = 64
"""Kept connections to one registry."""

MAX_HEAD = 64 << 10
"""Bytes of an answer's head."""

HIGH_WATER = 256 << 10
"""Bytes of a request's body that are not sent yet, from which on its client is not read."""


class BadAnswer(DfengineError):
    """What the registry sent is no HTTP that can be passed on."""


class Line(asyncio.Protocol):
    """One connection. `idle_since`: when its last exchange ended. `used`: it carried one before.

    origin: `http://HOST:PORT` where a proxy is told whole URLs, else "". more: fields for that proxy.
    """

    def __init__(self, forget: Callable[[Line], None], origin: str = "", more: Fields | None = None) -> None:
        self._forget = forget
        self._origin = origin
        self._more = more or []
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._parser: Any = None
        self._method = ""
        self._fields: Fields = []
        self._reason = b""
        self._head = 0
        self._answered = self._over = self._paused = self._headed = False
        self._closes = False
        self._length = 0
        self.used = False
        self.idle_since = 0.0

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(HIGH_WATER)

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        self._transport, self._parser = None, None
        self._forget(self)
        if exchange is None:
            return
        if exc is None and self._answered and self._length == UNTIL_CLOSE:
            exchange.end()
            exchange.flush()
        else:
            where = "in the middle of its answer" if self._answered else "without an answer"
            exchange.lost(exc or ConnectionResetError(f"closed {where}"))

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.hold(True)

    def resume_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.hold(False)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.cut()  # nobody asked
            return
        try:
            self._parser.feed_data(data)
            if not self._answered:
                self._count(len(data))  # the parser keeps what it has of an unfinished line to itself
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self._exchange is not None:
                self._failed(BadAnswer(f"sent what is no HTTP: {error.__context__ or error}"))
            return
        if self._over:
            self._ended()
        exchange.flush()

    # What an exchange does.

    def begin(self, exchange: Exchange, method: str, target: str, fields: Fields) -> None:
        """Send a request's head; its body follows by `write`."""
        assert self._transport is not None
        self._exchange, self._method = exchange, method
        self._parser = self._parser or httptools.HttpResponseParser(self)
        self._answered = self._over = self._headed = False
        self._head = 0
        self._transport.write(head(f"{method} {self._origin}{target} HTTP/1.1".encode(), [*fields, *self._more] if self._more else fields))

    def write(self, data: bytes) -> None:
        """More of the request."""
        if self._transport is not None:
            self._transport.write(data)

    def read(self, wanted: bool) -> None:
        """Whether the answer is read."""
        if self._transport is not None and wanted == self._paused and not self._transport.is_closing():
            self._paused = not wanted
            (self._transport.resume_reading() if wanted else self._transport.pause_reading())

    def cut(self) -> None:
        """Close at once; nobody is told."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    @property
    def open(self) -> bool:
        """A request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    # httptools' callbacks

    def on_message_begin(self) -> None:
        if self._over:
            self._headed = True  # a second answer to one request
        self._fields, self._reason, self._head = [], b"", 0

    def on_status(self, status: bytes) -> None:
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._answered:
            self._fields.append((name, value))
        self._count(len(name) + len(value))

    def _count(self, more: int) -> None:
        self._head += more
        if self._head > MAX_HEAD:
            raise httptools.HttpParserError("the head of its answer is too large")

    def on_headers_complete(self) -> None:
        exchange, status = self._exchange, self._parser.get_status_code()
        if exchange is None or self._over:
            return
        if 100 <= status < 200:
            if status == 101:
                raise httptools.HttpParserError("it changes the protocol")
            exchange.interim(status)
            return
        if status == 407 and self._origin:
            raise httptools.HttpParserError("the proxy that the environment names refuses the user")
        try:
            length = framing(self._fields, self._parser.get_http_version(), request=False)
        except BadRequest as error:
            raise httptools.HttpParserError(str(error)) from None
        self._answered, self._length, self._head = True, length, 0
        self._closes = not self._parser.should_keep_alive()
        exchange.answer(status, self._reason, self._fields, length)
        if bodiless(self._method, status):
            self._over = True

    def on_body(self, body: bytes) -> None:
        if self._exchange is not None and not self._over:
            self._exchange.body_part(body)

    def on_message_complete(self) -> None:
        if self._answered:
            self._over = True

    def _ended(self) -> None:
        """The answer's end was seen."""
        exchange, self._exchange = self._exchange, None
        if bodiless(self._method, 0) or self._headed:
            self._parser = None  # it waits for a body that an answer to HEAD does not have
        closes = self._closes or self._headed or self._length == UNTIL_CLOSE
        self.used = True
        self.read(True)
        if closes or not self.open:
            self.cut()
        self.idle_since = asyncio.get_running_loop().time()
        self._forget(self)
        if exchange is not None:
            exchange.end()

    def _failed(self, error: Exception) -> None:
        exchange = self._exchange
        self.cut()
        if exchange is not None:
            exchange.lost(error)


class Upstreams:
    """Connections to all registries. itself: tells whether this proxy listens at (address, port). cacerts: more PEM files to trust."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, registries: Registries, itself: Callable[[str, int], bool], cacerts: tuple[str, ...] = (),
        insecure: bool = False,
    ) -> None:
        self._loop = loop
        self._registries = registries
        self._itself = itself
        self._tls: dict[bool, ssl.SSLContext] = {}
        self._cacerts, self._insecure = cacerts, insecure
        self._idle: dict[tuple[str, str, int], deque[Line]] = {}
        self._all: dict[Line, tuple[str, str, int]] = {}

    def kept(self, registry: Registry) -> Line | None:
        """A connection that is open already."""
        idle = self._idle.get((registry.scheme, registry.host, registry.port))
        while idle:
            line = idle.pop()
            if line.open:
                return line
        return None

    async def connect(self, registry: Registry) -> Line:
        """A new one, by the proxy that the environment names, if it does. Raises OriginForbidden, OriginUnreachable, OriginUntrusted,
        LocalError.
        """
        proxy = proxy_for(registry.scheme, registry.dialled, registry.port, os.environ)
        if proxy is None:
            hosts = await self._addresses(registry)
        else:
            hosts = await self._behind(proxy, registry)
        last: Exception = OriginUnreachable(f"{registry.place} has no address")
        place = registry.place if proxy is None else f"{registry.place}, by the proxy {proxy.host}:{proxy.port},"
        for host in hosts:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    line = await (self._directly(registry, host) if proxy is None else self._by(proxy, registry, host))
            except ssl.SSLCertVerificationError as error:
                raise OriginUntrusted(f"{place}: {error.verify_message}: give its authority by --cacerts") from None
            except TimeoutError:
                last = OriginUnreachable(f"{place} did not answer within {CONNECT_SECONDS:g} s")
            except (OSError, OriginUnreachable) as error:
                last = OriginUnreachable(f"{place} cannot be reached: {getattr(error, 'strerror', None) or error}")
            else:
                self._all[line] = (registry.scheme, registry.host, registry.port)
                return line
        raise last

    async def _directly(self, registry: Registry, address: str) -> Line:
        _, line = await self._loop.create_connection(
            lambda: Line(self._free), address, registry.port, ssl=self._context(registry),
            server_hostname=registry.dialled if registry.scheme == "https" else None,
        )  # fmt: skip
        return line

    async def _by(self, proxy: Proxy, registry: Registry, host: str) -> Line:
        told = tunnel.absolute(proxy, registry)
        line = Line(self._free, registry.url if told else "", tunnel.authorization(proxy) if told else None)
        # The proxy's own certificate is always verified.
        proxy_tls = self._made(False) if proxy.scheme == "https" else None
        await tunnel.ask(self._loop, proxy, registry, host, line, proxy_tls, self._context(registry))
        return line

    async def _behind(self, proxy: Proxy, registry: Registry) -> list[str]:
        """What a proxy may be told: the registry's name, or its addresses where the proxy does not look names up."""
        if self._itself(proxy.host, proxy.port):
            raise OriginForbidden(f"the environment's proxy for {registry.scheme} URLs is this proxy itself")
        if not proxy.looks_up:
            return await self._addresses(registry)
        self._registries.check_name(registry)
        return [registry.dialled]

    async def _addresses(self, registry: Registry) -> list[str]:
        """Those of a registry that may be asked."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                found = await self._loop.getaddrinfo(registry.dialled, registry.port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise OriginUnreachable(f"{registry.host} was not found within {CONNECT_SECONDS:g} s") from None
        except (OSError, UnicodeError) as error:
            raise OriginUnreachable(f"{registry.host} cannot be found: {getattr(error, 'strerror', None) or error}") from None
        addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
        if any(self._itself(address, registry.port) for address in addresses):
            raise OriginForbidden(f"{registry.place} is this proxy itself")
        permitted = [address for address in addresses if self._registries.permits(registry, address)]
        if addresses and not permitted:
            raise OriginForbidden(f"{registry.place} is at an address that this proxy may not ask: {addresses[0]}")
        return permitted

    def _context(self, registry: Registry) -> ssl.SSLContext | None:
        return self._made(self._insecure) if registry.scheme == "https" else None

    def _made(self, insecure: bool) -> ssl.SSLContext:
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

    def _free(self, line: Line) -> None:
        """Its exchange has ended, or it was closed."""
        key = self._all.get(line)
        if key is None:
            return
        if line.open:
            idle = self._idle.setdefault(key, deque())
            if len(idle) < MOST_IDLE:
                idle.append(line)
                return
            line.cut()
        self._all.pop(line, None)
        if line in (idle := self._idle.get(key, deque())):
            idle.remove(line)
        if not idle:
            self._idle.pop(key, None)

    def sweep(self, now: float) -> None:
        """Close those that were idle for too long. now: of the loop."""
        for idle in list(self._idle.values()):
            while idle and now - idle[0].idle_since > IDLE_SECONDS:
                idle.popleft().cut()

    def close(self) -> None:
        """The process ends."""
        for line in list(self._all):
            line.cut()
